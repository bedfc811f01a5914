//! Instances of workloads, wherever they are described: WorkloadEntries with what their groups give them, Pods, and the
//! templates of Pods.

use super::label_index::LabelIndex;
use super::workload::{Workload, locality};
use crate::snapshot::Locality;
use istio_api::kubernetes::{Container, ContainerPort, PodSpec, PodTemplate};
use istio_api::scalar::{DnsLabel, Labels};
use istio_api::workload_group::WorkloadGroup;
use istio_api::{Gateway, Metadata, Pod, Resource, Resources, WorkloadEntry};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// The annotation by which a WorkloadEntry names its group.
const GROUP: &str = "istio.io/autoRegistrationGroup";
/// The label that says where a pod is: `region.zone.subzone`, for labels have no slash.
const LOCALITY: &str = "istio-locality";
/// Labels by which Kubernetes says where a pod is.
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";

/// An instance of a workload.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    /// Who it is.
    pub(crate) workload: Workload,
    /// An IP address, a name, or a socket's path; `None` before it has one.
    pub(crate) address: Option<String>,
    /// Ports by the name of a service's port.
    pub(crate) ports: HashMap<String, u16>,
    /// Its share.
    pub(crate) weight: u32,
    /// Whether it takes requests.
    pub(crate) ready: bool,
    /// Whether it has ended, and its address may be another's.
    pub(crate) ended: bool,
    /// Whether some Gateway selects it: it is a gateway, and has no sidecar.
    pub(crate) is_gateway: bool,
    /// Whether it is a Pod: then it listens on no port but those that Kubernetes knows.
    pub(crate) is_pod: bool,
}

impl Instance {
    /// Whether it is somewhere, and has not ended.
    pub(crate) fn is_running(&self) -> bool {
        self.address.is_some() && !self.ended
    }
}

/// Every instance.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    /// WorkloadEntries first, then Pods, each in the order of the files.
    all: Vec<Instance>,
    by_name: HashMap<(String, String), usize>,
    pods: HashMap<(String, String), usize>,
    pods_by_address: HashMap<IpAddr, usize>,
    /// What Pods are made from: nobody's address, but somebody's labels.
    templates: BTreeMap<(String, String), Workload>,
}

impl Instances {
    pub(crate) fn new(resources: &Resources) -> Self {
        let groups = resources.workload_groups.iter();
        let groups: HashMap<_, _> = groups.map(|group| (name(&group.metadata), &group.spec)).collect();
        let mut instances = Self::default();
        for entry in &resources.workload_entries {
            let group = entry.metadata.annotation(GROUP);
            let group = group.and_then(|group| groups.get(&(entry.metadata.namespace().to_owned(), group.to_owned())));
            instances.add(of_entry(entry, group.copied()));
        }
        for pod in &resources.pods {
            let place = instances.all.len();
            instances.pods.insert(name(&pod.metadata), place);
            if !pod.spec.spec.host_network && !pod.spec.has_ended() {
                instances.pods_by_address.extend(pod.spec.addresses().into_iter().map(|address| (address, place)));
            }
            instances.add(of_pod(pod));
        }
        instances.mark_gateways(&resources.gateways);
        let deployments = resources.deployments.iter().map(|one| (&one.metadata, &one.spec.template));
        let stateful_sets = resources.stateful_sets.iter().map(|one| (&one.metadata, &one.spec.template));
        for (metadata, template) in deployments.chain(stateful_sets) {
            instances.templates.entry(name(metadata)).or_insert_with(|| of_template(metadata, template));
        }
        instances
    }

    fn add(&mut self, instance: Instance) {
        let name = (instance.workload.namespace.clone(), instance.workload.name.clone());
        self.by_name.entry(name).or_insert(self.all.len());
        self.all.push(instance);
    }

    fn mark_gateways(&mut self, gateways: &[Resource<Gateway>]) {
        let mut index = LabelIndex::default();
        for instance in &self.all {
            index.add(&instance.workload.namespace, instance.workload.labels.iter());
        }
        let selectors = gateways.iter().map(|gateway| &gateway.spec.selector);
        let places: Vec<usize> = selectors.flat_map(|selector| index.selected("", selector)).collect();
        for place in places {
            if let Some(instance) = self.all.get_mut(place) {
                instance.is_gateway = true;
            }
        }
    }

    /// Every instance, also those that take no requests.
    pub(crate) fn all(&self) -> &[Instance] {
        &self.all
    }

    /// What Pods are made from, by namespace and name.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &Workload> {
        self.templates.values()
    }

    /// The workload of a name: a WorkloadEntry, or else a Pod, or else what Pods are made from.
    pub(crate) fn workload(&self, namespace: &str, name: &str) -> Option<&Workload> {
        let name = (namespace.to_owned(), name.to_owned());
        let instance = self.by_name.get(&name).and_then(|place| self.all.get(*place));
        instance.map(|instance| &instance.workload).or_else(|| self.templates.get(&name))
    }

    /// A Pod by its name, or else by its address.
    pub(crate) fn pod(&self, name: Option<(&str, &str)>, address: &str) -> Option<&Instance> {
        let named = name.and_then(|(namespace, name)| self.pods.get(&(namespace.to_owned(), name.to_owned())));
        let at = || self.pods_by_address.get(&address.parse().ok()?);
        named.or_else(at).and_then(|place| self.all.get(*place))
    }
}

fn name(metadata: &Metadata) -> (String, String) {
    (metadata.namespace().to_owned(), metadata.name.as_str().to_owned())
}

/// What the entry says stands over what its group says; in each, labels of the metadata over those of the spec.
fn of_entry(entry: &Resource<WorkloadEntry>, group: Option<&WorkloadGroup>) -> Instance {
    let (spec, template) = (&entry.spec, group.map(|group| &group.template));
    let group_labels = group.and_then(|group| group.metadata.as_ref()).map(|metadata| &metadata.labels);
    let layers =
        [template.map(|template| &template.labels), group_labels, Some(&spec.labels), Some(&entry.metadata.labels)];
    let labels: Labels =
        layers.into_iter().flatten().flat_map(|labels| labels.iter()).map(|(k, v)| (k.clone(), v.clone())).collect();
    let ports = template.iter().flat_map(|template| template.ports.0.iter()).chain(spec.ports.0.iter());
    let account = spec.service_account.as_ref().or(template.and_then(|template| template.service_account.as_ref()));
    let place = spec.locality.as_deref().or(template.and_then(|template| template.locality.as_deref()));
    let weight = spec.weight.or(template.and_then(|template| template.weight));
    Instance {
        workload: Workload {
            namespace: entry.metadata.namespace().to_owned(),
            name: entry.metadata.name.as_str().to_owned(),
            labels,
            service_account: account.map_or("default", DnsLabel::as_str).to_owned(),
            address: spec.address.as_deref().and_then(|address| address.parse().ok()),
            locality: locality(place),
            container_ports: None,
        },
        // One that has only a network is reached through that network's gateway.
        address: spec.address.to_option(),
        ports: ports.map(|(name, port)| (name.clone(), port.get())).collect(),
        weight: weight.filter(|weight| *weight > 0).unwrap_or(1),
        ready: true,
        ended: false,
        is_gateway: false,
        is_pod: false,
    }
}

fn of_pod(pod: &Resource<Pod>) -> Instance {
    let spec = &pod.spec;
    let address = spec.addresses().first().copied();
    let workload = of_spec(&pod.metadata, &pod.metadata.labels, &spec.spec);
    Instance {
        workload: Workload { address, ..workload },
        address: address.map(|address| address.to_string()),
        ports: HashMap::new(),
        weight: 1,
        ready: spec.is_ready(),
        ended: spec.has_ended(),
        is_gateway: false,
        is_pod: true,
    }
}

fn of_template(metadata: &Metadata, template: &PodTemplate) -> Workload {
    of_spec(metadata, &template.metadata.labels, &template.spec)
}

fn of_spec(metadata: &Metadata, labels: &Labels, spec: &PodSpec) -> Workload {
    Workload {
        namespace: metadata.namespace().to_owned(),
        name: metadata.name.as_str().to_owned(),
        labels: labels.clone(),
        service_account: spec.service_account_name.as_deref().unwrap_or("default").to_owned(),
        address: None,
        locality: labelled_locality(labels),
        container_ports: Some(container_ports(spec)),
    }
}

/// Ports that have a name, of containers and of those that start before and stay.
fn container_ports(spec: &PodSpec) -> BTreeMap<String, u16> {
    let containers = spec.containers.iter().chain(&spec.init_containers);
    let ports = containers.flat_map(|container: &Container| &container.ports);
    let named = |port: &ContainerPort| Some((port.name.to_option()?, port.container_port.get()));
    let mut found = BTreeMap::new();
    for (name, number) in ports.filter_map(named) {
        // The first of a name, as Kubernetes looks for it.
        found.entry(name).or_insert(number);
    }
    found
}

fn labelled_locality(labels: &Labels) -> Locality {
    match labels.get(LOCALITY) {
        Some(text) => locality(Some(&text.replace('.', "/"))),
        None => Locality {
            region: labels.get(REGION).cloned().unwrap_or_default(),
            zone: labels.get(ZONE).cloned().unwrap_or_default(),
            sub_zone: String::new(),
        },
    }
}
