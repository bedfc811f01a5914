//! Routes requests as an Istio VirtualService says, and applies free-standing header rules.
//!
//! ```text
//! on_request_headers   control headers stripped → rules, in order → virtual host by authority → first matching route
//!                      → redirect, direct response, or: header operations, rewrite, timeout, retries, cluster
//! on_response_headers  response operations of the rules and of the route
//! ```
//!
//! The route's id goes to the property `outrigger.route`, by which the later filters find their part of it.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod action;
mod compile;
mod config;
mod control_edits;
mod filter;
mod redirect;
mod reply;
mod rewrite;
mod route;
mod rule;

pub use compile::{Compiled, Decision};
pub use config::{
    BodyConfig, Config, DerivePort, DirectResponseConfig, RedirectConfig, RegexRewriteConfig, ReplyConfig,
    RetriesConfig, RewriteConfig, RouteConfig, RuleConfig, Then, UnknownAuthorityConfig, UnknownAuthorityPolicy,
    VirtualHostConfig,
};
pub use route::{Route, VirtualHost};

use filter_api::{Filter, Root, configure_one};
use plugin_config::{At, Faults};

/// Makes the filter from its plugin configuration (JSON).
///
/// # Errors
/// Every fault of the configuration.
pub fn configure(configuration: &[u8], root: &mut Root<'_>) -> Result<Vec<Box<dyn Filter>>, Faults> {
    configure_one(configuration, root, build)
}

/// Makes the filter from its configuration, already read; faults are recorded in `at`, which stands at it.
pub fn build(config: &Config, at: &mut At, root: &mut Root<'_>) -> Option<Box<dyn Filter>> {
    let compiled = Compiled::compile(config, at)?;
    Some(Box::new(filter::HeaderRules::new(compiled, root)))
}

#[cfg(all(feature = "module", target_family = "wasm"))]
proxy_wasm_shim::register! {
    configure: configure,
    callbacks: [request_headers, response_headers]
}
