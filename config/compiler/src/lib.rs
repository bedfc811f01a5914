//! Istio's resources → what one proxy runs. The only reader of `istio-api`, and the only writer of [`snapshot`]: what
//! is written comes in as [`Mesh`], and leaves as a [`snapshot::Snapshot`], immutable, or as every reason why not.
#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod compile;
mod explain;
mod mesh;
mod report;
pub mod snapshot;

pub use compile::{CompileError, Compiled, Origin, Origins, Settings};
pub use explain::{DescribedRequest, Explanation, Step};
pub use mesh::{Mesh, Service, ServiceDiscovery, ServiceEndpoint, ServicePort, Workload};
