//! Weighted destinations: draws one for each request and names its cluster in a header, on which the proxy routes.
//!
//! `config` reads and checks, `shares` draws, `sticky` keeps a key with its destination, `key` finds the key in a request,
//! `filter` acts.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod config;
mod filter;
mod key;
mod policy;
mod shares;
mod sticky;

pub use config::{Config, Cookie, Destination, HashKey, ShiftingPolicy, Sticky};
pub use filter::{build, configure};
pub use shares::Shares;
pub use sticky::choose;

#[cfg(all(feature = "module", target_family = "wasm"))]
proxy_wasm_shim::register! { configure: configure, callbacks: [request_headers, response_headers] }
