//! The endpoints of a service: the instances that its selector takes, and what Kubernetes itself lists.

use super::instances::{Instance, Instances};
use super::label_index::LabelIndex;
use super::service::{ServiceEndpoint, ServicePort};
use crate::snapshot::Locality;
use istio_api::kubernetes::{EndpointAddress, EndpointPort, SliceEndpoint, TargetRef};
use istio_api::scalar::Labels;
use istio_api::{EndpointSlice, Endpoints, Resource, Resources};
use std::collections::{HashMap, HashSet};

/// The label that names the service of an EndpointSlice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Where endpoints are found.
pub(crate) struct EndpointIndex<'r> {
    instances: &'r Instances,
    by_label: LabelIndex<'r>,
    /// By namespace and service.
    slices: HashMap<(&'r str, &'r str), Vec<&'r Resource<EndpointSlice>>>,
    endpoints: HashMap<(&'r str, &'r str), &'r Resource<Endpoints>>,
}

impl<'r> EndpointIndex<'r> {
    pub(crate) fn new(resources: &'r Resources, instances: &'r Instances) -> Self {
        let mut by_label = LabelIndex::default();
        for instance in instances.all() {
            by_label.add(&instance.workload.namespace, instance.workload.labels.iter());
        }
        let mut slices: HashMap<_, Vec<_>> = HashMap::new();
        for slice in &resources.endpoint_slices {
            if let Some(service) = slice.metadata.labels.get(SERVICE_NAME) {
                slices.entry((slice.metadata.namespace(), service.as_str())).or_default().push(slice);
            }
        }
        let endpoints = resources.endpoints.iter();
        let endpoints = endpoints.map(|one| ((one.metadata.namespace(), one.metadata.name.as_str()), one)).collect();
        Self { instances, by_label, slices, endpoints }
    }

    /// The instances of a namespace that a selector takes. `unready`: also those that take no requests.
    pub(crate) fn selected(
        &self,
        namespace: &str,
        selector: &Labels,
        ports: &[ServicePort],
        unready: bool,
    ) -> Vec<ServiceEndpoint> {
        self.taken(namespace, selector, unready).filter_map(|instance| of_instance(instance, ports)).collect()
    }

    fn taken(&self, namespace: &str, selector: &Labels, unready: bool) -> impl Iterator<Item = &'r Instance> {
        let places: Vec<usize> = self.by_label.selected(namespace, selector).collect();
        let taken = places.into_iter().filter_map(|place| self.instances.all().get(place));
        taken.filter(move |instance| unready || instance.ready)
    }

    /// The endpoints of a Service. What Kubernetes lists as EndpointSlices, or else as Endpoints, stands for the Pods that
    /// the selector takes: they are the same. WorkloadEntries are listed nowhere.
    pub(crate) fn of_service(
        &self,
        namespace: &str,
        name: &str,
        selector: &Labels,
        ports: &[ServicePort],
        unready: bool,
    ) -> Vec<ServiceEndpoint> {
        let listed = match (self.slices.get(&(namespace, name)), self.endpoints.get(&(namespace, name))) {
            (Some(slices), _) => self.of_slices(slices, unready),
            (None, Some(endpoints)) => self.of_endpoints(endpoints, unready),
            (None, None) => return self.selected(namespace, selector, ports, unready),
        };
        let entries = self.taken(namespace, selector, unready).filter(|instance| !instance.is_pod);
        entries.filter_map(|instance| of_instance(instance, ports)).chain(listed).collect()
    }

    /// Names are not looked up: Istio passes such slices by. A Pod that has an address of each family is one endpoint.
    fn of_slices(&self, slices: &[&Resource<EndpointSlice>], unready: bool) -> Vec<ServiceEndpoint> {
        let mut known = HashSet::new();
        let mut found = Vec::new();
        for slice in slices.iter().filter(|slice| slice.spec.address_type != "FQDN") {
            let ports = numbers(&slice.spec.ports);
            for endpoint in &slice.spec.endpoints {
                // Any address of an endpoint will do.
                let Some(address) = endpoint.addresses.first() else { continue };
                let target = target(endpoint.target_ref.as_ref(), slice.metadata.namespace());
                if (unready || is_ready(endpoint))
                    && known.insert(target.clone().unwrap_or_else(|| (String::new(), address.clone())))
                {
                    found.push(self.listed(address, target, endpoint.zone.as_deref(), ports.clone()));
                }
            }
        }
        found
    }

    fn of_endpoints(&self, endpoints: &Resource<Endpoints>, unready: bool) -> Vec<ServiceEndpoint> {
        let namespace = endpoints.metadata.namespace();
        let mut found = Vec::new();
        for subset in &endpoints.spec.subsets {
            let ports = numbers(&subset.ports);
            let unready = subset.not_ready_addresses.iter().filter(|_| unready);
            found.extend(subset.addresses.iter().chain(unready).map(|address: &EndpointAddress| {
                self.listed(&address.ip, target(address.target_ref.as_ref(), namespace), None, ports.clone())
            }));
        }
        found
    }

    /// An endpoint that Kubernetes lists, with the labels of its Pod.
    fn listed(
        &self,
        address: &str,
        target: Option<(String, String)>,
        zone: Option<&str>,
        ports: HashMap<String, u16>,
    ) -> ServiceEndpoint {
        let name = target.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        let instance = self.instances.pod(name, address);
        let pod = instance.map(|pod| &pod.workload);
        let zone = || Locality { zone: zone.unwrap_or_default().to_owned(), ..Locality::default() };
        ServiceEndpoint {
            address: address.to_owned(),
            ports,
            on_targets: false,
            is_gateway: instance.is_some_and(|pod| pod.is_gateway),
            labels: pod.map(|pod| pod.labels.clone()).unwrap_or_default(),
            locality: pod
                .map(|pod| pod.locality.clone())
                .filter(|known| *known != Locality::default())
                .unwrap_or_else(zone),
            weight: 1,
            service_account: pod.map(|pod| pod.service_account.clone()),
            workload: pod.map(|pod| (pod.namespace.clone(), pod.name.clone())).or(target),
        }
    }
}

/// Its ports, by the names that the service has for them.
fn numbers(ports: &[EndpointPort]) -> HashMap<String, u16> {
    let is_tcp = |port: &&EndpointPort| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    let numbered = |port: &EndpointPort| Some((port.name.as_deref().unwrap_or_default().to_owned(), port.port?.get()));
    ports.iter().filter(is_tcp).filter_map(numbered).collect()
}

fn is_ready(endpoint: &SliceEndpoint) -> bool {
    endpoint.conditions.ready.unwrap_or(true)
}

/// The Pod that an endpoint is.
fn target(written: Option<&TargetRef>, namespace: &str) -> Option<(String, String)> {
    let written = written.filter(|target| target.kind.as_deref() == Some("Pod"))?;
    Some((written.namespace.as_deref().unwrap_or(namespace).to_owned(), written.name.to_option()?))
}

fn of_instance(instance: &Instance, ports: &[ServicePort]) -> Option<ServiceEndpoint> {
    let workload = &instance.workload;
    let number = |port: &ServicePort| {
        let by_target = port.target_name.as_ref().and_then(|name| instance.ports.get(name));
        let number = by_target.or_else(|| instance.ports.get(&port.name)).copied();
        let number = if instance.is_pod { workload.target(port) } else { number };
        Some((port.name.clone(), number?))
    };
    Some(ServiceEndpoint {
        address: instance.address.clone()?,
        ports: ports.iter().filter_map(number).collect(),
        on_targets: !instance.is_pod,
        is_gateway: instance.is_gateway,
        labels: workload.labels.clone(),
        locality: workload.locality.clone(),
        weight: instance.weight,
        service_account: Some(workload.service_account.clone()),
        workload: Some((workload.namespace.clone(), workload.name.clone())),
    })
}
