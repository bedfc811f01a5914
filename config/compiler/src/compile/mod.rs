//! Resources, joined, and the workload that a proxy is for → its snapshot. One file for each kind of resource, and one
//! for each way that traffic goes.

pub(crate) mod authorization_policy;
pub(crate) mod claims;
mod destination_rule;
mod filters;
pub(crate) mod gateway;
mod inbound;
mod mutual_tls;
mod origin;
mod outbound;
pub(crate) mod request_authentication;
mod server_tls;
mod sidecar;
mod virtual_service;
mod wasm_plugin;

pub(crate) use filters::FilterConfigs;
pub use origin::{Origin, Origins};

use crate::finding::{Finding, Message};
use crate::mesh::{Mesh, Workload};
use crate::report::Report;
use crate::snapshot::{AccessLog, Destination, HttpConnectionManager, NetworkFilter, Plugin, Snapshot, TcpProxy};
use istio_api::Fault;
use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use wasm_plugin::UserPlugins;

/// How a proxy is set up beside what the resources say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the workload's own requests are taken; not at all without.
    pub outbound: Option<SocketAddr>,
    /// Where requests for the workload are taken; not at all without.
    pub inbound: Option<SocketAddr>,
    /// Where the application listens.
    pub app: IpAddr,
    /// Where the admin server listens.
    pub admin: Option<SocketAddr>,
    /// How many workers; as many as there are CPUs without.
    pub workers: Option<usize>,
    /// The folder of the workload's certificate: `cert-chain.pem`, `key.pem`, `root-cert.pem`. Without, nothing is
    /// secured between workloads, and what would have to be is refused.
    pub certificates: Option<PathBuf>,
    /// Where requests are logged; without, where MeshConfig says.
    pub access_log: Option<AccessLog>,
}

impl Settings {
    /// The folder that stands for any: see [`Settings::assumed`].
    pub(crate) const ASSUMED_CERTIFICATES: &str = "certificates";

    /// For whoever looks at what a proxy would do and runs none: it has a certificate, which nobody reads.
    pub fn assumed() -> Self {
        Self { certificates: Some(Self::ASSUMED_CERTIFICATES.into()), ..Self::default() }
    }

    /// A connection manager as the mesh has them.
    fn manager(&self, mesh: &Mesh<'_>, destination: Destination) -> HttpConnectionManager {
        HttpConnectionManager {
            path_normalization: mesh.settings.path_normalization(),
            access_log: self.access_log(mesh),
            ..HttpConnectionManager::to(destination)
        }
    }

    /// A proxy of bytes as the mesh has them.
    fn tcp_proxy(&self, mesh: &Mesh<'_>, cluster: String) -> TcpProxy {
        TcpProxy { access_log: self.access_log(mesh), ..TcpProxy::to(cluster) }
    }

    fn access_log(&self, mesh: &Mesh<'_>) -> Option<AccessLog> {
        self.access_log.clone().or_else(|| mesh.settings.access_log())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            outbound: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 15001)),
            inbound: Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 15006)),
            app: Ipv4Addr::LOCALHOST.into(),
            admin: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 15000)),
            workers: None,
            certificates: None,
            access_log: None,
        }
    }
}

/// What was made for one proxy.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What it runs.
    pub snapshot: Snapshot,
    /// What each route was made of.
    pub origins: Origins,
    /// What is written and not acted on, or hardly as it was meant.
    pub notices: Vec<Finding>,
}

/// Why nothing was made.
#[derive(Clone, Debug)]
pub struct CompileError {
    /// What is refused.
    pub faults: Vec<Finding>,
    /// What would have been said otherwise.
    pub notices: Vec<Finding>,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "\n" })?;
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

impl Mesh<'_> {
    /// What the sidecar of a workload runs.
    ///
    /// # Errors
    /// Everything that is written for it and cannot be done.
    pub fn sidecar(&self, workload: &Workload, settings: &Settings) -> Result<Compiled, CompileError> {
        self.compile(workload, settings, |user, origins, report| {
            let mut snapshot = Snapshot::default();
            if let Some(address) = settings.inbound {
                let inbound = inbound::compile(self, workload, settings, address, user, report)?;
                snapshot.listeners.extend(inbound.listeners);
                snapshot.clusters.extend(inbound.clusters);
            }
            if let Some(address) = settings.outbound {
                let outbound = outbound::compile(self, workload, settings, address, user, origins, report)?;
                snapshot.listeners.push(outbound.listener);
                snapshot.clusters.extend(outbound.clusters);
            }
            Ok(snapshot)
        })
    }

    /// Whether a workload is a gateway: some Gateway selects it by its labels.
    pub fn is_gateway(&self, workload: &Workload) -> bool {
        let selectors = self.resources.gateways.iter().map(|gateway| &gateway.spec.selector);
        selectors.filter(|selector| !selector.is_empty()).any(|selector| selector.select(&workload.labels))
    }

    /// What a gateway runs: the servers of every Gateway that selects it.
    ///
    /// # Errors
    /// Everything that is written for it and cannot be done.
    pub fn gateway(&self, workload: &Workload, settings: &Settings) -> Result<Compiled, CompileError> {
        self.compile(workload, settings, |user, origins, report| {
            let gateways = gateway::compile(self, workload, settings, user, origins, report)?;
            Ok(Snapshot { listeners: gateways.listeners, clusters: gateways.clusters, ..Snapshot::default() })
        })
    }

    fn compile(
        &self,
        workload: &Workload,
        settings: &Settings,
        make: impl FnOnce(&UserPlugins<'_>, &mut Origins, &mut Report) -> serde_json::Result<Snapshot>,
    ) -> Result<Compiled, CompileError> {
        let (mut report, mut origins) = (Report::default(), Origins::default());
        let user = wasm_plugin::compile(self, workload, &mut report);
        let made = make(&user, &mut origins, &mut report).map(|mut snapshot| {
            (snapshot.admin, snapshot.workers) = (settings.admin, settings.workers);
            snapshot.modules = filters::modules(plugins(&snapshot), &user.modules);
            // A service that is asked for keys may be called by the workload as well.
            let mut named = HashSet::new();
            snapshot.clusters.retain(|cluster| named.insert(cluster.name.clone()));
            snapshot
        });
        finish(made, origins, report)
    }
}

fn plugins(snapshot: &Snapshot) -> impl Iterator<Item = &Plugin> {
    let chains = snapshot.listeners.iter().flat_map(|listener| &listener.filter_chains);
    chains.flat_map(|chain| match &chain.network_filter {
        NetworkFilter::HttpConnectionManager(manager) => &manager.plugins,
        NetworkFilter::TcpProxy(proxy) => &proxy.plugins,
    })
}

fn finish(made: serde_json::Result<Snapshot>, origins: Origins, report: Report) -> Result<Compiled, CompileError> {
    let Report { mut faults, notices, .. } = report;
    match made {
        Ok(snapshot) if faults.is_empty() => Ok(Compiled { snapshot, origins, notices }),
        Ok(_) => Err(CompileError { faults, notices }),
        Err(error) => {
            let reason = format!("a plugin's configuration cannot be written as JSON: {error}");
            let whole = Fault { resource: None, path: String::new(), value: String::new(), reason, place: None };
            faults.push(Finding { message: &Message::REFUSED, fault: whole });
            Err(CompileError { faults, notices })
        }
    }
}
