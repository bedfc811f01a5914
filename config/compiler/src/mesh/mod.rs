//! Everything that was read, joined: services with their endpoints, VirtualServices with their delegates, rules and
//! policies by what they are for. Made once for all proxies.

pub(crate) mod delegate;
pub(crate) mod destination_rules;
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
use istio_api::{Resource, Resources};
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
        let subset = rules.subsets().into_iter().find(|subset| subset.value.name.as_str() == name);
        subset.map(|subset| subset.value.labels.clone())
    }

    /// A Secret of a namespace.
    pub(crate) fn secret(&self, namespace: &str, name: &str) -> Option<&'r Resource<Secret>> {
        let is_it = |secret: &&Resource<Secret>| {
            secret.metadata.namespace() == namespace && secret.metadata.name.as_str() == name
        };
        self.resources.secrets.iter().find(is_it)
    }

    /// Every service, those too that nobody sees.
    pub fn services(&self) -> &[Service] {
        self.registry.all()
    }
}

/// The oldest first, as conflicts are settled: by `creationTimestamp`, and where there is none by the order of the
/// files. Those with one stand before those without.
pub(crate) fn by_age<K>(resources: &[Resource<K>]) -> Vec<&Resource<K>> {
    let mut sorted: Vec<_> = resources.iter().collect();
    sorted.sort_by_key(|resource| {
        let time = resource.metadata.creation_timestamp;
        (time.is_none(), time)
    });
    sorted
}
