//! Istio's RequestAuthentication as a filter: whose tokens are good. A request without a token passes, one with a bad
//! token does not; the claims of a good one are left for `authz`.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod config;

pub use config::{ClaimHeader, ClaimToHeader, Config, Discovery, HeaderLocation, Provider, RemoteJwks};
