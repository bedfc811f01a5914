//! Everything one proxy needs, by the nouns of Envoy. Written once, never changed: a reload makes another.

mod cluster;
mod duration;
mod filter_chain;
mod filter_chain_match;
mod listener;
mod overload;
mod plugin;
mod transport_socket;

pub use cluster::{
    CircuitBreakers, Cluster, DnsDiscovery, DnsName, Endpoint, LoadBalancingPolicy, Locality, OutlierDetection,
    RetryBudget, UpstreamProtocol,
};
pub use duration::Duration;
pub use filter_chain::{
    AccessLog, Destination, FilterChain, FilterChainMatch, HttpConnectionManager, HttpLimits, HttpTimeouts,
    NetworkFilter, PathNormalization, TcpProxy, TransportProtocol,
};
pub use filter_chain_match::{ConnectionFacts, FilterChainMatcher};
pub use listener::{Direction, Listener};
pub use overload::Overload;
pub use plugin::{FailStrategy, Module, Phase, Plugin, PluginLimits};
pub use transport_socket::{DataSource, DownstreamTls, TlsCertificate, TlsVersion, TrustBundle, UpstreamTls};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Everything one proxy needs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Snapshot {
    /// Where connections are accepted.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Where requests go.
    #[serde(default)]
    pub clusters: Vec<Cluster>,
    /// The modules that plugins name.
    #[serde(default)]
    pub modules: BTreeMap<String, Module>,
    /// Where the admin server listens; none without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
    /// How many workers; as many as there are CPUs without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// How long streams in flight may take to finish when the proxy stops or a listener goes (Istio's
    /// `terminationDrainDuration`: 5 s; ours 30 s).
    #[serde(default = "default_drain")]
    pub drain: Duration,
    /// Beyond which load is shed.
    #[serde(default, skip_serializing_if = "Overload::is_default")]
    pub overload: Overload,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            clusters: Vec::new(),
            modules: BTreeMap::new(),
            admin: None,
            workers: None,
            drain: default_drain(),
            overload: Overload::default(),
        }
    }
}

fn default_drain() -> Duration {
    Duration::from_secs(30)
}
