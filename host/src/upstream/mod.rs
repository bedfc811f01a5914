//! The way to an upstream: which endpoint, whether there is room, a connection from the pool or a new one, and what
//! is spoken on it.

pub mod balancer;
pub mod circuit_breakers;
mod cluster;
mod http1;
mod http2;
pub mod outlier_detection;
mod pool;
pub mod retry;
mod tunnel;

#[cfg(test)]
mod draws;

pub(crate) use cluster::{Chosen, Cluster, ClusterSet, Unavailable};
pub use cluster::{ClusterStats, SharedCluster, SharedClusters};
pub(crate) use pool::{Acquired, ConnectFailure, Connecting, Dialling, Open, UpstreamPeer, Wanted};
