//! Everything that was read, joined: services with their endpoints, VirtualServices with their delegates, rules and
//! policies by what they are for. Made once for all proxies.

pub(crate) mod delegate;
pub(crate) mod destination_rules;
pub(crate) mod endpoints;
pub(crate) mod instances;
pub(crate) mod label_index;
pub(crate) mod names;
pub(crate) mod peer_authentications;
pub(crate) mod registry;
pub(crate) mod service;
pub(crate) mod settings;
pub(crate) mod virtual_services;
pub(crate) mod workload;

pub use service::{Service, ServiceDiscovery, ServiceEndpoint, ServicePort};
pub use workload::Workload;

use destination_rules::DestinationRules;
use instances::Instances;
use istio_api::kubernetes::Secret;
use istio_api::scalar::Labels;
use istio_api::{Gateway, LabelSelector, Metadata, PolicyTargetReference, Resource, Resources};
use peer_authentications::PeerAuthentications;
use registry::Registry;
use settings::MeshSettings;
use virtual_services::VirtualServices;

/// Everything that was read, joined.
#[derive(Debug)]
pub struct Mesh<'r> {
    pub(crate) resources: &'r Resources,
    pub(crate) settings: MeshSettings<'r>,
    pub(crate) instances: Instances,
    pub(crate) registry: Registry,
    pub(crate) virtual_services: VirtualServices<'r>,
    pub(crate) destination_rules: DestinationRules<'r>,
    pub(crate) peer_authentications: PeerAuthentications<'r>,
}

impl<'r> Mesh<'r> {
    /// Joins what was read.
    pub fn new(resources: &'r Resources) -> Self {
        let settings = MeshSettings::new(resources);
        let instances = Instances::new(resources);
        Self {
            registry: Registry::new(resources, &instances, &settings.domain),
            instances,
            virtual_services: VirtualServices::new(&resources.virtual_services, &settings),
            peer_authentications: PeerAuthentications::new(&resources.peer_authentications, &settings),
            destination_rules: DestinationRules::new(&resources.destination_rules, &settings),
            resources,
            settings,
        }
    }

    /// What SPIFFE identities begin with.
    pub fn trust_domain(&self) -> &str {
        &self.settings.trust_domain
    }

    /// Every workload that a WorkloadEntry describes, in the order of the files, and then every Pod that has an address
    /// and has not ended.
    pub fn workloads(&self) -> Vec<Workload> {
        let running = self.instances.all().iter().filter(|instance| !instance.is_pod || instance.is_running());
        running.map(|instance| instance.workload.clone()).collect()
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

    /// What Deployments and StatefulSets make their Pods from, by namespace and name. They have no address.
    pub fn pod_templates(&self) -> Vec<Workload> {
        self.instances.templates().cloned().collect()
    }

    /// The workload of a name: a WorkloadEntry, or else a Pod, or else what a Deployment or a StatefulSet makes its Pods
    /// from, which has no address.
    pub fn workload(&self, namespace: &str, name: &str) -> Option<Workload> {
        self.instances.workload(namespace, name).cloned()
    }

    /// Gateways that select whom they are for: `namespace/name`.
    pub fn selecting_gateways(&self) -> impl Iterator<Item = String> {
        let all = self.resources.gateways.iter().filter(|gateway| !gateway.spec.selector.is_empty());
        all.map(|gateway| format!("{}/{}", gateway.metadata.namespace(), gateway.metadata.name.as_str()))
    }

    /// The proxy that serves a Gateway: the first workload that it selects, or else one that has its selector's labels.
    pub fn gateway_workload(&self, namespace: &str, name: &str) -> Option<Workload> {
        let is_it = |gateway: &&Resource<Gateway>| {
            gateway.metadata.namespace() == namespace && gateway.metadata.name.as_str() == name
        };
        let selector = &self.resources.gateways.iter().find(is_it)?.spec.selector;
        let selected = self.instances.all().iter().find(|one| selector.select(&one.workload.labels));
        let described = || Workload {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: selector.clone(),
            service_account: "default".to_owned(),
            ..Workload::default()
        };
        (!selector.is_empty()).then(|| selected.map_or_else(described, |one| one.workload.clone()))
    }

    /// Whether a policy or a plugin is for a workload: one of its namespace or of the root namespace, whose selector
    /// takes it.
    pub(crate) fn is_for(&self, metadata: &Metadata, selector: Option<&LabelSelector>, workload: &Workload) -> bool {
        let namespace = metadata.namespace();
        (namespace == workload.namespace || namespace == self.settings.root_namespace)
            && selector.is_none_or(|selector| selector.match_labels.select(&workload.labels))
    }

    /// The same, of a policy that may be for references instead: those are waypoints, and gateways of Kubernetes' Gateway
    /// API.
    pub(crate) fn is_policy_for(
        &self,
        metadata: &Metadata,
        selector: Option<&LabelSelector>,
        references: (&Option<PolicyTargetReference>, &[PolicyTargetReference]),
        workload: &Workload,
    ) -> bool {
        self.is_for(metadata, selector, workload) && references.0.is_none() && references.1.is_empty()
    }

    /// Where what stands is for all namespaces (MeshConfig `rootNamespace`).
    pub fn root_namespace(&self) -> &str {
        &self.settings.root_namespace
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
