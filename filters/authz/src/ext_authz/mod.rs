//! CUSTOM: a provider outside decides. It is asked once for each request that a CUSTOM rule matches; whatever keeps it
//! from answering refuses the request, unless its configuration says otherwise.

mod compile;
mod grpc;
mod http;
#[cfg(all(test, not(target_family = "wasm")))]
mod messages;
mod query;

pub(crate) use compile::compile;
pub(crate) use query::edited_target;

use crate::attributes::{Facts, Surroundings, Unavailable};
use filter_api::{CallEvent, CallId, HeaderEdit, HostError, LocalReply, Root, Stream};
use std::fmt;
use std::time::Duration;

/// A provider, ready to be asked.
#[derive(Debug)]
pub(crate) struct Provider {
    cluster: Box<str>,
    timeout: Duration,
    /// Whether requests pass when it fails.
    pub(crate) fail_open: bool,
    status_on_error: u16,
    protocol: Protocol,
}

#[derive(Debug)]
enum Protocol {
    Http(Box<http::HttpCheck>),
    Grpc,
}

/// What a provider decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The request may go on, changed.
    Allow(Changes),
    /// The provider's refusal.
    Deny(LocalReply),
    /// It could not be asked, or failed.
    Failed(String),
}

/// What an allowing provider changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Edits of the request headers, in order.
    pub(crate) request: Vec<HeaderEdit>,
    /// Edits of the response headers, in order.
    pub(crate) response: Vec<Change>,
    /// Query parameters to set (`Some`) or remove (`None`).
    pub(crate) query: Vec<(String, Option<String>)>,
}

/// One edit of the response headers, which depends on what they are then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) value: Vec<u8>,
    pub(crate) how: How,
}

/// `HeaderValueOption.HeaderAppendAction`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Append,
    AddIfAbsent,
    Overwrite,
    OverwriteIfExists,
}

impl Change {
    /// The edit for a map that has the header, or has it not.
    pub(crate) fn edit(&self, exists: bool) -> Option<HeaderEdit> {
        let (name, value) = (self.name.clone(), self.value.clone());
        match (self.how, exists) {
            (How::Append, _) | (How::AddIfAbsent, false) => Some(HeaderEdit::Add(name, value)),
            (How::Overwrite, _) | (How::OverwriteIfExists, true) => Some(HeaderEdit::Set(name, value)),
            (How::AddIfAbsent, true) | (How::OverwriteIfExists, false) => None,
        }
    }
}

/// Why a provider could not be asked.
#[derive(Debug)]
pub(crate) enum CallError {
    /// What it must be told is unavailable.
    Attribute(Unavailable),
    /// The host refused the call.
    Host(HostError),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Attribute(error) => error.fmt(f),
            CallError::Host(error) => write!(f, "the call was refused: {error}"),
        }
    }
}

/// Whether a provider may have a request header removed: without the host and the pseudo-headers it is no request.
fn removable(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(':') && !name.eq_ignore_ascii_case("host")
}

impl Provider {
    /// Asks about the request of `stream`.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(crate) fn call(&self, stream: &mut Stream<'_>, surroundings: &Surroundings) -> Result<CallId, CallError> {
        match &self.protocol {
            Protocol::Http(check) => {
                let headers = check.request(stream.headers().map_err(CallError::Host)?);
                let call = filter_api::HttpCall {
                    cluster: &self.cluster,
                    headers: &headers,
                    body: b"",
                    timeout: self.timeout,
                };
                stream.root().http_call(&call).map_err(CallError::Host)
            }
            Protocol::Grpc => {
                let message = grpc::request(stream, surroundings).map_err(CallError::Attribute)?;
                let call = filter_api::GrpcCall {
                    cluster: &self.cluster,
                    service: "envoy.service.auth.v3.Authorization",
                    method: "Check",
                    metadata: &http_match::HeaderList::new(),
                    message: &message,
                    timeout: self.timeout,
                };
                stream.root().grpc_call(&call).map_err(CallError::Host)
            }
        }
    }

    /// Reads its answer, during the callback that reports it.
    pub(crate) fn outcome(&self, call: CallId, event: CallEvent, root: &mut Root<'_>) -> Outcome {
        let answer = match (&self.protocol, event) {
            (Protocol::Http(check), CallEvent::HttpResponse { body_size }) => {
                root.call_headers().and_then(|headers| Ok(check.outcome(&headers, root.call_body(call, body_size)?)))
            }
            (Protocol::Grpc, CallEvent::GrpcMessage { size }) => {
                root.call_body(call, size).map(|message| grpc::outcome(&message))
            }
            (_, CallEvent::GrpcClosed { status }) => Ok(Outcome::Failed(format!("gRPC status {status}"))),
            _ => Ok(Outcome::Failed("an answer of the wrong kind".into())),
        };
        answer.unwrap_or_else(|error| Outcome::Failed(format!("the answer cannot be read: {error}")))
    }

    /// What a client gets when this provider failed.
    pub(crate) fn error_reply(&self) -> LocalReply {
        LocalReply::new(self.status_on_error, "ext_authz_error")
    }
}
