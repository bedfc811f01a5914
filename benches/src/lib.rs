//! What the benches share: configurations of growing size, a load of requests, and a small Proxy-Wasm host that counts.

pub mod configurations;
pub mod envoy_load;
pub mod guest;
