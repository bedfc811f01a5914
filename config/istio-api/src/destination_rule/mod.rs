//! DestinationRule: how a service is called: subsets, balancing, pools, TLS.

mod load_balancer;
mod traffic_policy;
mod validate;
mod validate_load_balancer;

pub use load_balancer::{
    ConsistentHash, CookieAttribute, Distribute, Failover, HttpCookie, LoadBalancer, LocalityLbSetting, Maglev,
    RingHash, SimpleLb, Warmup, ZoneAwareLbSetting,
};
pub use traffic_policy::{
    ClientTls, ConnectionPool, H2UpgradePolicy, Http2KeepAlive, HttpPool, OutlierDetection, PortTrafficPolicy,
    ProxyProtocol, ProxyProtocolVersion, RetryBudget, TcpKeepalive, TcpPool, TlsMode, TrafficPolicy, Tunnel,
    TunnelProtocol,
};

pub(crate) use validate::check_connection_pool;
pub(crate) use validate_load_balancer::check_locality;

use crate::resource::Kind;
use crate::scalar::{DnsLabel, Host, Labels};
use crate::{ExportTo, LabelSelector, Metadata};
use plugin_config::At;

plugin_config::object! {
    /// How a service is called.
    #[derive(Clone, Debug, PartialEq)]
    pub struct DestinationRule {
        /// The service, or with a wildcard the services.
        pub host: Host = "host",
        /// What holds for every call.
        pub traffic_policy: Option<TrafficPolicy> = "trafficPolicy",
        /// Parts of the service that routes may name.
        pub subsets: Vec<Subset> = "subsets",
        /// Namespaces that see it; the mesh's default when absent.
        pub export_to: ExportTo = "exportTo",
        /// The workloads of its namespace that it is for; every client when absent.
        pub workload_selector: Option<LabelSelector> = "workloadSelector",
    }

    /// A part of a service.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Subset {
        /// What routes call it.
        pub name: DnsLabel = "name",
        /// Labels that its endpoints have; every endpoint when absent.
        pub labels: Labels = "labels",
        /// What holds for calls of it; each block in place of the rule's own.
        pub traffic_policy: Option<TrafficPolicy> = "trafficPolicy",
    }
}

impl Kind for DestinationRule {
    const KIND: &'static str = "DestinationRule";
    const GROUP: &'static str = "networking.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1", "v1alpha3"];

    fn validate(&self, metadata: &Metadata, at: &mut At) {
        validate::check(self, metadata, at);
    }

    fn warn(&self, _: &Metadata, at: &mut At) {
        validate::warn(self, at);
    }
}
