//! A service, wherever it was described: Kubernetes, or a ServiceEntry.

use crate::snapshot::{Locality, UpstreamProtocol};
use istio_api::scalar::Labels;
use istio_api::{ExportTo, Protocol, ResourceName, Source};
use std::collections::HashMap;
use std::net::IpAddr;

/// A service that requests can be addressed to.
#[derive(Clone, Debug)]
pub struct Service {
    /// In full, in lower case; with a wildcard for ServiceEntries that have one.
    pub hostname: String,
    /// Where it belongs.
    pub namespace: String,
    /// In the order in which they are written.
    pub ports: Vec<ServicePort>,
    /// Its own addresses, beside those of its endpoints.
    pub addresses: Vec<IpAddr>,
    /// How its endpoints are found.
    pub discovery: ServiceDiscovery,
    /// What it is called by.
    pub endpoints: Vec<ServiceEndpoint>,
    /// Whether it is outside the mesh.
    pub external: bool,
    /// Whether Kubernetes knows it.
    pub kubernetes: bool,
    /// Which workloads are its endpoints; `None`: not by their labels.
    pub selector: Option<Labels>,
    /// Identities of its servers.
    pub subject_alt_names: Vec<String>,
    /// Who sees it.
    pub(crate) export_to: ExportTo,
    /// Who says so.
    pub resource: ResourceName,
    /// Where.
    pub source: Source,
    /// In its resource: `spec`, or the host of several.
    pub path: String,
}

/// How endpoints are found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServiceDiscovery {
    /// They are known.
    Static,
    /// By looking their names up.
    Dns,
    /// By looking their name up, of which one address is used at a time.
    LogicalDns,
    /// There are none: whoever calls knows the address.
    None,
}

/// A port of a service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServicePort {
    /// That requests are addressed to.
    pub number: u16,
    /// Unique in the service; may be empty where there is only one.
    pub name: String,
    /// What is spoken; `None`: that is not said.
    pub protocol: Option<Protocol>,
    /// That its endpoints listen on, where they do not say so themselves.
    pub target: u16,
    /// What its Pods call that port: it stands before the number.
    pub target_name: Option<String>,
}

/// An endpoint of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceEndpoint {
    /// An IP address, or a name to look up.
    pub address: String,
    /// Ports by the name of the service's port.
    pub ports: HashMap<String, u16>,
    /// Whether it listens on the targets of the ports that it does not name. A Pod does not.
    pub on_targets: bool,
    /// Whether it is a gateway: it has no sidecar that would take mutual TLS.
    pub is_gateway: bool,
    /// What subsets look at.
    pub labels: Labels,
    /// Where it is.
    pub locality: Locality,
    /// Its share.
    pub weight: u32,
    /// Namespace and name of the workload.
    pub workload: Option<(String, String)>,
    /// Whose identity it has, where that is known.
    pub service_account: Option<String>,
}

impl Service {
    /// A port by its number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// The port that requests go to which name none: the scheme's own, or the only one that speaks HTTP.
    pub(crate) fn default_port(&self) -> Option<u16> {
        let mut http = self.ports.iter().filter(|port| port.is_http()).map(|port| port.number);
        match (http.clone().find(|port| *port == 80), http.next(), http.next()) {
            (Some(port), _, _) | (None, Some(port), None) => Some(port),
            _ => None,
        }
    }
}

impl ServicePort {
    /// Whether requests can be told apart. What is not declared is taken for HTTP.
    pub(crate) fn is_http(&self) -> bool {
        self.protocol.is_none_or(Protocol::is_http)
    }

    /// Whether it is proxied at all.
    pub(crate) fn is_proxied(&self) -> bool {
        self.protocol != Some(Protocol::Udp)
    }

    /// What is spoken to who listens there, unless a rule says otherwise.
    pub(crate) fn upstream_protocol(&self) -> UpstreamProtocol {
        upstream_protocol(self.protocol)
    }
}

/// What is spoken to who listens on a port with a protocol: what is not declared is spoken as the client speaks.
pub(crate) fn upstream_protocol(protocol: Option<Protocol>) -> UpstreamProtocol {
    match protocol {
        Some(Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb) => UpstreamProtocol::Http2,
        None => UpstreamProtocol::Downstream,
        Some(_) => UpstreamProtocol::Http1,
    }
}

impl ServiceEndpoint {
    /// Where it listens for a port of its service, if it does.
    pub(crate) fn port(&self, port: &ServicePort) -> Option<u16> {
        self.ports.get(&port.name).copied().or(self.on_targets.then_some(port.target))
    }
}
