//! What one proxy runs → what others run: an Envoy bootstrap, Istio's WasmPlugin resources. Both are made of a
//! [`compiler::snapshot::Snapshot`] and nothing else, so they cannot disagree with our own proxy.
#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod bootstrap;

pub use bootstrap::{Bootstrap, bootstrap};
