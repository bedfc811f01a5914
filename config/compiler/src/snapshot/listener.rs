//! Listeners.

use crate::snapshot::{Duration, FilterChain};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A place where connections are accepted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Listener {
    /// Unique; names it in logs and metrics.
    pub name: String,
    /// Every worker listens there by itself (`SO_REUSEPORT`).
    pub address: SocketAddr,
    /// Which way its traffic goes.
    #[serde(default)]
    pub direction: Direction,
    /// Whether connections are redirected to it: then what counts is the address that they were made to
    /// (`SO_ORIGINAL_DST`).
    #[serde(default)]
    pub use_original_dst: bool,
    /// How long a client may take to say something where perhaps the server is to speak first; 1 s without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol_detection_timeout: Option<Duration>,
    /// The one that says most about a connection serves it; a connection that none matches is closed.
    pub filter_chains: Vec<FilterChain>,
}

/// Which way a listener's traffic goes (Envoy's `traffic_direction`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// Neither, as at a gateway.
    #[default]
    Unspecified,
    /// To the workload beside the proxy.
    Inbound,
    /// From it.
    Outbound,
}
