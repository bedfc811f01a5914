//! Clusters: where requests go, and how endpoints are chosen and judged.

use crate::snapshot::{Duration, UpstreamTls};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A logical upstream service.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Cluster {
    /// Unique: `outbound|8080|v1|reviews.default.svc.cluster.local`.
    pub name: String,
    /// Its addresses.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Names whose addresses are endpoints as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsDiscovery>,
    /// Whether requests go to the address that they were made to instead: where their connection was redirected from, or
    /// else what their authority names (Envoy's ORIGINAL_DST and its dynamic forward proxy).
    #[serde(default)]
    pub dynamic_forward: bool,
    /// How one is chosen.
    #[serde(default)]
    pub load_balancing: LoadBalancingPolicy,
    /// What is spoken to them.
    #[serde(default)]
    pub protocol: UpstreamProtocol,
    /// TLS to them; without, bytes are sent as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_socket: Option<UpstreamTls>,
    /// 10 s, as Istio.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Duration,
    /// How long a pooled connection may be unused: 1 h, as Istio. Zero: for ever.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout: Duration,
    /// Requests on one connection; 0 for no bound.
    #[serde(default)]
    pub max_requests_per_connection: u32,
    /// Bounds on what goes to it at a time.
    #[serde(default)]
    pub circuit_breakers: CircuitBreakers,
    /// Whether failing endpoints are left out for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
}

impl Cluster {
    /// A cluster without endpoints, everything else as it is when nothing is said.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            endpoints: Vec::new(),
            dns: None,
            dynamic_forward: false,
            load_balancing: LoadBalancingPolicy::default(),
            protocol: UpstreamProtocol::default(),
            transport_socket: None,
            connect_timeout: default_connect_timeout(),
            idle_timeout: default_idle_timeout(),
            max_requests_per_connection: 0,
            circuit_breakers: CircuitBreakers::default(),
            outlier_detection: None,
        }
    }
}

fn default_connect_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_idle_timeout() -> Duration {
    Duration::from_secs(3600)
}

/// One address of a cluster.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Endpoint {
    /// IP address and port.
    pub address: SocketAddr,
    /// Its share among endpoints of its priority.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// 0 first; others when too few of those before are healthy.
    #[serde(default)]
    pub priority: u32,
    /// Where it is.
    #[serde(default)]
    pub locality: Locality,
    /// Whether it is called without the cluster's TLS: it has no sidecar (Envoy's `transport_socket_matches`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plaintext: bool,
}

fn default_weight() -> u32 {
    1
}

/// Endpoints that are found by looking names up (Envoy's STRICT_DNS and LOGICAL_DNS). A name that cannot be looked up
/// keeps the addresses it had; without any, requests get 503.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DnsDiscovery {
    /// What to look up.
    pub names: Vec<DnsName>,
    /// Whether only the first address of each is used.
    #[serde(default)]
    pub logical: bool,
    /// How often: 60 s, as Istio's `dnsRefreshRate`.
    #[serde(default = "default_refresh_rate")]
    pub refresh_rate: Duration,
}

impl Default for DnsDiscovery {
    fn default() -> Self {
        Self { names: Vec::new(), logical: false, refresh_rate: default_refresh_rate() }
    }
}

fn default_refresh_rate() -> Duration {
    Duration::from_secs(60)
}

/// A name with what its addresses have as endpoints.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DnsName {
    /// `api.example.com`
    pub name: String,
    /// The port of each.
    pub port: u16,
    /// The share of each.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// As an endpoint's.
    #[serde(default)]
    pub priority: u32,
    /// Where they are.
    #[serde(default)]
    pub locality: Locality,
    /// As an endpoint's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plaintext: bool,
}

/// Where an endpoint is.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Locality {
    /// Region.
    pub region: String,
    /// Zone in it.
    pub zone: String,
    /// Sub-zone in that.
    pub sub_zone: String,
}

/// What is spoken to endpoints.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum UpstreamProtocol {
    /// HTTP/1.1
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// What the client spoke.
    Downstream,
}

/// How an endpoint is chosen (DestinationRule `loadBalancer`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LoadBalancingPolicy {
    /// The one of two with fewer requests in flight.
    #[default]
    LeastRequest,
    /// Each in turn.
    RoundRobin,
    /// Any.
    Random,
    /// By the request's key, on a ring.
    #[serde(rename_all = "camelCase")]
    RingHash {
        /// Points on the ring at least; 1024.
        minimum_ring_size: u64,
    },
    /// By the request's key, in a table.
    #[serde(rename_all = "camelCase")]
    Maglev {
        /// A prime; 65537.
        table_size: u64,
    },
}

/// Bounds on what goes to a cluster at a time, over all workers (DestinationRule `connectionPool`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct CircuitBreakers {
    /// Connections.
    pub max_connections: u32,
    /// Requests that wait for a connection.
    pub max_pending_requests: u32,
    /// Requests.
    pub max_requests: u32,
    /// Requests that are sent again.
    pub max_retries: u32,
    /// Instead of `max_retries`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_budget: Option<RetryBudget>,
}

/// Requests that are sent again, as a share of all.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RetryBudget {
    /// Of the requests in flight: 20.
    pub percent: f64,
    /// Always allowed: 3.
    pub min_retry_concurrency: u32,
}

impl Default for CircuitBreakers {
    fn default() -> Self {
        Self {
            max_connections: u32::MAX,
            max_pending_requests: u32::MAX,
            max_requests: u32::MAX,
            max_retries: u32::MAX,
            retry_budget: None,
        }
    }
}

/// When endpoints are left out for a time (DestinationRule `outlierDetection`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct OutlierDetection {
    /// Failures with 5xx in a row; 0 for never.
    pub consecutive_5xx_errors: u32,
    /// Failures with 502, 503 or 504 in a row; 0 for never.
    pub consecutive_gateway_errors: u32,
    /// Whether failures to connect and the like are counted apart.
    pub split_external_local_origin_errors: bool,
    /// Those in a row, if counted apart; 0 for never.
    pub consecutive_local_origin_failures: u32,
    /// How often endpoints are looked at again.
    pub interval: Duration,
    /// How long the first time, twice as long the second, and so on.
    pub base_ejection_time: Duration,
    /// At most.
    pub max_ejection_time: Duration,
    /// How many of a cluster's endpoints at most.
    pub max_ejection_percent: u32,
    /// Below that share of healthy endpoints all are used.
    pub min_health_percent: u32,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_5xx_errors: 5,
            consecutive_gateway_errors: 0,
            split_external_local_origin_errors: false,
            consecutive_local_origin_failures: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 10,
            min_health_percent: 0,
        }
    }
}
