//! Istio's AuthorizationPolicy as a filter: who may ask what of a workload.
//!
//! ```text
//! request headers → CUSTOM: ask the provider, hold the request → on_call → on_wake ┐
//!                 └──────────────────────────────────────────────────────────────┴→ AUDIT → DENY → ALLOW
//! ```
//!
//! A connection that carries bytes is decided about when it is accepted, by policies that say nothing of requests.
//!
//! [`config`] is what a user writes; `compile` checks all of it and files every rule in an index; [`Policies`] decides
//! about [`Attributes`], each fetched when a rule first needs it. What cannot be decided is refused.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod attributes;
mod audit;
mod claims;
mod compile;
mod condition;
pub mod config;
mod decision;
mod described;
mod ext_authz;
mod field;
mod filter;
mod index;
mod operation;
mod pattern;
mod peer;
mod rule;
mod source;
mod wire;

pub use attributes::{Attributes, Facts, Surroundings, Unavailable, Why};
pub use config::Config;
pub use decision::{Decision, NearestMiss, Policies, RuleId};
pub use described::Described;
pub use filter::{build, configure, policies};
pub use peer::{Peer, PeerCache};
pub use rule::Part;

#[cfg(all(feature = "module", target_family = "wasm"))]
proxy_wasm_shim::register! {
    configure: configure,
    callbacks: [new_connection, request_headers, response_headers, call],
}
