//! The snapshot: everything one proxy needs, immutable. What writes it may see only Istio's resources, what reads it
//! only the snapshot.
#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod snapshot;
