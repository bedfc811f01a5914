//! The proxy: listeners, filter chains of Proxy-Wasm plugins, the router, upstream clusters.

pub mod admin;
mod app;
pub mod ca;
mod downstream;
mod faults;
pub mod filter_chain;
mod generation;
pub mod http;
mod overload;
pub mod proxy_error;
mod router;
mod services;
pub mod telemetry;
mod tls;
pub mod upstream;
pub mod wasm;
mod worker;

pub use app::{GuestLog, Lookup, MemoryUse, Options, Proxy};
pub use faults::Faults;
