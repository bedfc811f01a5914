//! What the matchers decide, as tables (which `tests/wasm.rs` runs again as wasm) and against plain oracles.

#![cfg(not(target_family = "wasm"))]

mod address;
mod authority;
mod candidate_index;
mod configuration;
mod match_clause;
mod match_table;
mod oracles;
mod path_template;
mod pattern;
mod regex;
mod source;
mod support;
mod written_back;
