//! What a sidecar does with the requests of its workload.

use super::Settings;
use super::destination_rule::{cluster_name, clusters};
use super::filters::{CLUSTER_HEADER, FilterConfigs};
use super::origin::Origins;
use super::sidecar;
use super::virtual_service::{RouteCompiler, mesh_gateways};
use super::wasm_plugin::{Mode, UserPlugins};
use crate::finding::Message;
use crate::mesh::{Mesh, Service, ServicePort, Workload};
use crate::report::{Field, Report};
use crate::snapshot::{
    Cluster, Destination, Direction, FilterChain, FilterChainMatch, HttpConnectionManager, Listener, NetworkFilter,
    UpstreamProtocol,
};
use header_rules::{UnknownAuthorityConfig, UnknownAuthorityPolicy, VirtualHostConfig};
use istio_api::mesh_config::MeshOutboundMode;
use istio_api::sidecar::OutboundMode;
use istio_api::{Resource, Sidecar};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// The cluster of requests that no service is known for; Istio's name.
const PASSTHROUGH: &str = "PassthroughCluster";
/// In `ports` of header-rules: of requests that name none.
const NO_PORT: u16 = 0;
/// The port of VirtualServices for hosts that no service has.
const HTTP_PORT: u16 = 80;

/// The outbound listener, and the clusters behind it.
pub(crate) struct Outbound {
    pub(crate) listener: Listener,
    pub(crate) clusters: Vec<Cluster>,
}

/// Makes the outbound listener of a workload at an address.
pub(crate) fn compile(
    mesh: &Mesh<'_>,
    workload: &Workload,
    settings: &Settings,
    address: SocketAddr,
    user: &UserPlugins<'_>,
    origins: &mut Origins,
    report: &mut Report,
) -> serde_json::Result<Outbound> {
    let scope = sidecar::of_workload(mesh, workload);
    let imported = imported(mesh, workload, scope);
    let visible: Vec<&Service> = imported.iter().map(Cow::as_ref).collect();
    let mut configs = configs(mesh, workload, &visible, scope, origins, report);
    configs.header_rules.explicit_ports = vec![address.port()];
    let destination = Destination::ClusterHeader { name: CLUSTER_HEADER.to_owned(), default: None };
    let http = HttpConnectionManager {
        plugins: configs.plugins(user.of(Mode::Client, None))?,
        connect: true,
        ..settings.manager(mesh, destination)
    };
    let mut filter_chains = tcp_chains(mesh, &visible, settings, report);
    filter_chains.push(FilterChain {
        filter_chain_match: FilterChainMatch::default(),
        transport_socket: None,
        network_filter: NetworkFilter::HttpConnectionManager(Box::new(http)),
    });
    let services =
        visible.iter().flat_map(|service| clusters(mesh, workload, settings.certificates.as_ref(), service, report));
    let passthrough =
        Cluster { dynamic_forward: true, protocol: UpstreamProtocol::Downstream, ..Cluster::named(PASSTHROUGH) };
    let clusters = services.chain(std::iter::once(passthrough)).collect();
    let listener = Listener {
        name: "outbound".to_owned(),
        address,
        direction: Direction::Outbound,
        use_original_dst: true,
        protocol_detection_timeout: mesh.settings.protocol_detection_timeout(),
        filter_chains,
    };
    Ok(Outbound { listener, clusters })
}

/// Whether requests go on that no service is known for (`outboundTrafficPolicy`): as the Sidecar says, or else the mesh.
fn allows_any(mesh: &Mesh<'_>, scope: Option<&Resource<Sidecar>>) -> bool {
    match scope.and_then(|sidecar| sidecar.spec.outbound_traffic_policy.as_ref()) {
        Some(policy) => policy.mode == OutboundMode::AllowAny,
        None => mesh.settings.outbound_mode() != MeshOutboundMode::RegistryOnly,
    }
}

/// The services that a workload's proxy knows, with the ports of each that it knows.
fn imported<'m>(
    mesh: &'m Mesh<'_>,
    workload: &'m Workload,
    scope: Option<&Resource<Sidecar>>,
) -> Vec<Cow<'m, Service>> {
    let mut imported = Vec::new();
    for service in mesh.registry.visible(&workload.namespace) {
        let known = |port: &ServicePort| sidecar::imports(scope, service, port.number);
        match service.ports.iter().filter(|port| known(port)).count() {
            0 => {}
            all if all == service.ports.len() => imported.push(Cow::Borrowed(service)),
            _ => {
                let ports = service.ports.iter().filter(|port| known(port)).cloned().collect();
                imported.push(Cow::Owned(Service { ports, ..service.clone() }));
            }
        }
    }
    imported
}

fn configs(
    mesh: &Mesh<'_>,
    workload: &Workload,
    visible: &[&Service],
    scope: Option<&Resource<Sidecar>>,
    origins: &mut Origins,
    report: &mut Report,
) -> FilterConfigs {
    let mut configs = FilterConfigs::default();
    let gateways = mesh_gateways();
    let routes = RouteCompiler { mesh, client: workload, gateways: &gateways, configs: &mut configs, origins, report };
    configs.header_rules.virtual_hosts = VirtualHosts::compile(visible, routes);
    // Gateways alone know claims: here a condition on them does not hold, and no client can set what stands for them.
    configs.jwt_authn.claim_headers.clear();
    configs.header_rules.unknown_authority = Some(match allows_any(mesh, scope) {
        true => {
            UnknownAuthorityConfig { policy: UnknownAuthorityPolicy::Forward, cluster: Some(PASSTHROUGH.to_owned()) }
        }
        false => UnknownAuthorityConfig { policy: UnknownAuthorityPolicy::Reject, cluster: None },
    });
    configs
}

/// Ports of services that speak no HTTP. What is redirected to such a port is forwarded as it comes; of several services
/// on one port the first: they differ by their addresses only, which chains do not tell apart yet.
fn tcp_chains(mesh: &Mesh<'_>, visible: &[&Service], settings: &Settings, report: &mut Report) -> Vec<FilterChain> {
    let ports = || visible.iter().flat_map(|service| service.ports.iter().map(move |port| (*service, port)));
    let mut taken: HashMap<u16, (&Service, &ServicePort)> = HashMap::new();
    for (service, port) in ports().filter(|(_, port)| port.is_http()) {
        taken.entry(port.number).or_insert((service, port));
    }
    let mut chains = Vec::new();
    for (service, port) in ports().filter(|(_, port)| port.is_proxied() && !port.is_http()) {
        if let Some(first) = taken.get(&port.number) {
            same_port(service, port, *first, report);
            continue;
        }
        taken.insert(port.number, (service, port));
        let cluster = cluster_name(port.number, "", &service.hostname);
        chains.push(FilterChain {
            filter_chain_match: FilterChainMatch { destination_port: Some(port.number), ..FilterChainMatch::default() },
            transport_socket: None,
            network_filter: NetworkFilter::TcpProxy(settings.tcp_proxy(mesh, cluster)),
        });
    }
    chains
}

/// Says whose connections are taken for somebody else's.
fn same_port(service: &Service, port: &ServicePort, first: (&Service, &ServicePort), report: &mut Report) {
    let (other, of_other) = first;
    if service.hostname == other.hostname {
        return;
    }
    let (number, field) = (format!("port {}", port.number), Field { name: service, path: &service.path });
    let fate = match of_other.is_http() {
        true => format!("connections are taken for requests, as those to {}", other.hostname),
        false => format!("connections go to {}", other.hostname),
    };
    if !service.kubernetes && service.addresses.is_empty() {
        let reason = format!("nothing but the port tells it from others: {fate}");
        report.find(&Message::SERVICE_ENTRY_ADDRESSES_REQUIRED, field, number, reason);
    } else {
        report.notice(field, number, format!("addresses are not told apart yet: {fate}"));
    }
}

/// Virtual hosts as they come together: services of one VirtualService on one port share one.
struct VirtualHosts<'c, 'r> {
    routes: RouteCompiler<'c, 'r>,
    hosts: Vec<VirtualHostConfig>,
    by_virtual_service: HashMap<(usize, Vec<u16>), usize>,
    /// Domains that belong to somebody already, on each port.
    taken: HashSet<(String, u16)>,
}

impl<'c, 'r> VirtualHosts<'c, 'r> {
    fn compile(visible: &[&Service], routes: RouteCompiler<'c, 'r>) -> Vec<VirtualHostConfig> {
        let mut hosts = Self { routes, hosts: Vec::new(), by_virtual_service: HashMap::new(), taken: HashSet::new() };
        // Names in full first: what is short for one service may be another's name in full.
        for service in visible {
            for port in service.ports.iter().filter(|port| port.is_proxied()) {
                hosts.service(service, port);
            }
        }
        hosts.unregistered(visible);
        hosts.hosts
    }

    fn service(&mut self, service: &Service, port: &ServicePort) {
        let mut ports = vec![port.number];
        if service.default_port() == Some(port.number) {
            ports.push(NO_PORT);
        }
        let client = &self.routes.client.namespace;
        let names = domains(service, client, &self.routes.mesh.settings.domain);
        let domains = self.free(names, &ports);
        if domains.is_empty() {
            return;
        }
        let (mesh, client) = (self.routes.mesh, self.routes.client);
        let routed = mesh.virtual_services.of_mesh_host(&service.hostname, &client.namespace);
        match routed.filter(|(_, routed)| port.is_http() && !routed.http.is_empty()) {
            Some((place, routed)) => match self.by_virtual_service.get(&(place, ports.clone())) {
                Some(known) => {
                    if let Some(host) = self.hosts.get_mut(*known) {
                        host.domains.extend(domains);
                    }
                }
                None => {
                    let routes = self.routes.routes(routed, port.number);
                    self.by_virtual_service.insert((place, ports.clone()), self.hosts.len());
                    self.push(&service.hostname, domains, ports, routes);
                }
            },
            None => {
                let route = self.routes.default_route(service, port.number);
                self.push(&service.hostname, domains, ports, vec![route]);
            }
        }
    }

    /// Hosts that VirtualServices route and no service has: on port 80, as they are.
    fn unregistered(&mut self, visible: &[&Service]) {
        let known: HashSet<&str> = visible.iter().map(|service| service.hostname.as_str()).collect();
        let mesh = self.routes.mesh;
        for (_, routed) in mesh.virtual_services.of_mesh(&self.routes.client.namespace) {
            let covered = |host: &str| known.iter().any(|known| crate::mesh::names::covers(host, known));
            let unknown = |host: &&String| match host.starts_with('*') {
                true => !covered(host),
                false => !known.contains(host.as_str()),
            };
            let names: Vec<String> = routed.hosts.iter().filter(unknown).cloned().collect();
            let ports = vec![HTTP_PORT, NO_PORT];
            let domains = self.free(names, &ports);
            if let Some(name) = domains.first().cloned()
                && !routed.http.is_empty()
            {
                let routes = self.routes.routes(routed, HTTP_PORT);
                self.push(&name, domains, ports, routes);
            }
        }
    }

    /// The domains that nobody has on any of these ports; they are taken then.
    fn free(&mut self, names: Vec<String>, ports: &[u16]) -> Vec<String> {
        let mut free = Vec::with_capacity(names.len());
        for name in names {
            let is_free = ports.iter().all(|port| !self.taken.contains(&(name.clone(), *port)));
            if is_free {
                self.taken.extend(ports.iter().map(|port| (name.clone(), *port)));
                free.push(name);
            }
        }
        free
    }

    fn push(&mut self, hostname: &str, domains: Vec<String>, ports: Vec<u16>, routes: Vec<header_rules::RouteConfig>) {
        let port = ports.first().copied().unwrap_or(NO_PORT);
        self.hosts.push(VirtualHostConfig { name: Some(format!("{hostname}:{port}")), domains, ports, routes });
    }
}

/// Every name by which a client of a namespace may call a service: in full, short, and by address.
fn domains(service: &Service, client_namespace: &str, domain: &str) -> Vec<String> {
    let mut names = vec![service.hostname.clone()];
    if !service.hostname.starts_with('*') {
        names.push(format!("{}.", service.hostname));
    }
    let short = service.hostname.strip_suffix(domain).and_then(|rest| rest.strip_suffix(".svc."));
    if let Some((name, namespace)) = short.filter(|_| service.kubernetes).and_then(|short| short.split_once('.')) {
        if namespace == client_namespace {
            names.push(name.to_owned());
        }
        names.extend([format!("{name}.{namespace}"), format!("{name}.{namespace}.svc")]);
    }
    names.extend(service.addresses.iter().map(|address| match address {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    }));
    names
}
