//! WorkloadEntry: one endpoint, of a machine that Kubernetes does not know.

use crate::Metadata;
use crate::resource::Kind;
use crate::scalar::{DnsLabel, Labels, Optional, Port, is_domain};
use plugin_config::{At, ListMap, Quoted};
use std::net::IpAddr;

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

    fn validate(&self, _: &Metadata, at: &mut At) {
        self.check(at);
    }
}

/// Where an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// By its address.
    Ip(IpAddr),
    /// By its name.
    Name(&'a str),
    /// A socket of the machine: `/path`, or `@name` in the abstract namespace.
    Unix(&'a str),
}

impl<'a> Address<'a> {
    /// Of a text; `None` when it is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix://") {
            return (path.len() > 1 && path.starts_with(['/', '@'])).then_some(Self::Unix(path));
        }
        match text.parse() {
            Ok(address) => Some(Self::Ip(address)),
            Err(_) => (is_domain(text) && !text.starts_with('*')).then_some(Self::Name(text)),
        }
    }
}

impl WorkloadEntry {
    /// Where it is; `None` when only its network is known.
    pub fn address(&self) -> Option<Address<'_>> {
        self.address.as_deref().and_then(Address::parse)
    }

    /// Checks an endpoint; where it is, when it can be known.
    pub(crate) fn check(&self, at: &mut At) -> Option<Address<'_>> {
        if self.address.is_none() && self.network.is_none() {
            at.field("address", |at| {
                at.refuse("nothing", "expected an address, or a network whose gateway leads there")
            });
        }
        self.check_template(at);
        self.address()
    }

    /// Checks what may be said of an endpoint before its address is known.
    pub(crate) fn check_template(&self, at: &mut At) {
        if let Some(address) = self.address.as_deref().filter(|address| Address::parse(address).is_none()) {
            let reason = "expected an IP address, a hostname, unix:///path or unix://@name";
            at.field("address", |at| at.refuse(Quoted(address), reason));
        }
        if let Some(locality) = self.locality.as_deref() {
            let parts: Vec<&str> = locality.split('/').collect();
            if parts.len() > 3 || parts.iter().any(|part| part.is_empty() || part.contains('*')) {
                at.field("locality", |at| at.refuse(Quoted(locality), "expected region/zone/subzone"));
            }
        }
    }
}
