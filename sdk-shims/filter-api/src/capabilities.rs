//! What a filter may ask of whatever runs it. Each shim implements [`Host`] once.

use crate::LocalReply;
use http_match::HeaderList;
use std::fmt;
use std::time::Duration;

/// A stream, by the id its host gave it. Not used again while the stream lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// A call that a filter made, until its last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallId {
    /// Made by [`Host::http_call`].
    Http(u32),
    /// Made by [`Host::grpc_call`]. Hosts may number both kinds alike.
    Grpc(u32),
}

/// A metric that was defined, by its host's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricId(pub u32);

/// Which kind of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A metric as a filter holds it: an increment that cannot be made (no such id) costs nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Metric(pub(crate) Option<MetricId>);

/// The header maps of a stream, and those of a call's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeaderMap {
    /// Request headers; readable and editable until the request goes on.
    Request,
    /// Request trailers.
    RequestTrailers,
    /// Response headers; readable and editable in the response header callback.
    Response,
    /// Headers of an HTTP call's answer; readable during [`crate::Filter::on_call`].
    HttpCallResponse,
}

/// A change to a header map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Replaces every header of the name by one.
    Set(String, Vec<u8>),
    /// Appends one more header of the name.
    Add(String, Vec<u8>),
    /// Removes every header of the name.
    Remove(String),
}

/// An HTTP request that a filter sends by itself.
#[derive(Clone, Copy, Debug)]
pub struct HttpCall<'a> {
    /// The cluster to send it to; an unknown one is [`HostError::BadArgument`].
    pub cluster: &'a str,
    /// Its headers, `:method`, `:path` and `:authority` among them.
    pub headers: &'a HeaderList,
    /// Its body; empty for none.
    pub body: &'a [u8],
    /// How long to wait for the answer.
    pub timeout: Duration,
}

/// A unary gRPC request that a filter sends by itself.
#[derive(Clone, Copy, Debug)]
pub struct GrpcCall<'a> {
    /// The cluster to send it to.
    pub cluster: &'a str,
    /// The full service name: `envoy.service.auth.v3.Authorization`.
    pub service: &'a str,
    /// The method: `Check`.
    pub method: &'a str,
    /// Initial metadata; may be empty.
    pub metadata: &'a HeaderList,
    /// The encoded request message.
    pub message: &'a [u8],
    /// How long to wait for the answer.
    pub timeout: Duration,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEvent {
    /// An HTTP call was answered. Failures arrive so too: a refused connection as 503, a timeout as 504; no headers
    /// at all means the host could not even say that.
    HttpResponse {
        /// Size of the body in bytes, for [`crate::Root::call_body`].
        body_size: usize,
    },
    /// A gRPC call was answered with a message.
    GrpcMessage {
        /// Size of the message in bytes, for [`crate::Root::call_body`].
        size: usize,
    },
    /// A gRPC call ended without a message.
    GrpcClosed {
        /// The gRPC status, 0 to 16.
        status: u32,
    },
}

/// Why a capability was refused. A filter decides what that means; it never ends the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// The thing does not exist here or now: the stream is gone, the map not readable in this phase, no such cluster.
    BadArgument,
    /// Any other status, by its Proxy-Wasm number.
    Status(u32),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostError::BadArgument => f.write_str("not available here or now"),
            HostError::Status(status) => write!(f, "host status {status}"),
        }
    }
}

impl std::error::Error for HostError {}

/// What the surroundings of a filter can do. Calls about a stream act on the one made current by
/// [`Host::select_stream`]; the chain does that.
pub trait Host {
    /// Makes a stream current, outside its own callbacks. [`HostError::BadArgument`] when it is gone.
    fn select_stream(&mut self, stream: StreamId) -> Result<(), HostError>;
    /// All headers of a map.
    fn header_list(&mut self, map: HeaderMap) -> Result<HeaderList, HostError>;
    /// The first value of one header.
    fn header(&mut self, map: HeaderMap, name: &str) -> Result<Option<Vec<u8>>, HostError>;
    /// Changes a map.
    fn edit_header(&mut self, map: HeaderMap, edit: &HeaderEdit) -> Result<(), HostError>;
    /// `length` bytes from `start` of the request body as far as it is readable now.
    fn request_body(&mut self, start: usize, length: usize) -> Result<Vec<u8>, HostError>;
    /// The body of the answer that [`crate::Filter::on_call`] reports.
    fn call_body(&mut self, call: CallId, length: usize) -> Result<Vec<u8>, HostError>;
    /// A property; `None` when it does not exist.
    fn property(&mut self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError>;
    /// Sets a property for the later plugins of this stream and for access logs.
    fn set_property(&mut self, path: &[&str], value: &[u8]) -> Result<(), HostError>;
    /// Answers the current stream.
    fn send_local_reply(&mut self, reply: &LocalReply) -> Result<(), HostError>;
    /// Closes the current connection: its client gets nothing more.
    fn close_connection(&mut self) -> Result<(), HostError>;
    /// Lets the current stream's request go on after a pause.
    fn resume_request(&mut self) -> Result<(), HostError>;
    /// Sends a request.
    fn http_call(&mut self, call: &HttpCall<'_>) -> Result<CallId, HostError>;
    /// Sends a gRPC request.
    fn grpc_call(&mut self, call: &GrpcCall<'_>) -> Result<CallId, HostError>;
    /// Time since the Unix epoch.
    fn now(&mut self) -> Result<Duration, HostError>;
    /// A uniform random draw over all of `u64`.
    fn random(&mut self) -> Result<u64, HostError>;
    /// Calls [`crate::Filter::on_tick`] with this period; zero stops.
    fn set_tick_period(&mut self, period: Duration) -> Result<(), HostError>;
    /// Defines a metric, or finds it again.
    fn define_metric(&mut self, kind: MetricKind, name: &str) -> Result<MetricId, HostError>;
    /// Adds to a metric.
    fn increment_metric(&mut self, metric: MetricId, by: i64) -> Result<(), HostError>;
}
