//! Compiled matchers: the one reading of StringMatch, HTTPMatchRequest, authorities, paths, query parameters,
//! headers, AuthorizationPolicy strings, path templates, address blocks and format strings. Pure: no IO, no clock, no
//! chance.
//! What is compiled once is looked up in time that does not grow with the number of entries.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod address;
mod authority;
mod candidate_index;
mod format_text;
mod header_list;
mod http_match_request;
mod match_table;
mod merge;
mod path_template;
mod pattern;
mod re2_syntax;
mod regex;
mod request;
mod source;
mod string;

pub use address::{AddressBlocks, parse_peer_address};
pub use authority::{AuthorityTable, AuthorityTableBuilder, port_of};
pub use candidate_index::{CandidateIndex, CandidateIndexBuilder, Key, Term};
pub use format_text::{FormatCommand, FormatFault, FormatPiece, HeaderSelector, header_name, read_format};
pub use header_list::{Entry, HeaderList};
pub use http_match_request::HttpMatchRequest;
pub use match_table::{Found, MatchTable, MatchTableBuilder, MatchedUri};
pub use path_template::PathTemplate;
pub use pattern::{HostPattern, PathPattern, StringPattern};
pub use regex::{Regex, Substitution};
pub use request::{Request, split_target};
pub use source::{
    NamespacePattern, PrincipalPattern, RequestPrincipalPattern, ServiceAccountPattern, TrustDomainPattern,
    TrustDomains, namespaces,
};
pub use string::{Place, StringMatch, StringMatcher};
