//! Delay and abort: Istio's `HTTPFaultInjection`, decided per request in front of the proxy's router.
//!
//! `config` reads and checks, `fault` decides from draws alone, `held` keeps the requests that wait, `filter` acts.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod config;
mod draws;
mod fault;
mod filter;
mod held;

pub use config::{Abort, Config, Delay, FaultPolicy, Refused, Seed};
pub use fault::{Answer, Draw, Fault, Faults};
pub use filter::{build, configure};

#[cfg(all(feature = "module", target_family = "wasm"))]
proxy_wasm_shim::register! { configure: configure, callbacks: [request_headers, tick] }
