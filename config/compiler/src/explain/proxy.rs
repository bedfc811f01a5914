//! At one proxy: the listener and the filter chain that take a request, and what the chain does.

use super::{DescribedRequest, Walk, exchange, plugins};
use crate::compile::{CompileError, Compiled, Settings, gateway};
use crate::mesh::Workload;
use crate::snapshot::{
    ConnectionFacts, Direction, FilterChain, FilterChainMatcher, HttpConnectionManager, Listener, NetworkFilter,
    TransportProtocol,
};
use std::net::{IpAddr, Ipv4Addr};

/// Gateways that a request may come through before it is said to go in circles.
const MOST_HOPS: usize = 4;

impl Walk<'_, '_> {
    /// At the sidecar of who asks.
    pub(super) fn client(&mut self, from: &Workload, request: &DescribedRequest) -> Result<(), CompileError> {
        let at = format!("client {}/{}", from.namespace, from.name);
        let compiled = self.mesh.sidecar(from, &Settings { inbound: None, ..Settings::default() })?;
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
        let compiled = self.mesh.gateway(gateway, &Settings::default())?;
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
        let manager = match &chain.network_filter {
            NetworkFilter::TcpProxy(proxy) => {
                self.push(
                    at,
                    "connection",
                    format!("to port {port}: passed on as it comes, no rule for HTTP is looked at"),
                );
                self.push(at, "destination", format!("100% to {}", proxy.cluster));
                return self.server(workload, &proxy.cluster, request);
            }
            NetworkFilter::HttpConnectionManager(manager) => manager,
        };
        if let Some(reason) = unspoken(chain, request) {
            self.push(at, "answer", reason);
            return Ok(());
        }
        if let Some(tls) = &chain.transport_socket {
            let client = if tls.require_client_certificate { "; clients must show a certificate" } else { "" };
            self.push(at, "TLS", format!("ended here{client}"));
        }
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
        let facts = ConnectionFacts {
            destination_port: port,
            source: request.source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            server_name: name.as_deref(),
            transport_protocol: match request.is_tls() {
                true => TransportProtocol::Tls,
                false => TransportProtocol::RawBuffer,
            },
            application_protocols: &[],
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
        if !configs.authz.policies.is_empty() && !self.policies(at, workload, &configs.authz, port, request)? {
            return Ok(());
        }
        let clusters = &compiled.snapshot.clusters;
        let outcome = exchange::run(&configs, None, clusters, port, request)?;
        for target in self.routes(at, &configs, &compiled.origins, port, request, &outcome)? {
            // Each destination may change headers in its own way.
            let outcome = exchange::run(&configs, target.chosen.as_ref(), clusters, port, request)?;
            // TLS has ended here; behind it there is some where the cluster makes it.
            let cluster = clusters.iter().find(|cluster| cluster.name == target.cluster);
            let secured = cluster.is_some_and(|cluster| cluster.transport_socket.is_some());
            let scheme = if secured { "https" } else { "http" }.to_owned();
            let peer = workload.address.filter(|_| self.mesh.is_gateway(workload));
            let forwarded = DescribedRequest { scheme, peer, ..outcome.forwarded(request) };
            self.server(workload, &target.cluster, &forwarded)?;
        }
        Ok(())
    }
}

/// Why a chain that expects HTTP cannot serve a connection.
pub(super) fn unspoken(chain: &FilterChain, request: &DescribedRequest) -> Option<&'static str> {
    match (chain.transport_socket.is_some(), request.scheme.as_str()) {
        (false, "https") => Some(
            "none: HTTP in plain text is expected, and TLS comes; through the proxy as a proxy, https takes CONNECT",
        ),
        (_, "tcp") => Some("none: HTTP is expected"),
        _ => None,
    }
}
