//! Cross-origin requests: Istio's `corsPolicy`. Preflights are answered here, actual responses get their headers; no
//! request is ever blocked.
//!
//! `config` reads and checks, `policy` decides from origin, method and requested headers, `filter` acts.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod config;
mod filter;
mod policy;

pub use config::{Config, CorsPolicy, UnmatchedPreflights};
pub use filter::{build, configure};
pub use policy::{Policy, Preflight};

#[cfg(all(feature = "module", target_family = "wasm"))]
proxy_wasm_shim::register! { configure: configure, callbacks: [request_headers, response_headers] }
