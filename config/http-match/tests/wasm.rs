//! The tables of `tests/all` on wasm32-unknown-unknown: what the matchers decide must not depend on the target.

#![cfg(all(target_family = "wasm", target_os = "unknown"))]

#[path = "all/address.rs"]
mod address;
#[path = "all/authority.rs"]
mod authority;
#[path = "all/candidate_index.rs"]
mod candidate_index;
#[path = "all/configuration.rs"]
mod configuration;
#[path = "all/match_clause.rs"]
mod match_clause;
#[path = "all/match_table.rs"]
mod match_table;
#[path = "all/path_template.rs"]
mod path_template;
#[path = "all/pattern.rs"]
mod pattern;
#[path = "all/regex.rs"]
mod regex;
#[path = "all/source.rs"]
mod source;
#[path = "all/support.rs"]
mod support;
