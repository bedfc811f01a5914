//! What a filter sees. No ABI, no IO: a filter is a value with one method per stream phase, and everything it may
//! ask of its surroundings goes through [`Stream`] and [`Root`].
//!
//! ```text
//! module: configure(plugin configuration) → filters → Chain
//! stream: on_request_headers → [Pause … on_wake] → on_request_body* → on_response_headers → on_stream_end
//! root:   on_tick, on_call  (timers and answers to calls belong to the plugin, not to a stream)
//! ```
//!
//! A [`Chain`] runs one filter or several linked into one module; both shims drive filters through it, so a filter
//! behaves the same alone and linked, in a proxy and in a test.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod action;
mod capabilities;
mod chain;
mod format_string;
mod header_operations;
mod headers;
mod id_map;
mod policy_table;
mod reach;
mod root;
mod stream;

pub use action::{Action, LocalReply};
pub use capabilities::{
    CallEvent, CallId, GrpcCall, HeaderEdit, HeaderMap, Host, HostError, HttpCall, Metric, MetricId, MetricKind,
    StreamId,
};
pub use chain::{Chain, Configure, Filter, configure_one};
pub use format_string::{CapturedHeaders, FormatPhase, FormatString, ResponseRenderer};
pub use header_operations::{Captured, HeaderOperations, HeaderOperationsConfig, HeadersConfig, check_authority};
pub use headers::Headers;
pub use http_match::header_name;
pub use id_map::{Id, IdMap};
pub use policy_table::{PolicyId, PolicyTable, ROUTE_PROPERTY, Rule, destination_port};
pub use reach::Reach;
pub use root::Root;
pub use stream::Stream;
