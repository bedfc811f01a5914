//! Everything that was read, joined: services with their endpoints, VirtualServices with their delegates, rules and
//! policies by what they are for. Made once for all proxies.

pub(crate) mod delegate;
pub(crate) mod destination_rules;
pub(crate) mod label_index;
pub(crate) mod names;
pub(crate) mod registry;
pub(crate) mod service;
pub(crate) mod settings;
pub(crate) mod virtual_services;
pub(crate) mod workload;

pub use service::{Service, ServiceDiscovery, ServiceEndpoint, ServicePort};
pub use workload::Workload;

use destination_rules::DestinationRules;
use istio_api::kubernetes::Secret;
use istio_api::scalar::Labels;
use istio_api::{LabelSelector, Metadata, Resource, Resources, WorkloadEntry};
use registry::Registry;
use settings::MeshSettings;
use virtual_services::VirtualServices;

/// Everything that was read, joined.
#[derive(Debug)]
pub struct Mesh<'r> {
    pub(crate) resources: &'r Resources,
    pub(crate) settings: MeshSettings<'r>,
    pub(crate) registry: Registry,
    pub(crate) virtual_services: VirtualServices<'r>,
    pub(crate) destination_rules: DestinationRules<'r>,
}

impl<'r> Mesh<'r> {
    /// Joins what was read.
    pub fn new(resources: &'r Resources) -> Self {
        let settings = MeshSettings::new(resources);
        Self {
            registry: Registry::new(resources, &settings.domain),
            virtual_services: VirtualServices::new(&resources.virtual_services, &settings),
            destination_rules: DestinationRules::new(&resources.destination_rules, &settings),
            resources,
            settings,
        }
    }

    /// Every workload that a WorkloadEntry describes, in the order of the files.
    pub fn workloads(&self) -> Vec<Workload> {
        self.resources.workload_entries.iter().map(Workload::of_entry).collect()
    }

    /// Labels of a subset of a service, as a client has it; `None` for the service as a whole.
    pub(crate) fn subset_labels(&self, client: &Workload, service: &Service, name: &str) -> Option<Labels> {
        let rules = self.destination_rules.of(service, client, &self.settings.root_namespace);
        rules.subset(name).map(|subset| subset.value.labels.clone())
    }

    /// A Secret of a namespace.
    pub(crate) fn secret(&self, namespace: &str, name: &str) -> Option<&'r Resource<Secret>> {
        let is_it = |secret: &&Resource<Secret>| {
            secret.metadata.namespace() == namespace && secret.metadata.name.as_str() == name
        };
        self.resources.secrets.iter().find(is_it)
    }

    /// The workload that a WorkloadEntry of this name describes.
    pub fn workload(&self, namespace: &str, name: &str) -> Option<Workload> {
        let is_it = |entry: &&Resource<WorkloadEntry>| {
            entry.metadata.namespace() == namespace && entry.metadata.name.as_str() == name
        };
        self.resources.workload_entries.iter().find(is_it).map(Workload::of_entry)
    }

    /// Whether a policy or a plugin is for a workload: one of its namespace or of the root namespace, whose selector
    /// takes it.
    pub(crate) fn is_for(&self, metadata: &Metadata, selector: Option<&LabelSelector>, workload: &Workload) -> bool {
        let namespace = metadata.namespace();
        (namespace == workload.namespace || namespace == self.settings.root_namespace)
            && selector.is_none_or(|selector| selector.match_labels.select(&workload.labels))
    }

    /// Every service, those too that nobody sees.
    pub fn services(&self) -> &[Service] {
        self.registry.all()
    }
}

/// The oldest first, as conflicts are settled: by `creationTimestamp`, and where there is none by the order of the
/// files. Those with one stand before those without.
pub(crate) fn by_age<'r, K>(resources: impl IntoIterator<Item = &'r Resource<K>>) -> Vec<&'r Resource<K>> {
    let mut sorted: Vec<_> = resources.into_iter().collect();
    sorted.sort_by_key(|resource| {
        let time = resource.metadata.creation_timestamp;
        (time.is_none(), time)
    });
    sorted
}
