//! WorkloadEntry: one endpoint, of a machine that Kubernetes does not know.

use crate::Metadata;
use crate::resource::Kind;
use crate::scalar::{DnsLabel, Labels, Optional, Port};
use plugin_config::{At, ListMap};

plugin_config::object! {
    /// One endpoint.
    #[derive(Clone, Debug, PartialEq)]
    pub struct WorkloadEntry {
        /// An IP address, a hostname (with DNS resolution), or `unix:///path`.
        pub address: Optional<String> = "address",
        /// The endpoint's port for each port of the service by name; the service's target port when absent.
        pub ports: ListMap<Port> = "ports",
        /// What selectors look at; those of the metadata come first.
        pub labels: Labels = "labels",
        /// The network it is in.
        pub network: Optional<String> = "network",
        /// `region/zone/subzone`.
        pub locality: Optional<String> = "locality",
        /// Its share, beside those of other endpoints; 1 when absent.
        pub weight: Option<u32> = "weight",
        /// The service account it runs as.
        pub service_account: Optional<DnsLabel> = "serviceAccount",
    }
}

impl Kind for WorkloadEntry {
    const KIND: &'static str = "WorkloadEntry";
    const GROUP: &'static str = "networking.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1", "v1alpha3"];

    fn validate(&self, _: &Metadata, _at: &mut At) {}
}
