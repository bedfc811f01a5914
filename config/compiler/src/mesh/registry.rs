//! Every service of the mesh, by hostname.

use super::by_age;
use super::endpoints::EndpointIndex;
use super::instances::Instances;
use super::names::{is_exported, service_name};
use super::service::{Service, ServiceDiscovery, ServiceEndpoint, ServicePort};
use super::workload::locality;
use istio_api::kubernetes::{self, IntOrString, ServiceType};
use istio_api::scalar::{IpBlock, Labels, Port};
use istio_api::service_entry::{Location, Resolution, ServiceEntryPort};
use istio_api::{ExportTo, Protocol, Resource, Resources, ServiceEntry, WorkloadEntry};
use std::collections::HashMap;
use std::net::IpAddr;

/// Every service of the mesh.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Those of Kubernetes first, then those of ServiceEntries, each from the oldest on.
    services: Vec<Service>,
    by_hostname: HashMap<String, Vec<usize>>,
    wildcards: Vec<usize>,
    by_namespace: HashMap<String, Vec<usize>>,
}

impl Registry {
    pub(crate) fn new(resources: &Resources, instances: &Instances, domain: &str) -> Self {
        let index = EndpointIndex::new(resources, instances);
        let mut registry = Self::default();
        for resource in by_age(&resources.services) {
            registry.add(of_kubernetes(resource, &index, domain));
        }
        for resource in by_age(&resources.service_entries) {
            for place in 0..resource.spec.hosts.len() {
                registry.add(of_service_entry(resource, place, &index));
            }
        }
        registry
    }

    fn add(&mut self, service: Service) {
        self.by_namespace.entry(service.namespace.clone()).or_default().push(self.services.len());
        if service.hostname.starts_with('*') {
            self.wildcards.push(self.services.len());
        }
        self.by_hostname.entry(service.hostname.clone()).or_default().push(self.services.len());
        self.services.push(service);
    }

    /// The services that a namespace sees, one for each hostname: its own before others, Kubernetes' before those of
    /// ServiceEntries, the oldest first (Istio's unified rule).
    pub(crate) fn visible<'s>(&'s self, namespace: &'s str) -> impl Iterator<Item = &'s Service> {
        let places = self.services.iter().enumerate();
        places
            .filter(move |(place, service)| {
                let first = self.by_hostname.get(&service.hostname).and_then(|all| self.first(all, namespace));
                first == Some(*place)
            })
            .map(|(_, service)| service)
    }

    /// The service that a namespace means by a hostname.
    pub(crate) fn find(&self, hostname: &str, namespace: &str) -> Option<&Service> {
        let place = self.first(self.by_hostname.get(hostname)?, namespace)?;
        self.services.get(place)
    }

    fn first(&self, places: &[usize], namespace: &str) -> Option<usize> {
        let service = |place: &usize| self.services.get(*place);
        let mut seen = places.iter().filter(|place| {
            service(place).is_some_and(|service| is_exported(&service.export_to, &service.namespace, namespace))
        });
        let own = seen.clone().find(|place| service(place).is_some_and(|service| service.namespace == namespace));
        own.or_else(|| seen.next()).copied()
    }

    /// Every service of a hostname, whoever sees it.
    pub(crate) fn of_hostname(&self, hostname: &str) -> impl Iterator<Item = &Service> {
        let places = self.by_hostname.get(hostname).into_iter().flatten();
        places.filter_map(|place| self.services.get(*place))
    }

    /// Every service of a namespace: those alone have workloads of it as endpoints.
    pub(crate) fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &Service> {
        let places = self.by_namespace.get(namespace).into_iter().flatten();
        places.filter_map(|place| self.services.get(*place))
    }

    /// Every service whose hostname has a wildcard.
    pub(crate) fn wildcards(&self) -> impl Iterator<Item = &Service> {
        self.wildcards.iter().filter_map(|place| self.services.get(*place))
    }

    /// Every service, those too that nobody sees.
    pub(crate) fn all(&self) -> &[Service] {
        &self.services
    }
}

/// One that a ServiceEntry describes itself.
fn endpoint(entry: &WorkloadEntry) -> Option<ServiceEndpoint> {
    Some(ServiceEndpoint {
        // One that has only a network is reached through that network's gateway.
        address: entry.address.as_deref()?.to_owned(),
        ports: entry.ports.0.iter().map(|(name, port)| (name.clone(), port.get())).collect(),
        labels: entry.labels.clone(),
        locality: locality(entry.locality.as_deref()),
        on_targets: true,
        is_gateway: false,
        weight: entry.weight.filter(|weight| *weight > 0).unwrap_or(1),
        workload: None,
        service_account: entry.service_account.as_ref().map(|account| account.as_str().to_owned()),
    })
}

fn of_kubernetes(resource: &Resource<kubernetes::Service>, index: &EndpointIndex<'_>, domain: &str) -> Service {
    let (metadata, spec) = (&resource.metadata, &resource.spec);
    let namespace = metadata.namespace().to_owned();
    let external = spec.external_name.as_deref().filter(|_| spec.kind == ServiceType::ExternalName);
    let ports: Vec<_> = spec.ports.iter().map(of_kubernetes_port).collect();
    let endpoints = match external {
        Some(name) => vec![named(name)],
        None => {
            let (name, unready) = (metadata.name.as_str(), spec.publish_not_ready_addresses);
            index.of_service(&namespace, name, &spec.selector, &ports, unready)
        }
    };
    Service {
        hostname: service_name(metadata.name.as_str(), &namespace, domain),
        ports,
        addresses: spec.addresses(),
        discovery: if external.is_some() { ServiceDiscovery::Dns } else { ServiceDiscovery::Static },
        endpoints,
        external: external.is_some(),
        kubernetes: true,
        selector: Some(spec.selector.clone()).filter(|selector| !selector.is_empty()),
        subject_alt_names: Vec::new(),
        export_to: exported(metadata.annotation("networking.istio.io/exportTo")),
        resource: resource.resource_name(),
        source: resource.source.clone(),
        path: "spec".to_owned(),
        namespace,
    }
}

/// The annotation, as `exportTo` of others; what cannot be read exports to nobody.
fn exported(annotation: Option<&str>) -> ExportTo {
    let Some(text) = annotation else { return ExportTo::Unset };
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    let read = serde_json::to_vec(&names).ok().map(|json| plugin_config::from_slice(&json));
    read.and_then(Result::ok).unwrap_or(ExportTo::None)
}

fn of_kubernetes_port(port: &kubernetes::ServicePort) -> ServicePort {
    let (target, target_name) = match &port.target_port {
        Some(IntOrString::Number(target)) => (*target, None),
        Some(IntOrString::Name(name)) => (port.port, Some(name.clone())),
        None => (port.port, None),
    };
    ServicePort {
        number: port.port.get(),
        name: port.name.as_deref().unwrap_or_default().to_owned(),
        protocol: protocol(port),
        target: target.get(),
        target_name,
    }
}

/// Its `appProtocol`, or what its name begins with.
pub(crate) fn protocol(port: &kubernetes::ServicePort) -> Option<Protocol> {
    if port.protocol.as_deref().is_some_and(|transport| transport.eq_ignore_ascii_case("UDP")) {
        return Some(Protocol::Udp);
    }
    match port.app_protocol.as_deref() {
        Some("kubernetes.io/h2c") => Some(Protocol::Http2),
        Some(name) => Protocol::parse(name),
        None => Protocol::of_port_name(port.name.as_deref()?),
    }
}

fn of_service_entry(resource: &Resource<ServiceEntry>, place: usize, index: &EndpointIndex<'_>) -> Service {
    let (metadata, spec) = (&resource.metadata, &resource.spec);
    let namespace = metadata.namespace().to_owned();
    let hostname = spec.hosts.get(place).map(|host| host.as_str().to_ascii_lowercase()).unwrap_or_default();
    let discovery = match spec.resolution {
        Resolution::Static => ServiceDiscovery::Static,
        Resolution::Dns => ServiceDiscovery::Dns,
        Resolution::DnsRoundRobin => ServiceDiscovery::LogicalDns,
        Resolution::None | Resolution::DynamicDns => ServiceDiscovery::None,
    };
    let selector = spec.workload_selector.as_ref().map(|selector| selector.labels.clone());
    let by_name = matches!(discovery, ServiceDiscovery::Dns | ServiceDiscovery::LogicalDns);
    let ports: Vec<_> = spec.ports.iter().map(of_service_entry_port).collect();
    let endpoints = match &selector {
        Some(selector) => index.selected(&namespace, selector, &ports, false),
        None if spec.endpoints.is_empty() && by_name => vec![named(&hostname)],
        None => spec.endpoints.iter().filter_map(endpoint).collect(),
    };
    Service {
        ports,
        addresses: spec.addresses.iter().filter_map(single).collect(),
        discovery,
        endpoints,
        external: spec.location == Location::MeshExternal,
        kubernetes: false,
        selector,
        subject_alt_names: spec.subject_alt_names.clone(),
        export_to: spec.export_to.clone(),
        resource: resource.resource_name(),
        source: resource.source.clone(),
        path: format!("spec.hosts[{place}]"),
        hostname,
        namespace,
    }
}

fn of_service_entry_port(port: &ServiceEntryPort) -> ServicePort {
    ServicePort {
        number: port.number.get(),
        name: port.name.clone(),
        protocol: Protocol::parse(&port.protocol),
        target: port.target_port.map_or(port.number, |target: Port| target).get(),
        target_name: None,
    }
}

/// The address of a block that has no other.
fn single(block: &IpBlock) -> Option<IpAddr> {
    Some(block.net()).filter(|net| net.prefix_len() == net.max_prefix_len()).map(|net| net.addr())
}

/// An endpoint that is a name.
fn named(name: &str) -> ServiceEndpoint {
    ServiceEndpoint {
        address: name.to_owned(),
        ports: HashMap::new(),
        on_targets: true,
        is_gateway: false,
        labels: Labels::default(),
        locality: crate::snapshot::Locality::default(),
        weight: 1,
        workload: None,
        service_account: None,
    }
}
