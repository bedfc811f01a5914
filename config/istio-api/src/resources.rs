//! Everything that was read, by kind.

use crate::document::{Body, Reader};
use crate::document_cache::{DocumentCache, Moved};
use crate::scalar::DnsLabel;
use crate::{
    AnyResource, AuthorizationPolicy, ConfigMap, Deployment, DestinationRule, EndpointSlice, Endpoints, Fault, Faults,
    File, Gateway, Kind, MeshConfig, Metadata, Namespace, PeerAuthentication, Place, Pod, ProxyConfig,
    RequestAuthentication, Resource, Secret, Service, ServiceAccount, ServiceEntry, Sidecar, Source, StatefulSet,
    Telemetry, TrafficExtension, VirtualService, WasmPlugin, WorkloadEntry, WorkloadGroup,
};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// How resources are read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace of resources that name none; `default`, as for kubectl.
    pub namespace: DnsLabel,
    /// A file that is a MeshConfig.
    pub mesh_config: Option<Arc<File>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { namespace: DnsLabel::new("default").unwrap_or_default(), mesh_config: None }
    }
}

/// Resources of a kind that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// `apps/v1`
    pub api_version: String,
    /// `Deployment`
    pub kind: String,
    /// Where they stand.
    pub places: Vec<Place>,
}

macro_rules! kinds {
    ($($(#[$attr:meta])* $field:ident: $kind:ty;)*) => {
        /// Everything that was read: of each kind its resources, in the order of files and documents.
        #[derive(Clone, Debug, Default)]
        pub struct Resources {
            $($(#[$attr])* pub $field: Vec<Resource<$kind>>,)*
            /// What holds for the whole mesh: of the ConfigMaps `istio` and `istio-<revision>`, and of a file of its own,
            /// which comes first.
            pub mesh_configs: Vec<Resource<MeshConfig>>,
            /// What is not used.
            pub skipped: Vec<Skipped>,
            /// What was taken, but is hardly what was meant.
            pub warnings: Vec<Fault>,
        }

        impl Resources {
            /// Takes over what a part of a file has, but its warnings.
            pub(crate) fn extend_from(&mut self, part: &Self, moved: &Moved<'_>) {
                $(
                    self.$field.extend(part.$field.iter().map(|resource| Resource {
                        metadata: resource.metadata.clone(),
                        spec: resource.spec.clone(),
                        source: resource.source.moved(moved),
                    }));
                )*
                for skipped in &part.skipped {
                    for place in &skipped.places {
                        self.skip(&skipped.api_version, &skipped.kind, place.moved(moved));
                    }
                }
            }

            /// How many resources of each kind there are, by their names.
            pub fn counts(&self) -> Vec<(&'static str, usize)> {
                vec![$((<$kind>::KIND, self.$field.len())),*]
            }

            /// Every resource, by kind in the order of the fields above; MeshConfigs are left out.
            pub fn all(&self) -> impl Iterator<Item = &dyn AnyResource> {
                std::iter::empty()$(.chain(self.$field.iter().map(|resource| resource as &dyn AnyResource)))*
            }
        }

        impl Reader<'_> {
            /// Reads a resource, whatever its kind.
            pub(crate) fn kind(&mut self, body: &Body<'_, '_>) {
                $(
                    if body.is(<$kind>::GROUP, <$kind>::KIND) {
                        let read = self.read::<$kind>(body);
                        return self.resources.$field.extend(read);
                    }
                )*
                self.other_kind(body);
            }
        }
    };
}

kinds! {
    /// VirtualServices.
    virtual_services: VirtualService;
    /// DestinationRules.
    destination_rules: DestinationRule;
    /// ServiceEntries.
    service_entries: ServiceEntry;
    /// WorkloadEntries.
    workload_entries: WorkloadEntry;
    /// WorkloadGroups.
    workload_groups: WorkloadGroup;
    /// Gateways.
    gateways: Gateway;
    /// Sidecars.
    sidecars: Sidecar;
    /// AuthorizationPolicies.
    authorization_policies: AuthorizationPolicy;
    /// PeerAuthentications.
    peer_authentications: PeerAuthentication;
    /// RequestAuthentications.
    request_authentications: RequestAuthentication;
    /// WasmPlugins.
    wasm_plugins: WasmPlugin;
    /// TrafficExtensions.
    traffic_extensions: TrafficExtension;
    /// Telemetries.
    telemetries: Telemetry;
    /// ProxyConfigs.
    proxy_configs: ProxyConfig;
    /// Kubernetes' Services.
    services: Service;
    /// Kubernetes' EndpointSlices.
    endpoint_slices: EndpointSlice;
    /// Kubernetes' Endpoints.
    endpoints: Endpoints;
    /// Kubernetes' Pods.
    pods: Pod;
    /// Kubernetes' Deployments.
    deployments: Deployment;
    /// Kubernetes' StatefulSets.
    stateful_sets: StatefulSet;
    /// Kubernetes' Namespaces.
    namespaces: Namespace;
    /// Kubernetes' ServiceAccounts.
    service_accounts: ServiceAccount;
    /// Kubernetes' Secrets.
    secrets: Secret;
    /// Kubernetes' ConfigMaps.
    config_maps: ConfigMap;
}

impl Resources {
    /// Counts a resource of a kind that is not used.
    pub(crate) fn skip(&mut self, api_version: &str, kind: &str, place: Place) {
        let known = self.skipped.iter_mut().find(|known| known.api_version == api_version && known.kind == kind);
        match known {
            Some(known) => known.places.push(place),
            None => {
                let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
                self.skipped.push(Skipped { api_version, kind, places: vec![place] });
            }
        }
    }
}

/// Kinds that Istio has and that are not used.
const UNUSED: [(&str, &str); 1] = [("networking.istio.io", "EnvoyFilter")];

impl Reader<'_> {
    /// Reads the MeshConfigs that ConfigMaps have.
    fn mesh_config_maps(&mut self) {
        let named = |name: &str| name == "istio" || name.starts_with("istio-");
        let maps = self.resources.config_maps.iter().filter(|map| named(map.metadata.name.as_str()));
        let meshes = maps.filter_map(|map| {
            let (_, text) = map.spec.data.iter().find(|(key, _)| *key == "mesh")?;
            Some((text.clone(), map.metadata.clone(), map.source.text("data.mesh")))
        });
        for (text, metadata, source) in meshes.collect::<Vec<_>>() {
            self.mesh_config(&text, metadata, source);
        }
    }

    fn other_kind(&mut self, body: &Body<'_, '_>) {
        let is_unused = UNUSED.iter().any(|(group, kind)| body.is(group, kind));
        let is_istio = ["networking", "security", "telemetry", "extensions"]
            .iter()
            .any(|start| body.group().strip_prefix(start) == Some(".istio.io"));
        if is_istio && !is_unused { self.refuse_kind(body) } else { self.skip(body) }
    }
}

/// Reads sources: files, folders (every `*.yaml`, `*.yml` and `*.json` in them and below, by name), or `-` for standard
/// input. A file may have many documents, and a document may be a `List`.
///
/// # Errors
/// Every fault of every file. One whose text is no YAML costs its own file alone.
pub fn read(sources: &[PathBuf], options: &Options) -> Result<Resources, Faults> {
    let (files, faults) = crate::files(sources);
    read_all(&files, faults, options, None)
}

/// Reads the texts of files.
///
/// # Errors
/// As [`read`].
pub fn read_files(files: &[Arc<File>], options: &Options) -> Result<Resources, Faults> {
    read_all(files, Vec::new(), options, None)
}

/// Reads files, with the help of what was read before.
pub(crate) fn read_all(
    files: &[Arc<File>],
    faults: Vec<Fault>,
    options: &Options,
    mut cache: Option<&mut DocumentCache>,
) -> Result<Resources, Faults> {
    let faults = Faults { faults, ..Faults::default() };
    let mut reader = Reader { options, resources: Resources::default(), faults, known: HashMap::new() };
    if let Some(file) = &options.mesh_config {
        reader.mesh_config(&file.text, Metadata::default(), Source::whole(file));
    }
    if let Some(cache) = &mut cache {
        cache.begin(options);
    }
    for file in files {
        if !cache.as_mut().is_some_and(|cache| cache.file(file, &mut reader)) {
            reader.file(file);
        }
    }
    reader.mesh_config_maps();
    let Reader { mut resources, mut faults, .. } = reader;
    if faults.faults.is_empty() {
        cache.iter_mut().for_each(|cache| cache.end());
        resources.warnings = faults.warnings;
        return Ok(resources);
    }
    faults.skipped = resources.skipped;
    Err(faults)
}
