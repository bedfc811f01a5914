//! Runs the cases of every filter in every engine, and what the other tests share: tools, the optimised modules, a fake
//! upstream, a client, certificates.

pub mod caller;
pub mod case_file;
pub mod certs;
pub mod check;
pub mod client;
pub mod engine;
pub mod envoy;
pub mod envoy_bootstrap;
pub mod fake_upstream;
pub mod host_engine;
pub mod jwt;
pub mod live;
pub mod native;
pub mod optimised;
pub mod raw;
pub mod sdks;
pub mod tools;
pub mod workload_api;

use std::path::PathBuf;

/// The repository's root.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    here.canonicalize().unwrap_or(here)
}
