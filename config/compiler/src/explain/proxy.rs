//! At one proxy: the listener and the filter chain that take a request, and what the chain does.

use super::policies::FORBIDDEN;
use super::{DescribedRequest, Walk, exchange, plugins};
use crate::compile::{CompileError, Compiled, Settings, gateway};
use crate::mesh::Workload;
use crate::snapshot::{
    ConnectionFacts, DataSource, Direction, FilterChain, FilterChainMatcher, HttpConnectionManager, Listener,
    NetworkFilter, TlsCertificate, TransportProtocol,
};
use std::net::{IpAddr, Ipv4Addr};

/// Gateways that a request may come through before it is said to go in circles.
const MOST_HOPS: usize = 4;

impl Walk<'_, '_> {
    /// At the sidecar of who asks.
    pub(super) fn client(&mut self, from: &Workload, request: &DescribedRequest) -> Result<(), CompileError> {
        let at = format!("client {}/{}", from.namespace, from.name);
        let compiled = self.mesh.sidecar(from, &Settings { inbound: None, ..Settings::assumed() })?;
        let listener = compiled.snapshot.listeners.iter().find(|one| one.direction == Direction::Outbound);
        let (Some(listener), Some(port)) = (listener, request.port()) else {
            self.push(&at, "answer", "no port is named, and tcp has none of its own");
            return Ok(());
        };
        self.listener(&at, from, &compiled, listener, port, request)
    }

    /// At a gateway that a request from outside comes to.
    pub(super) fn gateway(&mut self, gateway: &Workload, request: &DescribedRequest) -> Result<(), CompileError> {
        // Whoever asks from outside asks for the port of the Service in front.
        let port = request.port().map(|port| gateway::listening_port(self.mesh, gateway, port));
        self.gateway_at(gateway, port, request)
    }

    /// At a gateway, where a connection comes to one of its own ports.
    pub(super) fn gateway_at(
        &mut self,
        gateway: &Workload,
        port: Option<u16>,
        request: &DescribedRequest,
    ) -> Result<(), CompileError> {
        let at = format!("gateway {}/{}", gateway.namespace, gateway.name);
        self.hops += 1;
        if self.hops > MOST_HOPS {
            self.push(&at, "answer", "none: the request goes in circles");
            return Ok(());
        }
        let compiled = self.mesh.gateway(gateway, &Settings::assumed())?;
        let listeners = &compiled.snapshot.listeners;
        let found = port.and_then(|port| Some((listeners.iter().find(|one| one.address.port() == port)?, port)));
        match found {
            Some((listener, port)) => self.listener(&at, gateway, &compiled, listener, port, request),
            None => {
                let ports: Vec<_> = listeners.iter().map(|one| one.address.port().to_string()).collect();
                let ports = if ports.is_empty() { "on none".to_owned() } else { ports.join(", ") };
                let port = port.map_or_else(|| "no port".to_owned(), |port| format!("port {port}"));
                self.push(&at, "listener", format!("none for {port}: it listens {ports}; the connection is refused"));
                Ok(())
            }
        }
    }

    fn listener(
        &mut self,
        at: &str,
        workload: &Workload,
        compiled: &Compiled,
        listener: &Listener,
        port: u16,
        request: &DescribedRequest,
    ) -> Result<(), CompileError> {
        let Some(chain) = self.chain(at, listener, port, request) else { return Ok(()) };
        if let Some(reason) = unspoken(chain, request) {
            self.push(at, "answer", reason);
            return Ok(());
        }
        let manager = match &chain.network_filter {
            NetworkFilter::TcpProxy(proxy) => {
                self.push(
                    at,
                    "connection",
                    format!("to port {port}: passed on as it comes, no rule for HTTP is looked at"),
                );
                self.push(at, "destination", format!("100% to {}", proxy.cluster));
                if !self.connection_policies(at, workload, proxy, port, request)? {
                    return Ok(());
                }
                let passed = self.secured(workload, compiled, &proxy.cluster, request.clone());
                return self.server(workload, &proxy.cluster, &passed);
            }
            NetworkFilter::HttpConnectionManager(manager) => manager,
        };
        self.tls(at, chain, request);
        self.http(at, workload, compiled, manager, listener.address.port(), request)
    }

    /// The chain that takes the connection; `None`, and a step that says so, when none does.
    pub(super) fn chain<'l>(
        &mut self,
        at: &str,
        listener: &'l Listener,
        port: u16,
        request: &DescribedRequest,
    ) -> Option<&'l FilterChain> {
        let name = request.server_name();
        let protocols: Vec<&[u8]> = request.application_protocols.iter().map(String::as_bytes).collect();
        let facts = ConnectionFacts {
            destination_port: port,
            source: request.source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            server_name: name.as_deref(),
            transport_protocol: match request.is_tls() {
                true => TransportProtocol::Tls,
                false => TransportProtocol::RawBuffer,
            },
            application_protocols: &protocols,
        };
        let found = match FilterChainMatcher::new(&listener.filter_chains) {
            Ok(matcher) => matcher.find(&facts),
            Err(faults) => {
                self.push(at, format!("listener {}", listener.name), faults.join("; "));
                return None;
            }
        };
        let by = match (&name, request.is_tls()) {
            (Some(name), _) => format!("TLS for {name}"),
            (None, true) => "TLS without a server name".to_owned(),
            (None, false) => "plain text".to_owned(),
        };
        let found = found.and_then(|index| listener.filter_chains.get(index));
        let verdict = match found {
            Some(_) => format!("takes {by} to port {port}"),
            None => format!("no filter chain takes {by} to port {port}: the connection is closed"),
        };
        self.push(at, format!("listener {}", listener.name), verdict);
        found
    }

    /// Says whose TLS ends here.
    pub(super) fn tls(&mut self, at: &str, chain: &FilterChain, request: &DescribedRequest) {
        if let Some(tls) = &chain.transport_socket {
            let client = match (&request.principal, tls.require_client_certificate) {
                (Some(principal), true) => format!("; the client is {principal}"),
                (None, true) => "; clients must show a certificate".to_owned(),
                (_, false) => String::new(),
            };
            self.push(at, "TLS", format!("ended here{client}"));
        }
    }

    /// A request as it leaves a workload's proxy for a cluster, which may secure it with the workload's certificate.
    fn secured(
        &self,
        workload: &Workload,
        compiled: &Compiled,
        cluster: &str,
        request: DescribedRequest,
    ) -> DescribedRequest {
        // Whoever is asked by a gateway sees the gateway, and in a header who asked that.
        let peer = workload.address.filter(|_| self.mesh.is_gateway(workload));
        let cluster = compiled.snapshot.clusters.iter().find(|one| one.name == cluster);
        let Some(tls) = cluster.and_then(|cluster| cluster.transport_socket.as_ref()) else {
            return DescribedRequest { peer, principal: None, ..request };
        };
        let is_own = |certificate: &TlsCertificate| match &certificate.certificate_chain {
            DataSource::File(file) => file.starts_with(Settings::ASSUMED_CERTIFICATES),
            DataSource::Inline(_) => false,
        };
        let (domain, account) = (self.mesh.trust_domain(), &workload.service_account);
        let identity = || format!("spiffe://{domain}/ns/{}/sa/{account}", workload.namespace);
        DescribedRequest {
            scheme: "https".to_owned(),
            peer,
            server_name: tls.sni.clone(),
            application_protocols: tls.alpn.clone(),
            principal: tls.certificate.as_ref().is_some_and(is_own).then(identity),
            ..request
        }
    }

    fn http(
        &mut self,
        at: &str,
        workload: &Workload,
        compiled: &Compiled,
        manager: &HttpConnectionManager,
        port: u16,
        request: &DescribedRequest,
    ) -> Result<(), CompileError> {
        let (configs, others) = plugins::configs(manager)?;
        for name in others {
            self.push(at, format!("plugin {name}"), "a user's own: what it does is not known");
        }
        let asked = match self.mesh.is_gateway(workload) {
            true => self.tokens(at, &configs.jwt_authn, request)?,
            // Of what a workload asks for, tokens are looked at by whoever is asked.
            false => Some(DescribedRequest { claims: None, ..request.clone() }),
        };
        let Some(asked) = asked else { return Ok(()) };
        if !configs.authz.policies.is_empty()
            && !self.policies(at, workload, &configs.authz, port, &asked, FORBIDDEN)?
        {
            return Ok(());
        }
        let clusters = &compiled.snapshot.clusters;
        let outcome = exchange::run(&configs, None, clusters, port, &asked)?;
        for target in self.routes(at, &configs, &compiled.origins, port, &asked, &outcome)? {
            // Each destination may change headers in its own way.
            let outcome = exchange::run(&configs, target.chosen.as_ref(), clusters, port, &asked)?;
            // TLS has ended here. What is said of tokens is so at the next proxy as well.
            let (scheme, claims) = ("http".to_owned(), request.claims.clone());
            let plain = DescribedRequest { scheme, claims, ..outcome.forwarded(&asked) };
            let forwarded = self.secured(workload, compiled, &target.cluster, plain);
            self.server(workload, &target.cluster, &forwarded)?;
        }
        Ok(())
    }
}

/// Why a chain cannot serve a connection.
pub(super) fn unspoken(chain: &FilterChain, request: &DescribedRequest) -> Option<&'static str> {
    let is_http = matches!(chain.network_filter, NetworkFilter::HttpConnectionManager(_));
    match (chain.transport_socket.is_some(), request.is_tls()) {
        (true, false) => Some("none: TLS is expected, and plain text comes: the connection is closed"),
        (false, true) if is_http => Some(
            "none: HTTP in plain text is expected, and TLS comes; through the proxy as a proxy, https takes CONNECT",
        ),
        (false, false) if is_http && request.scheme == "tcp" => Some("none: HTTP is expected"),
        _ => None,
    }
}
