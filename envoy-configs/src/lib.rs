//! What one proxy runs → what others run: an Envoy bootstrap, Istio's WasmPlugin resources. Both are made of a
//! [`compiler::snapshot::Snapshot`] and nothing else, so they cannot disagree with our own proxy.
#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod bootstrap;
mod envoy_filter;
mod module_url;
mod oci;
mod peer_address;
mod wasm_plugin;

pub use bootstrap::{Bootstrap, bootstrap};
pub use module_url::{ModulePrefix, ModulePrefixError};
pub use oci::{Image, layout};
pub use wasm_plugin::{
    Api, Manifest, Metadata, SidecarProxy, WasmPluginError, WasmPlugins, WasmPluginsOptions, wasm_plugins,
};

use compiler::snapshot::Plugin;

/// The key by which a balancer chooses, as `weighted-shifting` sets it; like the cluster's header it is for the proxy, and
/// neither a client may say it nor an upstream see it.
const HASH_HEADER: &str = "x-outrigger-hash";

/// The headers in which `jwt-authn` leaves claims for later filters to match: for the proxy as well.
fn claim_headers(plugins: &[Plugin]) -> impl Iterator<Item = &str> {
    let ours = plugins.iter().filter(|plugin| plugin.module == "jwt-authn");
    let claims = ours.filter_map(|plugin| plugin.configuration.get("claimHeaders")?.as_array()).flatten();
    claims.filter_map(|claim| claim.get("header")?.as_str())
}
