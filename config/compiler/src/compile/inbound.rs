//! What a sidecar does with the requests for its workload.

use super::Settings;
use super::authorization_policy;
use super::filters::FilterConfigs;
use super::wasm_plugin::{Mode, UserPlugins};
use crate::mesh::{Mesh, Service, ServicePort, Workload};
use crate::report::{Field, Report};
use crate::snapshot::{
    Cluster, Destination, Direction, Endpoint, FilterChain, FilterChainMatch, HttpConnectionManager, Listener,
    Locality, NetworkFilter, Plugin,
};
use std::net::{IpAddr, SocketAddr};

/// The inbound listeners, and the clusters of the application.
#[derive(Default)]
pub(crate) struct Inbound {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) clusters: Vec<Cluster>,
}

/// A port of the application.
struct AppPort<'m> {
    number: u16,
    port: &'m ServicePort,
    service: &'m Service,
}

/// Makes the inbound listener of a workload at an address; the application listens on `app`.
pub(crate) fn compile(
    mesh: &Mesh<'_>,
    workload: &Workload,
    settings: &Settings,
    address: SocketAddr,
    user: &UserPlugins<'_>,
    report: &mut Report,
) -> serde_json::Result<Inbound> {
    let ports = app_ports(mesh, workload);
    let authz = authorization_policy::compile(mesh, workload, report);
    let mut inbound = Inbound::default();
    let mut filter_chains = Vec::new();
    for port in &ports {
        let cluster = format!("inbound|{}||", port.number);
        inbound.clusters.push(app_cluster(&cluster, settings.app, port));
        let chain = |destination_port| {
            let plugins = user.of(Mode::Server, Some(port.number));
            let filter = network_filter(mesh, &authz, port, cluster.clone(), settings, plugins)?;
            let filter_chain_match = FilterChainMatch { destination_port, ..FilterChainMatch::default() };
            serde_json::Result::Ok(FilterChain { filter_chain_match, transport_socket: None, network_filter: filter })
        };
        if !port.port.is_http() && !authz.policies.is_empty() {
            let reason = "policies apply to the workload, and connections without HTTP are not judged yet: \
                          they would pass unjudged";
            report.refuse(
                Field { name: port.service, path: &port.service.path },
                format!("port {}", port.number),
                reason,
            );
        }
        filter_chains.push(chain(Some(port.number))?);
        // Who is not redirected has called the proxy itself: with one port there is no doubt which is meant.
        if ports.len() == 1 {
            filter_chains.push(chain(None)?);
        }
    }
    if !filter_chains.is_empty() {
        inbound.listeners.push(Listener {
            name: "inbound".to_owned(),
            address,
            direction: Direction::Inbound,
            use_original_dst: true,
            filter_chains,
        });
    }
    Ok(inbound)
}

/// The ports on which a workload is called: those of every service that it is an endpoint of.
fn app_ports<'m>(mesh: &'m Mesh<'_>, workload: &Workload) -> Vec<AppPort<'m>> {
    let mut ports: Vec<AppPort<'m>> = Vec::new();
    for service in mesh.registry.all() {
        let own = (workload.namespace.as_str(), workload.name.as_str());
        let is_own = |named: &Option<(String, String)>| {
            named.as_ref().is_some_and(|(namespace, name)| (namespace.as_str(), name.as_str()) == own)
        };
        let endpoint = service.endpoints.iter().find(|endpoint| is_own(&endpoint.workload));
        let selected = service.selector.as_ref().is_some_and(|selector| selector.select(&workload.labels));
        if endpoint.is_none() && !(selected && service.namespace == workload.namespace) {
            continue;
        }
        for port in service.ports.iter().filter(|port| port.is_proxied()) {
            let number = endpoint.map_or(port.target, |endpoint| endpoint.port(port));
            if !ports.iter().any(|known| known.number == number) {
                ports.push(AppPort { number, port, service });
            }
        }
    }
    ports
}

fn app_cluster(name: &str, app: IpAddr, port: &AppPort<'_>) -> Cluster {
    let address = SocketAddr::new(app, port.number);
    Cluster {
        endpoints: vec![Endpoint { address, weight: 1, priority: 0, locality: Locality::default() }],
        protocol: port.port.upstream_protocol(),
        ..Cluster::named(name)
    }
}

fn network_filter(
    mesh: &Mesh<'_>,
    authz: &authz::Config,
    port: &AppPort<'_>,
    cluster: String,
    settings: &Settings,
    plugins: Vec<Plugin>,
) -> serde_json::Result<NetworkFilter> {
    if !port.port.is_http() {
        return Ok(NetworkFilter::TcpProxy(settings.tcp_proxy(mesh, cluster)));
    }
    let configs = FilterConfigs { authz: authz.clone(), ..FilterConfigs::default() };
    Ok(NetworkFilter::HttpConnectionManager(Box::new(HttpConnectionManager {
        plugins: configs.plugins(plugins)?,
        ..settings.manager(mesh, Destination::Cluster(cluster))
    })))
}
