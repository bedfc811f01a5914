//! Snapshots → Istio's resources that have its proxies run the same plugins: a WasmPlugin or a TrafficExtension for each
//! plugin of ours, and an EnvoyFilter where they choose clusters. What users have as WasmPlugin themselves is Istio's
//! already.

mod error;
mod manifest;

pub use error::WasmPluginError;
pub use manifest::{Manifest, Metadata};

use crate::envoy_filter::{self, Needs};
use crate::module_url::ModulePrefix;
use crate::{Image, peer_address};
use compiler::Workload;
use compiler::snapshot::{Cluster, Destination, Direction, Listener, Module, NetworkFilter, Plugin, Snapshot};
use manifest::{EnvoyFilter, Match, Place, Port, Selector, Spec, TrafficExtension, Wasm, WasmPlugin, WorkloadSelector};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The longest name of a resource (Kubernetes: a DNS subdomain).
const LONGEST_NAME: usize = 253;
/// The largest resource that etcd takes unless it is told otherwise, in bytes (`--max-request-bytes`).
const LARGEST: usize = 1_572_864;
/// The largest resource that `kubectl apply` takes without `--server-side`, in bytes: it keeps it in an annotation.
const LARGEST_ANNOTATION: usize = 262_144;
/// Labels that Kubernetes gives to single pods, or to the pods of one revision: a selector with them ends with it.
const PASSING_LABELS: [&str; 4] = [
    "apps.kubernetes.io/pod-index",
    "controller-revision-hash",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// Which of Istio's two kinds is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Api {
    /// WasmPlugin.
    #[default]
    WasmPlugin,
    /// TrafficExtension, its newer form.
    TrafficExtension,
}

/// How resources are written.
#[derive(Clone, Debug)]
pub struct WasmPluginsOptions<'o> {
    /// Which kind.
    pub api: Api,
    /// Istio's root namespace: selectors of what stands there meet workloads of all namespaces.
    pub root_namespace: &'o str,
    /// Where proxies fetch modules.
    pub prefix: &'o ModulePrefix,
    /// The modules that snapshots may name.
    pub images: &'o [Image<'o>],
}

/// A proxy, and what it runs.
#[derive(Clone, Copy, Debug)]
pub struct SidecarProxy<'s> {
    /// Whose it is; or the gateway itself.
    pub workload: &'s Workload,
    /// What it runs.
    pub snapshot: &'s Snapshot,
}

/// What is written.
#[derive(Clone, Debug)]
pub struct WasmPlugins {
    /// In order.
    pub resources: Vec<Manifest>,
    /// What is to be known about them.
    pub remarks: Vec<String>,
}

/// Writes the resources for proxies. Workloads of the same labels share theirs. `known`: every workload that a selector
/// could meet.
///
/// # Errors
/// Everything that Istio would run otherwise than the proxies do.
pub fn wasm_plugins(
    proxies: &[SidecarProxy<'_>],
    known: &[Workload],
    options: &WasmPluginsOptions<'_>,
) -> Result<WasmPlugins, Vec<WasmPluginError>> {
    let mut writer =
        Writer { options, written: Vec::new(), resources: Vec::new(), remarks: Vec::new(), faults: Vec::new() };
    proxies.iter().for_each(|proxy| writer.proxy(*proxy));
    writer.check_selectors(known);
    let Writer { resources, remarks, faults, .. } = writer;
    if faults.is_empty() { Ok(WasmPlugins { resources, remarks }) } else { Err(faults) }
}

/// Which way traffic goes, as Istio names it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Side {
    Inbound,
    Outbound,
    Gateway,
}

impl Side {
    fn of(listener: &Listener) -> Self {
        match listener.direction {
            Direction::Inbound => Self::Inbound,
            Direction::Outbound => Self::Outbound,
            Direction::Unspecified => Self::Gateway,
        }
    }

    /// In resource names.
    fn word(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::Gateway => "gateway",
        }
    }

    fn mode(self) -> &'static str {
        match self {
            Self::Inbound => "SERVER",
            Self::Outbound | Self::Gateway => "CLIENT",
        }
    }

    fn context(self) -> &'static str {
        match self {
            Self::Inbound => "SIDECAR_INBOUND",
            Self::Outbound => "SIDECAR_OUTBOUND",
            Self::Gateway => "GATEWAY",
        }
    }
}

/// The plugins of ours that some ports of a side have; `ports` is empty for all.
#[derive(Clone, Debug, PartialEq)]
struct Chain<'s> {
    side: Side,
    ports: BTreeSet<u16>,
    plugins: Vec<&'s Plugin>,
}

/// A workload's part of what is written: its labels, and what they stand for.
struct Selected<'s> {
    workload: &'s Workload,
    labels: BTreeMap<String, String>,
    chains: Vec<Chain<'s>>,
}

struct Writer<'s, 'o> {
    options: &'o WasmPluginsOptions<'o>,
    written: Vec<Selected<'s>>,
    resources: Vec<Manifest>,
    remarks: Vec<String>,
    faults: Vec<WasmPluginError>,
}

impl<'s> Writer<'s, '_> {
    fn proxy(&mut self, proxy: SidecarProxy<'s>) {
        let SidecarProxy { workload, snapshot } = proxy;
        let labels = lasting(workload);
        if labels.is_empty() {
            return self.faults.push(WasmPluginError::NoLabels { workload: name_of(workload) });
        }
        let chains = self.chains(workload, snapshot);
        let same = |one: &&Selected<'_>| one.workload.namespace == workload.namespace && one.labels == labels;
        let known = self.written.iter().find(same).map(|one| one.chains == chains);
        if known.is_none() {
            self.resources(workload, snapshot, &labels, &chains);
        }
        // One of the same labels that runs the same needs nothing more; of another the selectors' check tells.
        if known != Some(true) {
            self.written.push(Selected { workload, labels, chains });
        }
    }

    /// A selector must meet no workload whose proxy has other plugins, and none that nobody compiled.
    fn check_selectors(&mut self, known: &[Workload]) {
        for one in &self.written {
            let selects = |other: &Workload| {
                let namespace = &one.workload.namespace;
                (other.namespace == *namespace || self.options.root_namespace == namespace)
                    && (&other.namespace, &other.name) != (namespace, &one.workload.name)
                    && one.labels.iter().all(|(key, value)| other.labels.get(key) == Some(value))
            };
            let runs_the_same = |other: &Workload| {
                let mut alike = self.written.iter().filter(|known| known.labels == one.labels);
                other.namespace == one.workload.namespace
                    && lasting(other) == one.labels
                    && alike.all(|known| known.workload.namespace != other.namespace || known.chains == one.chains)
            };
            let met = known.iter().filter(|other| selects(other) && !runs_the_same(other));
            let fault = |other: &Workload| WasmPluginError::SelectsAnother {
                workload: name_of(one.workload),
                labels: one.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
                other: name_of(other),
            };
            self.faults.extend(met.map(fault));
        }
    }

    /// What each side's ports run. Where all ports of a sidecar's side agree, none is named: one that is added later is
    /// then not left out.
    fn chains(&mut self, workload: &Workload, snapshot: &'s Snapshot) -> Vec<Chain<'s>> {
        let mut chains: Vec<Chain<'s>> = Vec::new();
        let mut by_port: BTreeMap<(Side, u16), Vec<&'s Plugin>> = BTreeMap::new();
        for listener in &snapshot.listeners {
            let side = Side::of(listener);
            for chain in &listener.filter_chains {
                let port = chain.filter_chain_match.destination_port.unwrap_or(listener.address.port());
                let manager = match &chain.network_filter {
                    NetworkFilter::HttpConnectionManager(manager) => manager,
                    NetworkFilter::TcpProxy(proxy) => {
                        if proxy.plugins.iter().any(|plugin| is_ours(snapshot, plugin)) {
                            self.remark(format!(
                                "{} port {port}: AuthorizationPolicies for connections without HTTP are Istio's to \
                                 enforce: leave them in the Kubernetes cluster",
                                name_of(workload)
                            ));
                        }
                        continue;
                    }
                };
                let plugins: Vec<_> = manager.plugins.iter().filter(|plugin| is_ours(snapshot, plugin)).collect();
                self.remark_order(snapshot, &manager.plugins);
                if plugins.iter().any(|plugin| plugin.module == "jwt-authn") {
                    self.remark(format!(
                        "{}: leave RequestAuthentications, and AuthorizationPolicies about tokens, out of the Kubernetes \
                         cluster: the plugins take tokens out before Istio looks for them",
                        name_of(workload)
                    ));
                }
                match by_port.get(&(side, port)) {
                    Some(known) if *known != plugins => {
                        let (workload, api) = (name_of(workload), self.options.api);
                        self.faults.push(WasmPluginError::Indistinguishable { workload, port, api });
                    }
                    Some(_) => {}
                    None => {
                        by_port.insert((side, port), plugins.clone());
                        match chains.iter_mut().find(|known| known.side == side && known.plugins == plugins) {
                            Some(known) => drop(known.ports.insert(port)),
                            None => chains.push(Chain { side, ports: BTreeSet::from([port]), plugins }),
                        }
                    }
                }
            }
        }
        for side in [Side::Inbound, Side::Outbound] {
            let mut of_side = chains.iter_mut().filter(|chain| chain.side == side);
            if let (Some(only), None) = (of_side.next(), of_side.next()) {
                only.ports.clear();
            }
        }
        chains
    }

    /// Users' plugins stand before ours within a phase, but for the one that asks authorizers. Istio has them there by
    /// their priority alone.
    fn remark_order(&mut self, snapshot: &Snapshot, plugins: &[Plugin]) {
        for (place, plugin) in plugins.iter().enumerate().filter(|(_, plugin)| !is_ours(snapshot, plugin)) {
            let ours = |other: &Plugin| other.phase == plugin.phase && is_ours(snapshot, other);
            if plugins.iter().skip(place).any(ours) {
                self.remark(format!("{}: Istio has it behind ours unless its priority is 0 or more", plugin.name));
            }
            if plugins.iter().take(place).any(ours) {
                self.remark(format!("{}: Istio has it before ours unless its priority is less than 0", plugin.name));
            }
        }
    }

    fn remark(&mut self, remark: String) {
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    fn resources(
        &mut self,
        workload: &Workload,
        snapshot: &Snapshot,
        labels: &BTreeMap<String, String>,
        chains: &[Chain<'_>],
    ) {
        for chain in chains {
            for (plugin, priority) in chain.plugins.iter().zip((i32::MIN..0).rev()) {
                self.plugin(workload, labels, chain, plugin, priority);
            }
        }
        let config_patches: Vec<Value> = needs(snapshot)
            .into_iter()
            .flat_map(|(side, needs)| envoy_filter::patches(side.context(), &needs))
            .chain(snapshot.clusters.iter().filter(|cluster| !is_istios(cluster)).flat_map(envoy_filter::clusters))
            .collect();
        if !config_patches.is_empty() {
            let workload_selector = WorkloadSelector { labels: labels.clone() };
            let spec = Spec::EnvoyFilter(EnvoyFilter { workload_selector, config_patches });
            let kind = ("networking.istio.io/v1alpha3", "EnvoyFilter");
            self.manifest(workload, kind, format!("outrigger-{}", workload.name), spec);
        }
    }

    fn plugin(
        &mut self,
        workload: &Workload,
        labels: &BTreeMap<String, String>,
        chain: &Chain<'_>,
        plugin: &Plugin,
        priority: i32,
    ) {
        let Some(image) = self.options.images.iter().find(|image| image.name() == plugin.module) else {
            let (workload, module) = (name_of(workload), plugin.module.clone());
            return self.faults.push(WasmPluginError::UnknownModule { workload, module });
        };
        let module = self.options.prefix.module(image);
        let wasm = Wasm {
            url: module.url,
            sha256: module.sha256,
            fail_strategy: plugin.fail_strategy,
            plugin_name: format!("outrigger.{}", plugin.name),
            plugin_config: peer_address::configuration(plugin),
        };
        let ports = chain.ports.iter().map(|number| Port { number: *number }).collect();
        let place = Place { phase: plugin.phase, priority, matches: [Match { mode: chain.side.mode(), ports }] };
        let selector = Selector { match_labels: labels.clone() };
        let (kind, spec) = match self.options.api {
            Api::WasmPlugin => ("WasmPlugin", Spec::WasmPlugin(WasmPlugin { selector, place, wasm })),
            Api::TrafficExtension => {
                ("TrafficExtension", Spec::TrafficExtension(TrafficExtension { selector, place, wasm }))
            }
        };
        let ports: String = chain.ports.iter().map(|port| format!("-{port}")).collect();
        let name = format!("outrigger-{}-{}{ports}-{}", workload.name, chain.side.word(), plugin.name);
        self.manifest(workload, ("extensions.istio.io/v1alpha1", kind), name, spec);
    }

    fn manifest(&mut self, workload: &Workload, kind: (&'static str, &'static str), name: String, spec: Spec) {
        let whose = name_of(workload);
        if name.len() > LONGEST_NAME {
            return self.faults.push(WasmPluginError::LongName { workload: whose, name });
        }
        let (api_version, kind) = kind;
        let labels = BTreeMap::from([("app.kubernetes.io/managed-by", "outrigger")]);
        let metadata = Metadata { name: name.clone(), namespace: workload.namespace.clone(), labels };
        let manifest = Manifest { api_version, kind, metadata, spec };
        match serde_json::to_vec(&manifest).map(|json| json.len()) {
            Err(error) => {
                let reason = error.to_string();
                return self.faults.push(WasmPluginError::Unwritable { workload: whose, name, reason });
            }
            Ok(bytes) if bytes > LARGEST => {
                return self.faults.push(WasmPluginError::Large { workload: whose, name, bytes });
            }
            Ok(bytes) if bytes > LARGEST_ANNOTATION => {
                let of = &workload.namespace;
                self.remarks.push(format!("{kind} {of}/{name} has {bytes} bytes: kubectl apply takes --server-side"));
            }
            Ok(_) => {}
        }
        self.resources.push(manifest);
    }
}

/// `namespace/name`
fn name_of(workload: &Workload) -> String {
    format!("{}/{}", workload.namespace, workload.name)
}

fn lasting(workload: &Workload) -> BTreeMap<String, String> {
    let labels = workload.labels.iter().filter(|(key, _)| !PASSING_LABELS.contains(&key.as_str()));
    labels.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn is_ours(snapshot: &Snapshot, plugin: &Plugin) -> bool {
    matches!(snapshot.modules.get(&plugin.module), Some(Module::Embedded(_)))
}

/// Whether Istio makes a cluster of this name as well: those of services and of applications, and the one for all others.
fn is_istios(cluster: &Cluster) -> bool {
    ["outbound|", "inbound|", "PassthroughCluster"].iter().any(|name| cluster.name.starts_with(name))
}

/// What each side needs of an EnvoyFilter.
fn needs(snapshot: &Snapshot) -> BTreeMap<Side, Needs<'_>> {
    let mut needs: BTreeMap<Side, Needs<'_>> = BTreeMap::new();
    for listener in &snapshot.listeners {
        let of_side = needs.entry(Side::of(listener)).or_default();
        for chain in &listener.filter_chains {
            let NetworkFilter::HttpConnectionManager(manager) = &chain.network_filter else { continue };
            if let Destination::ClusterHeader { name, .. } = &manager.destination {
                of_side.cluster_header = Some(name);
            }
            for header in crate::claim_headers(&manager.plugins) {
                if !of_side.claim_headers.contains(&header) {
                    of_side.claim_headers.push(header);
                }
            }
            of_side.peer_address |= manager.plugins.iter().any(peer_address::is_asked);
        }
    }
    needs
}
