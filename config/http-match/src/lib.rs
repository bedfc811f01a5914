//! Compiled matchers: the one reading of StringMatch, HTTPMatchRequest, authorities, paths, query parameters,
//! headers, AuthorizationPolicy strings, path templates and address blocks. Pure: no IO, no clock, no chance.
//! What is compiled once is looked up in time that does not grow with the number of entries.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod header_list;
mod request;

pub use header_list::{Entry, HeaderList};
pub use request::{Request, split_target};
