//! Copies of requests to other clusters: Istio's `mirror` and `mirrors`. Fire and forget: the primary request is never
//! held or changed, and nothing that becomes of a copy is seen.
//!
//! `config` reads and checks, `policy` decides from draws which mirrors get a copy, `copy` makes it from the request,
//! `filter` collects the body and sends.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod config;
mod copy;
mod filter;
mod policy;

pub use config::{Config, Mirror, MirrorPolicy};
pub use filter::{build, configure};
pub use policy::Policy;

#[cfg(all(feature = "module", target_family = "wasm"))]
proxy_wasm_shim::register! { configure: configure, callbacks: [request_headers, request_body, request_trailers, call] }
