//! All six filters linked into one module, in Istio's order of effects: one VM, one crossing per callback, the request
//! headers read once.
//!
//! ```text
//! authz → header-rules → fault-injection → cors → weighted-shifting → mirroring
//! ```

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

use filter_api::{Filter, Root};
use plugin_config::{At, Faults};

plugin_config::object! {
    /// The plugin configuration: that of each filter. A filter whose field is absent is not in the chain.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Config {
        /// AuthorizationPolicy.
        pub authz: Option<authz::Config> = "authz",
        /// Virtual hosts, routes and free-standing rules.
        pub header_rules: Option<header_rules::Config> = "headerRules",
        /// Delay and abort.
        pub fault_injection: Option<fault_injection::Config> = "faultInjection",
        /// Cross-origin requests.
        pub cors: Option<cors::Config> = "cors",
        /// Weighted destinations.
        pub weighted_shifting: Option<weighted_shifting::Config> = "weightedShifting",
        /// Copies.
        pub mirroring: Option<mirroring::Config> = "mirroring",
    }
}

/// Makes the chain from a plugin configuration.
///
/// # Errors
/// Every fault of every filter's configuration.
pub fn configure(configuration: &[u8], root: &mut Root<'_>) -> Result<Vec<Box<dyn Filter>>, Faults> {
    let mut at = At::root();
    let config: Config = plugin_config::read_slice(configuration, &mut at)?;
    at.start_checks();
    let filters = build(&config, &mut at, root);
    if at.is_good() { Ok(filters) } else { Err(at.into_faults()) }
}

/// The filters that are configured, in order; every fault is recorded in `at`.
fn build(config: &Config, at: &mut At, root: &mut Root<'_>) -> Vec<Box<dyn Filter>> {
    let authz = config.authz.as_ref().map(|config| at.field("authz", |at| authz::build(config, at, root)));
    let header_rules =
        config.header_rules.as_ref().map(|config| at.field("headerRules", |at| header_rules::build(config, at, root)));
    let fault_injection = config
        .fault_injection
        .as_ref()
        .map(|config| at.field("faultInjection", |at| fault_injection::build(config, at, root)));
    let cors = config.cors.as_ref().map(|config| at.field("cors", |at| cors::build(config, at, root)));
    let weighted_shifting = config
        .weighted_shifting
        .as_ref()
        .map(|config| at.field("weightedShifting", |at| weighted_shifting::build(config, at, root)));
    let mirroring =
        config.mirroring.as_ref().map(|config| at.field("mirroring", |at| mirroring::build(config, at, root)));
    [authz, header_rules, fault_injection, cors, weighted_shifting, mirroring].into_iter().flatten().flatten().collect()
}

#[cfg(all(feature = "module", target_family = "wasm"))]
proxy_wasm_shim::register! {
    configure: configure,
    callbacks: [new_connection, request_headers, request_body, request_trailers, response_headers, tick, call],
}
