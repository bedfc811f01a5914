//! The proxy: listeners, filter chains of Proxy-Wasm plugins, the router, upstream clusters.

mod downstream;
pub mod filter_chain;
pub mod http;
pub mod proxy_error;
mod router;
mod services;
pub mod telemetry;
pub mod upstream;
pub mod wasm;
mod worker;
