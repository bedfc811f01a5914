//! Istio's resources → what one proxy runs. The only reader of `istio-api`, and the only writer of [`snapshot`]: what
//! is written comes in as [`Mesh`], and leaves as a [`snapshot::Snapshot`], immutable, or as every reason why not.
#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod analysis;
mod compile;
mod explain;
mod finding;
mod mesh;
mod report;
pub mod snapshot;

pub use analysis::Analysis;
pub use compile::{CompileError, Compiled, Credentials, Origin, Origins, Settings};
pub use explain::{DescribedRequest, Explanation, Step};
pub use finding::{Finding, Level, Message};
pub use mesh::{Mesh, Service, ServiceDiscovery, ServiceEndpoint, ServicePort, Workload};
