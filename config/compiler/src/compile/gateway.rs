//! Gateways and the VirtualServices that name them → the listeners of a gateway proxy.

use super::destination_rule::clusters;
use super::filters::{CLUSTER_HEADER, FilterConfigs, connection_plugins};
use super::origin::{Origin, Origins};
use super::virtual_service::{Meant, RouteCompiler};
use super::wasm_plugin::{Mode, UserPlugins};
use super::{Settings, authorization_policy, request_authentication, server_tls};
use crate::finding::Message;
use crate::mesh::names::covers;
use crate::mesh::virtual_services::RoutedHosts;
use crate::mesh::{Mesh, Service, Workload};
use crate::report::{Field, Report};
use crate::snapshot::{
    Cluster, Destination, Direction, FilterChain, FilterChainMatch, HttpConnectionManager, Listener, NetworkFilter,
    TcpProxy, TransportProtocol,
};
use header_rules::{RedirectConfig, RouteConfig, VirtualHostConfig};
use istio_api::gateway::{Server, ServerTlsMode};
use istio_api::scalar::NamespaceScope;
use istio_api::{Gateway, Protocol, Resource};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The listeners of a gateway, and the clusters behind them.
#[derive(Default)]
pub(crate) struct Gateways {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) clusters: Vec<Cluster>,
}

/// A server of a Gateway.
#[derive(Clone)]
struct Placed<'m> {
    resource: &'m Resource<Gateway>,
    server: &'m Server,
    /// `spec.servers[0]`
    path: String,
}

/// What the listeners of a gateway are made with.
struct Maker<'c, 'm> {
    mesh: &'c Mesh<'m>,
    workload: &'c Workload,
    settings: &'c Settings,
    user: &'c UserPlugins<'m>,
    authz: authz::Config,
    jwt_authn: jwt_authn::Config,
    origins: &'c mut Origins,
    report: &'c mut Report,
}

/// Makes the listeners of a gateway.
pub(crate) fn compile<'m>(
    mesh: &Mesh<'m>,
    workload: &Workload,
    settings: &Settings,
    user: &UserPlugins<'m>,
    origins: &mut Origins,
    report: &mut Report,
) -> serde_json::Result<Gateways> {
    let mut by_address: BTreeMap<SocketAddr, Vec<Placed<'m>>> = BTreeMap::new();
    for resource in crate::mesh::by_age(&mesh.resources.gateways) {
        if !resource.spec.selector.select(&workload.labels) {
            continue;
        }
        for (index, server) in resource.spec.servers.iter().enumerate() {
            let placed = Placed { resource, server, path: format!("spec.servers[{index}]") };
            if let Some(address) = address(mesh, workload, &placed, report) {
                by_address.entry(address).or_default().push(placed);
            }
        }
    }
    let mut made = Gateways::default();
    let authz = authorization_policy::compile(mesh, workload, report);
    let tokens = request_authentication::compile(mesh, workload, settings.certificates.as_ref(), report);
    made.clusters.extend(tokens.clusters);
    let mut maker = Maker { mesh, workload, settings, user, authz, jwt_authn: tokens.jwt_authn, origins, report };
    for (address, servers) in by_address {
        let filter_chains = maker.filter_chains(&servers)?;
        if !filter_chains.is_empty() {
            made.listeners.push(Listener {
                name: format!("gateway-{address}"),
                address,
                direction: Direction::Unspecified,
                use_original_dst: false,
                protocol_detection_timeout: None,
                filter_chains,
            });
        }
    }
    let visible: Vec<&Service> = mesh.registry.visible(&workload.namespace).collect();
    let of_services =
        visible.iter().flat_map(|service| clusters(mesh, workload, settings.certificates.as_ref(), service, report));
    made.clusters.extend(of_services);
    Ok(made)
}

/// The port that a gateway listens on for one that is asked for: the same, or where a Service in front of it sends that.
pub(crate) fn listening_port(mesh: &Mesh<'_>, gateway: &Workload, number: u16) -> u16 {
    let in_front = mesh.registry.all().iter().filter(|service| {
        let selects = service.selector.as_ref().is_some_and(|selector| selector.select(&gateway.labels));
        selects && service.namespace == gateway.namespace
    });
    let target = in_front.filter_map(|service| service.port(number)).find_map(|port| gateway.target(port));
    target.unwrap_or(number)
}

/// Where a server listens.
fn address(mesh: &Mesh<'_>, workload: &Workload, placed: &Placed<'_>, report: &mut Report) -> Option<SocketAddr> {
    let bind = match placed.server.bind.as_deref() {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(bind) => match bind.parse() {
            Ok(address) => address,
            Err(_) => {
                let path = format!("{}.bind", placed.path);
                report.refuse(
                    Field { name: placed.resource, path: &path },
                    bind,
                    "only IP addresses can be listened on",
                );
                return None;
            }
        },
    };
    Some(SocketAddr::new(bind, listening_port(mesh, workload, placed.server.port.number.get())))
}

impl<'m> Maker<'_, 'm> {
    /// The chains of an address: one for all that speaks HTTP in plain text, one for each server with TLS, or one for
    /// TCP. Of servers that cannot be told apart the oldest stays.
    fn filter_chains(&mut self, servers: &[Placed<'m>]) -> serde_json::Result<Vec<FilterChain>> {
        let is_plain_http = |placed: &&Placed<'m>| {
            let protocol = Protocol::parse(&placed.server.port.protocol);
            protocol.is_some_and(Protocol::is_http)
        };
        let plain: Vec<_> = servers.iter().filter(is_plain_http).cloned().collect();
        let mut chains = Vec::new();
        let mut names_taken = BTreeSet::new();
        if !plain.is_empty() {
            let filter = self.http(&plain, false)?;
            chains.push(chain(FilterChainMatch::default(), filter));
        }
        for placed in servers.iter().filter(|placed| !is_plain_http(placed)) {
            let Some(tls) = &placed.server.tls else {
                self.check_connections(placed);
                self.tcp(placed, &mut chains)?;
                continue;
            };
            let names = server_names(placed.server);
            if let Some(name) = names.iter().find(|name| names_taken.contains(*name)) {
                let path = format!("{}.hosts", placed.path);
                let reason = "another server has this host on this port: this server is left out";
                let field = Field { name: placed.resource, path: &path };
                self.report.find(&Message::CONFLICTING_GATEWAYS, field, name, reason);
                continue;
            }
            names_taken.extend(names.iter().cloned());
            let wanted = by_server_name(names);
            match tls.mode {
                ServerTlsMode::Passthrough => {
                    self.check_connections(placed);
                    self.passthrough(placed, &mut chains)?;
                }
                _ => {
                    let path = format!("{}.tls", placed.path);
                    let field = Field { name: placed.resource, path: &path };
                    let socket = server_tls::compile(
                        self.mesh,
                        self.workload,
                        self.settings.certificates.as_ref(),
                        tls,
                        field,
                        self.report,
                    );
                    let filter = self.http(std::slice::from_ref(placed), true)?;
                    chains.push(FilterChain { transport_socket: socket, ..chain(wanted, filter) });
                }
            }
        }
        Ok(chains)
    }

    /// One route table for servers that are told apart by nothing but the authority.
    fn http(&mut self, servers: &[Placed<'m>], secured: bool) -> serde_json::Result<NetworkFilter> {
        let port = servers.first().map_or(0, |placed| placed.server.port.number.get());
        let (authz, jwt_authn) = (self.authz.clone(), self.jwt_authn.clone());
        let mut configs = FilterConfigs { authz, jwt_authn, ..FilterConfigs::default() };
        let hosts = self.virtual_hosts(servers, secured, port, &mut configs);
        // Without any host every request gets 404, which takes a table that has none.
        configs.header_rules.unknown_authority = Some(header_rules::UnknownAuthorityConfig::default());
        configs.header_rules.virtual_hosts = hosts;
        let plugins = configs.plugins(self.user.of(Mode::Client, Some(port)))?;
        let destination = Destination::ClusterHeader { name: CLUSTER_HEADER.to_owned(), default: None };
        Ok(NetworkFilter::HttpConnectionManager(Box::new(HttpConnectionManager {
            plugins,
            use_remote_address: Some(true),
            ..self.settings.manager(self.mesh, destination)
        })))
    }

    fn check_connections(&mut self, placed: &Placed<'_>) {
        let field = Field { name: placed.resource, path: &placed.path };
        authorization_policy::check_connections(&self.authz, field, placed.server.port.number.get(), self.report);
    }

    /// Domains with the VirtualServices that route them; those that agree share one virtual host.
    fn virtual_hosts(
        &mut self,
        servers: &[Placed<'m>],
        secured: bool,
        port: u16,
        configs: &mut FilterConfigs,
    ) -> Vec<VirtualHostConfig> {
        let mesh = self.mesh;
        let mut gateways = Vec::new();
        let mut redirected: BTreeMap<String, Placed<'m>> = BTreeMap::new();
        let mut routed: BTreeMap<String, Vec<&RoutedHosts<'m>>> = BTreeMap::new();
        for placed in servers {
            let name = gateway_name(placed.resource);
            let https_only = !secured && placed.server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
            if https_only {
                let hosts = placed.server.hosts.iter().map(|host| host.host.as_str().to_ascii_lowercase());
                redirected.extend(hosts.map(|host| (host, placed.clone())));
            }
            let attached = mesh.virtual_services.of_gateway(&name, &self.workload.namespace);
            for service in attached.filter(|_| !https_only) {
                for domain in served(placed, service) {
                    let all = routed.entry(domain).or_default();
                    if !all.iter().any(|known| std::ptr::eq(*known, service)) {
                        all.push(service);
                    }
                }
            }
            gateways.push(name);
        }
        let mut grouped: Vec<(Vec<&RoutedHosts<'m>>, Vec<String>)> = Vec::new();
        for (domain, services) in routed.into_iter().filter(|(domain, _)| !redirected.contains_key(domain)) {
            let same = |(known, _): &&mut (Vec<&RoutedHosts<'m>>, Vec<String>)| {
                known.len() == services.len()
                    && known.iter().zip(&services).all(|(one, other)| std::ptr::eq(*one, *other))
            };
            match grouped.iter_mut().find(same) {
                Some((_, domains)) => domains.push(domain),
                None => grouped.push((services, vec![domain])),
            }
        }
        let mut hosts = Vec::new();
        for (services, domains) in grouped {
            let mut compiler = RouteCompiler {
                mesh,
                client: self.workload,
                gateways: &gateways,
                configs,
                origins: self.origins,
                report: self.report,
            };
            // The oldest first; what takes every request comes last, wherever it stands.
            let mut routes: Vec<RouteConfig> =
                services.iter().flat_map(|service| compiler.routes(service, port)).collect();
            routes.sort_by_key(super::virtual_service::takes_all);
            let name = domains.first().map(|domain| format!("{domain}:{port}"));
            hosts.push(VirtualHostConfig { name, domains, ports: Vec::new(), routes });
        }
        hosts.extend(redirected.into_iter().map(|(domain, placed)| self.redirect(domain, &placed, port)));
        hosts
    }

    fn redirect(&mut self, domain: String, placed: &Placed<'_>, port: u16) -> VirtualHostConfig {
        let path = format!("{}.tls.httpsRedirect", placed.path);
        let id = format!("{}/https-redirect", gateway_name(placed.resource));
        let id = self.origins.claim(id, port, Origin::of(placed.resource, &path));
        let redirect = RedirectConfig { scheme: Some("https".to_owned()), ..RedirectConfig::default() };
        let route = RouteConfig { id: Some(id), redirect: Some(redirect), ..RouteConfig::default() };
        VirtualHostConfig {
            name: Some(format!("{domain}:{port}")),
            domains: vec![domain],
            ports: Vec::new(),
            routes: vec![route],
        }
    }

    /// Connections are passed on by the server name that they ask for.
    fn passthrough(&mut self, placed: &Placed<'m>, chains: &mut Vec<FilterChain>) -> serde_json::Result<()> {
        let name = gateway_name(placed.resource);
        let port = placed.server.port.number.get();
        for service in self.mesh.virtual_services.of_gateway(&name, &self.workload.namespace) {
            for (index, route) in service.resource.spec.tls.iter().enumerate() {
                for wanted in &route.matches {
                    if wanted.port.is_some_and(|wanted| wanted.get() != port)
                        || !self.is_for(&wanted.gateways, service, &name)
                    {
                        continue;
                    }
                    let names: Vec<String> =
                        wanted.sni_hosts.iter().map(|host| host.as_str().to_ascii_lowercase()).collect();
                    let path = format!("spec.tls[{index}]");
                    let Some(cluster) = self.l4_cluster(&route.route, service, &path, port) else { continue };
                    let wanted = by_server_name(names);
                    if !chains.iter().any(|known| known.filter_chain_match == wanted) {
                        chains.push(chain(wanted, self.tcp_proxy(cluster)?));
                    }
                }
            }
        }
        Ok(())
    }

    /// The first VirtualService with a route for the port says where connections go.
    fn tcp(&mut self, placed: &Placed<'m>, chains: &mut Vec<FilterChain>) -> serde_json::Result<()> {
        let name = gateway_name(placed.resource);
        let port = placed.server.port.number.get();
        let services: Vec<_> = self.mesh.virtual_services.of_gateway(&name, &self.workload.namespace).collect();
        let mut routes = services.iter().flat_map(|service| {
            service.resource.spec.tcp.iter().enumerate().map(move |(index, route)| (*service, index, route))
        });
        let found = routes.find(|(service, _, route)| {
            route.matches.is_empty()
                || route.matches.iter().any(|wanted| {
                    wanted.port.is_none_or(|wanted| wanted.get() == port)
                        && self.is_for(&wanted.gateways, service, &name)
                })
        });
        let Some((service, index, route)) = found else {
            let reason = "no VirtualService has a tcp route for it: nothing listens there";
            self.report.notice(Field { name: placed.resource, path: &placed.path }, port, reason);
            return Ok(());
        };
        let path = format!("spec.tcp[{index}]");
        let Some(cluster) = self.l4_cluster(&route.route, service, &path, port) else { return Ok(()) };
        if !chains.is_empty() {
            let field = Field { name: placed.resource, path: &placed.path };
            let reason = "another server has this port: this server is left out";
            self.report.find(&Message::CONFLICTING_GATEWAYS, field, port, reason);
            return Ok(());
        }
        chains.push(chain(FilterChainMatch::default(), self.tcp_proxy(cluster)?));
        Ok(())
    }

    fn is_for(&self, gateways: &[String], service: &RoutedHosts<'_>, name: &str) -> bool {
        let namespace = service.resource.metadata.namespace();
        let named = |written: &String| crate::mesh::names::gateway_name(written, namespace) == name;
        gateways.is_empty() || gateways.iter().any(named)
    }

    fn l4_cluster(
        &mut self,
        route: &[istio_api::virtual_service::RouteDestination],
        service: &RoutedHosts<'_>,
        path: &str,
        port: u16,
    ) -> Option<String> {
        let heaviest = route.iter().enumerate().max_by_key(|(index, destination)| {
            (destination.weight.map(istio_api::scalar::Count::get), std::cmp::Reverse(*index))
        });
        let (_, destination) = heaviest?;
        if route.len() > 1 {
            let path = format!("{path}.route");
            let reason = "connections are not shifted by weight yet: all go to the heaviest destination";
            self.report.notice(Field { name: service.resource, path: &path }, "", reason);
        }
        let namespace = service.resource.metadata.namespace();
        Some(Meant::by(&destination.destination, namespace, self.mesh, self.workload, port).cluster_name())
    }

    fn tcp_proxy(&self, cluster: String) -> serde_json::Result<NetworkFilter> {
        let plugins = connection_plugins(&self.authz)?;
        Ok(NetworkFilter::TcpProxy(TcpProxy { plugins, ..self.settings.tcp_proxy(self.mesh, cluster) }))
    }
}

/// TLS that asks for one of these names; `*` is any.
fn by_server_name(names: Vec<String>) -> FilterChainMatch {
    FilterChainMatch {
        server_names: names.into_iter().filter(|name| name != "*").collect(),
        transport_protocol: Some(TransportProtocol::Tls),
        ..FilterChainMatch::default()
    }
}

fn chain(filter_chain_match: FilterChainMatch, network_filter: NetworkFilter) -> FilterChain {
    FilterChain { filter_chain_match, transport_socket: None, network_filter }
}

fn gateway_name(resource: &Resource<Gateway>) -> String {
    format!("{}/{}", resource.metadata.namespace(), resource.metadata.name)
}

fn server_names(server: &Server) -> Vec<String> {
    server.hosts.iter().map(|host| host.host.as_str().to_ascii_lowercase()).collect()
}

/// The domains under which a server serves a VirtualService.
fn served(placed: &Placed<'_>, service: &RoutedHosts<'_>) -> Vec<String> {
    let namespace = service.resource.metadata.namespace();
    let hosts = service.hosts.iter();
    hosts.flat_map(|host| domains(placed.resource, placed.server, namespace, host)).collect()
}

/// The domains under which a server of a Gateway serves a host of a VirtualService of a namespace: of each pair of hosts
/// that meet, the narrower.
pub(crate) fn domains<'h>(
    gateway: &Resource<Gateway>,
    server: &Server,
    namespace: &str,
    host: &'h str,
) -> impl Iterator<Item = String> + use<'h> {
    let meets = |one: &istio_api::scalar::GatewayHost| {
        let sees = match &one.namespace {
            NamespaceScope::Any => true,
            NamespaceScope::Own => namespace == gateway.metadata.namespace(),
            NamespaceScope::Named(name) => namespace == name.as_str(),
        };
        let wide = one.host.as_str().to_ascii_lowercase();
        match sees {
            true if covers(&wide, host) => Some(host.to_owned()),
            true if covers(host, &wide) => Some(wide),
            _ => None,
        }
    };
    server.hosts.iter().filter_map(meets).collect::<Vec<_>>().into_iter()
}
