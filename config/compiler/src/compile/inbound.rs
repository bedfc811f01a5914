//! What a sidecar does with the requests for its workload.

use super::filters::{FilterConfigs, connection_plugins};
use super::wasm_plugin::{Mode, UserPlugins};
use super::{Settings, authorization_policy, mutual_tls, request_authentication, sidecar};
use crate::mesh::peer_authentications::{PeerMode, PeerRule};
use crate::mesh::service::upstream_protocol;
use crate::mesh::{Mesh, Workload};
use crate::report::{Field, Named, Report};
use crate::snapshot::{
    Cluster, Destination, Direction, Endpoint, FilterChain, FilterChainMatch, HttpConnectionManager, Listener,
    Locality, NetworkFilter, TcpProxy, TransportProtocol,
};
use istio_api::sidecar::{CaptureMode, IngressListener, Sidecar};
use istio_api::{Protocol, Resource};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The inbound listeners, and the clusters of the application.
#[derive(Default)]
pub(crate) struct Inbound {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) clusters: Vec<Cluster>,
}

/// A port on which a workload is called.
struct AppPort<'m> {
    number: u16,
    protocol: Option<Protocol>,
    /// Where the application takes what comes there.
    app: SocketAddr,
    /// Where the proxy listens for it alone.
    bind: Option<SocketAddr>,
    /// Who says so.
    named: &'m dyn Named,
    path: String,
}

/// Makes the inbound listeners of a workload: one at an address for all that is redirected there, and those that a
/// Sidecar binds to ports of their own.
pub(crate) fn compile(
    mesh: &Mesh<'_>,
    workload: &Workload,
    settings: &Settings,
    address: SocketAddr,
    user: &UserPlugins<'_>,
    report: &mut Report,
) -> serde_json::Result<Inbound> {
    let scope = sidecar::of_workload(mesh, workload).filter(|sidecar| !sidecar.spec.ingress.is_empty());
    let ports = match scope {
        Some(sidecar) => ingress_ports(sidecar, workload, settings, report),
        None => app_ports(mesh, workload, settings),
    };
    let authz = authorization_policy::compile(mesh, workload, report);
    let tokens = request_authentication::compile(mesh, workload, settings.certificates.as_ref(), report);
    let maker = Maker { mesh, workload, settings, user, authz, jwt_authn: tokens.jwt_authn };
    let mut inbound = Inbound::default();
    let mut filter_chains = Vec::new();
    for port in &ports {
        inbound.clusters.push(port.cluster());
        maker.check(port, report);
        if let Some(bind) = port.bind {
            let filter_chains = maker.chains(port, None, report)?;
            inbound.listeners.push(maker.listener(format!("inbound-{}", port.number), bind, false, filter_chains));
            continue;
        }
        filter_chains.extend(maker.chains(port, Some(port.number), report)?);
        // Who is not redirected has called the proxy itself: with one port there is no doubt which is meant.
        if ports.len() == 1 {
            filter_chains.extend(maker.chains(port, None, report)?);
        }
    }
    if !filter_chains.is_empty() {
        inbound.listeners.push(maker.listener("inbound".to_owned(), address, true, filter_chains));
    }
    inbound.clusters.extend(tokens.clusters);
    Ok(inbound)
}

/// The ports on which a workload is called: those of every service that it is an endpoint of.
fn app_ports<'m>(mesh: &'m Mesh<'_>, workload: &Workload, settings: &Settings) -> Vec<AppPort<'m>> {
    let mut ports: Vec<AppPort<'m>> = Vec::new();
    let own = (workload.namespace.as_str(), workload.name.as_str());
    for service in mesh.registry.of_namespace(&workload.namespace) {
        let is_own = |named: &Option<(String, String)>| {
            named.as_ref().is_some_and(|(namespace, name)| (namespace.as_str(), name.as_str()) == own)
        };
        let endpoint = service.endpoints.iter().find(|endpoint| is_own(&endpoint.workload));
        let selected = service.selector.as_ref().is_some_and(|selector| selector.select(&workload.labels));
        if endpoint.is_none() && !(selected && service.namespace == workload.namespace) {
            continue;
        }
        for port in service.ports.iter().filter(|port| port.is_proxied()) {
            let Some(number) = endpoint.map_or_else(|| workload.target(port), |endpoint| endpoint.port(port)) else {
                continue;
            };
            if !ports.iter().any(|known| known.number == number) {
                ports.push(AppPort {
                    number,
                    protocol: port.protocol,
                    app: SocketAddr::new(settings.app, number),
                    bind: None,
                    named: service,
                    path: service.path.clone(),
                });
            }
        }
    }
    ports
}

/// The ports that a Sidecar gives: those and no others.
fn ingress_ports<'m>(
    sidecar: &'m Resource<Sidecar>,
    workload: &Workload,
    settings: &Settings,
    report: &mut Report,
) -> Vec<AppPort<'m>> {
    let mut ports = Vec::new();
    for (index, written) in sidecar.spec.ingress.iter().enumerate() {
        let path = format!("spec.ingress[{index}]");
        if written.tls.is_some() {
            let path = format!("{path}.tls");
            let reason = "TLS of a sidecar's own listeners is not served yet: requests would come in plain text";
            report.refuse(Field { name: sidecar, path: &path }, "", reason);
        }
        let number = written.port.number;
        let made = app(written, workload, settings).and_then(|app| Ok((app, bind(written, workload)?)));
        match made {
            Ok((app, bind)) => ports.push(AppPort {
                number,
                protocol: written.port.protocol.as_deref().and_then(Protocol::parse),
                app,
                bind,
                named: sidecar,
                path,
            }),
            Err((field, value, reason)) => {
                let path = format!("{path}.{field}");
                report.refuse(Field { name: sidecar, path: &path }, value, reason);
            }
        }
    }
    ports
}

type Refusal<'w> = (&'static str, &'w str, &'static str);

/// Where the application listens: `127.0.0.1:8080`, or `0.0.0.0:8080` for the workload's own address.
fn app<'w>(written: &'w IngressListener, workload: &Workload, settings: &Settings) -> Result<SocketAddr, Refusal<'w>> {
    let Some(text) = written.default_endpoint.as_deref() else {
        return Ok(SocketAddr::new(settings.app, written.port.number));
    };
    let refuse = |reason| ("defaultEndpoint", text, reason);
    let endpoint: SocketAddr = text.parse().map_err(|_| refuse("Unix sockets cannot be called yet"))?;
    match (endpoint.ip().is_unspecified(), workload.address) {
        (false, _) => Ok(endpoint),
        (true, Some(address)) => Ok(SocketAddr::new(address, endpoint.port())),
        (true, None) => Err(refuse("stands for the workload's own address, and it has none")),
    }
}

/// Where the proxy listens for a port by itself: where nothing redirects connections to it.
fn bind<'w>(written: &'w IngressListener, workload: &Workload) -> Result<Option<SocketAddr>, Refusal<'w>> {
    let given = match written.bind.as_deref() {
        Some(text) => Some(text.parse::<IpAddr>().map_err(|_| ("bind", text, "only IP addresses can be listened on"))?),
        None => None,
    };
    if written.capture_mode != CaptureMode::None {
        return Ok(given.map(|address| SocketAddr::new(address, written.port.number)));
    }
    let address = given.or(workload.address).unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    Ok(Some(SocketAddr::new(address, written.port.number)))
}

impl AppPort<'_> {
    fn cluster_name(&self) -> String {
        format!("inbound|{}||", self.number)
    }

    fn cluster(&self) -> Cluster {
        let locality = Locality::default();
        Cluster {
            endpoints: vec![Endpoint { address: self.app, weight: 1, priority: 0, locality, plaintext: false }],
            protocol: upstream_protocol(self.protocol),
            ..Cluster::named(self.cluster_name())
        }
    }

    fn is_http(&self) -> bool {
        self.protocol.is_none_or(Protocol::is_http)
    }
}

/// What filter chains are made with.
struct Maker<'c, 'm> {
    mesh: &'c Mesh<'m>,
    workload: &'c Workload,
    settings: &'c Settings,
    user: &'c UserPlugins<'m>,
    authz: authz::Config,
    jwt_authn: jwt_authn::Config,
}

impl Maker<'_, '_> {
    fn listener(
        &self,
        name: String,
        address: SocketAddr,
        use_original_dst: bool,
        chains: Vec<FilterChain>,
    ) -> Listener {
        Listener {
            name,
            address,
            direction: Direction::Inbound,
            use_original_dst,
            protocol_detection_timeout: self.mesh.settings.protocol_detection_timeout(),
            filter_chains: chains,
        }
    }

    fn check(&self, port: &AppPort<'_>, report: &mut Report) {
        if !port.is_http() {
            let field = Field { name: port.named, path: &port.path };
            authorization_policy::check_connections(&self.authz, field, port.number, report);
        }
    }

    /// The chains of a port, as PeerAuthentication has it: Istio's sidecars tell by the application protocols that a
    /// client offers whether TLS is the mesh's or the application's own.
    fn chains(
        &self,
        port: &AppPort<'_>,
        destination_port: Option<u16>,
        report: &mut Report,
    ) -> serde_json::Result<Vec<FilterChain>> {
        let any = FilterChainMatch { destination_port, ..FilterChainMatch::default() };
        let filter = self.filter(port)?;
        let chain = |filter_chain_match, transport_socket| FilterChain {
            filter_chain_match,
            transport_socket,
            network_filter: filter.clone(),
        };
        let PeerRule { mode, said } =
            self.mesh.peer_authentications.of(&self.workload.namespace, &self.workload.labels, port.number);
        let credentials = self.settings.certificates.as_ref();
        let socket = credentials.map(|credentials| mutual_tls::server(&self.mesh.settings, credentials));
        Ok(match (mode, socket) {
            (PeerMode::Strict, None) => {
                if let Some((resource, path)) = said {
                    report.refuse(Field { name: resource, path: &path }, "STRICT", mutual_tls::NO_CERTIFICATE);
                }
                Vec::new()
            }
            // Without a match of its own, so that whoever comes in plain text is told from whom no chain is for.
            (PeerMode::Strict, socket) => vec![chain(any, socket)],
            (PeerMode::Disable, _) | (PeerMode::Permissive, None) => vec![chain(any, None)],
            (PeerMode::Permissive, socket) => {
                let of = |protocol| FilterChainMatch { transport_protocol: Some(protocol), ..any.clone() };
                let secured = of(TransportProtocol::Tls);
                let marked = FilterChainMatch { application_protocols: mutual_tls::marks(), ..secured.clone() };
                let mut chains = vec![chain(marked, socket), chain(of(TransportProtocol::RawBuffer), None)];
                // The application's own TLS, where it may speak any. Providers are not asked about connections.
                if port.protocol.is_none_or(|protocol| !protocol.is_http()) && !authorization_policy::asks(&self.authz)
                {
                    let network_filter = self.bytes(port)?;
                    chains.push(FilterChain { network_filter, ..chain(secured, None) });
                }
                chains
            }
        })
    }

    fn filter(&self, port: &AppPort<'_>) -> serde_json::Result<NetworkFilter> {
        if !port.is_http() {
            return self.bytes(port);
        }
        let (authz, jwt_authn) = (self.authz.clone(), self.jwt_authn.clone());
        let configs = FilterConfigs { authz, jwt_authn, ..FilterConfigs::default() };
        Ok(NetworkFilter::HttpConnectionManager(Box::new(HttpConnectionManager {
            plugins: configs.plugins(self.user.of(Mode::Server, Some(port.number)))?,
            ..self.settings.manager(self.mesh, Destination::Cluster(port.cluster_name()))
        })))
    }

    fn bytes(&self, port: &AppPort<'_>) -> serde_json::Result<NetworkFilter> {
        Ok(NetworkFilter::TcpProxy(TcpProxy {
            plugins: connection_plugins(&self.authz)?,
            ..self.settings.tcp_proxy(self.mesh, port.cluster_name())
        }))
    }
}
