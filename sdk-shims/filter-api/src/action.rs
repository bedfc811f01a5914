//! What a filter decides about a stream.

/// What a request callback returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The stream goes on to the next filter.
    Continue,
    /// The stream is held at this filter until [`crate::Root::wake`]; its body is held back by flow control meanwhile.
    Pause,
}

/// A response made by the proxy.
///
/// For a gRPC request (content-type `application/grpc…`) the host answers HTTP 200 with `grpc-status` and the body as
/// `grpc-message`; without `grpc_status` it maps the HTTP status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Headers to add, in order. The host adds content-length, and `content-type: text/plain` to a body without one.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// The canonical gRPC code (0 to 16) to answer a gRPC request with.
    pub grpc_status: Option<u8>,
    /// Why, for access logs (`RESPONSE_CODE_DETAILS`); white space becomes `_`.
    pub details: String,
}

impl LocalReply {
    /// A reply of a status and details, without a body.
    pub fn new(status: u16, details: impl Into<String>) -> Self {
        Self { status, details: details.into(), ..Self::default() }
    }

    /// The same reply with a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The same reply with one more header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}
