//! Who a proxy is for.

use super::ServicePort;
use crate::snapshot::Locality;
use istio_api::scalar::Labels;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A workload: what a sidecar stands beside, or a gateway itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// Where it belongs.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// What selectors look at.
    pub labels: Labels,
    /// Whose identity it has; `default` where nothing is said.
    pub service_account: String,
    /// Where others reach it.
    pub address: Option<IpAddr>,
    /// Where it is.
    pub locality: Locality,
    /// Ports of its containers that have a name; `None` for what has no containers, or none that are known.
    pub container_ports: Option<BTreeMap<String, u16>>,
}

impl Workload {
    /// Where it listens for a port of a service that it is an endpoint of; `None`: it has no port of the name that the
    /// service asks for.
    pub(crate) fn target(&self, port: &ServicePort) -> Option<u16> {
        match (&port.target_name, &self.container_ports) {
            (Some(name), Some(ports)) => ports.get(name).copied(),
            _ => Some(port.target),
        }
    }
}

/// `region/zone/subzone`, of which the last may be left out.
pub(crate) fn locality(text: Option<&str>) -> Locality {
    let mut parts = text.unwrap_or_default().split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), sub_zone: next() }
}
