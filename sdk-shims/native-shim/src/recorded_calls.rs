//! What a plugin asked of its host.

use filter_api::{CallId, HeaderEdit, HeaderMap, LocalReply};
use http_match::HeaderList;
use std::time::Duration;

/// A call that a plugin sent, HTTP or gRPC.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedCall {
    /// The id its answer will carry.
    pub id: CallId,
    /// The cluster it goes to.
    pub cluster: String,
    /// The headers (HTTP), or the initial metadata (gRPC).
    pub headers: HeaderList,
    /// The body (HTTP), or the encoded message (gRPC).
    pub body: Vec<u8>,
    /// How long the plugin would wait.
    pub timeout: Duration,
    /// `service/method` of a gRPC call.
    pub grpc_method: Option<String>,
}

/// One hostcall of a plugin, for tests that count or order them.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// The whole of a header map was read.
    HeaderList(HeaderMap),
    /// One header was read.
    Header(HeaderMap, String),
    /// A header map was changed.
    Edit(HeaderMap, HeaderEdit),
    /// A property was read.
    Property(Vec<String>),
    /// A property was set.
    SetProperty(String, Vec<u8>),
    /// Part of a body was read.
    Body,
    /// A local reply was sent.
    Reply(LocalReply),
    /// The connection was closed.
    Close,
    /// The request was resumed.
    Resume,
    /// A call was sent.
    Call(RecordedCall),
    /// The clock was read.
    Now,
    /// A draw was taken.
    Random,
    /// The timer was set.
    TickPeriod(Duration),
}
