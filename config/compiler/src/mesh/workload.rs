//! Who a proxy is for.

use crate::snapshot::Locality;
use istio_api::scalar::{DnsLabel, Labels};
use istio_api::{Resource, WorkloadEntry};
use std::net::IpAddr;

/// A workload: what a sidecar stands beside, or a gateway itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
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
}

impl Workload {
    /// The workload that a WorkloadEntry describes. Labels of its metadata stand over those of its spec.
    pub fn of_entry(entry: &Resource<WorkloadEntry>) -> Self {
        let spec = &entry.spec;
        Self {
            namespace: entry.metadata.namespace().to_owned(),
            name: entry.metadata.name.as_str().to_owned(),
            labels: labels_of_entry(entry),
            service_account: spec.service_account.as_ref().map_or("default", DnsLabel::as_str).to_owned(),
            address: spec.address.as_deref().and_then(|address| address.parse().ok()),
            locality: locality(spec.locality.as_deref()),
        }
    }
}

/// Labels of its metadata stand over those of its spec.
pub(crate) fn labels_of_entry(entry: &Resource<WorkloadEntry>) -> Labels {
    let all = entry.spec.labels.iter().chain(entry.metadata.labels.iter());
    all.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// `region/zone/subzone`, of which the last may be left out.
pub(crate) fn locality(text: Option<&str>) -> Locality {
    let mut parts = text.unwrap_or_default().split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), sub_zone: next() }
}
