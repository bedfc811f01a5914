//! Istio's RequestAuthentication as a filter: whose tokens are good. A request without a token passes, one with a bad
//! token does not; the claims of a good one are left for `authz`.
//!
//! ```text
//! request headers → locations → token → verifier ─┬─▶ claims, headers; the token is taken out
//!                                 │  cache  keys  └─▶ 401, 403
//!                                 └─ keys are not here yet: hold the request → on_call → on_wake
//! ```
//!
//! `config` is what a user writes; `compile` checks all of it. `token` reads what a token says, `jwks` and `signature`
//! tell whether it is true, `key_source` fetches keys. What cannot be decided is refused.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod base64;
mod cache;
mod claim_headers;
mod claims;
mod compile;
mod config;
mod filter;
mod jwks;
mod key_source;
mod locations;
mod signature;
mod status;
mod token;
mod uri;
mod verifier;

pub use claim_headers::claim_headers;
pub use compile::check;
pub use config::{ClaimHeader, ClaimToHeader, Config, Discovery, HeaderLocation, Provider, RemoteJwks};
pub use filter::{CLAIMS_PROPERTY, build, configure};

#[cfg(all(feature = "module", target_family = "wasm"))]
proxy_wasm_shim::register! { configure: configure, callbacks: [request_headers, tick, call] }
