//! What the host gives to its guests beyond their own stream: clusters to call, logs, time.

use crate::telemetry::Registry;
use crate::wasm::shared_state::QueueReady;
use bytes::Bytes;
use http_match::HeaderList;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// A future of this worker's thread.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Levels of guests' log lines (`proxy_log_level_t`).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LogLevel {
    /// 0
    Trace,
    /// 1
    Debug,
    /// 2
    Info,
    /// 3
    Warn,
    /// 4
    Error,
    /// 5
    Critical,
}

impl LogLevel {
    /// The level of a number.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            4 => Self::Error,
            5 => Self::Critical,
            _ => return None,
        })
    }
}

/// A request that a guest sends by itself (`proxy_http_call`).
#[derive(Debug)]
pub struct HttpCall {
    /// The cluster.
    pub cluster: String,
    /// `:method`, `:path`, `:authority` and the rest.
    pub headers: HeaderList,
    /// May be empty.
    pub body: Bytes,
    /// May be empty.
    pub trailers: HeaderList,
    /// `None`: as long as it takes.
    pub timeout: Option<Duration>,
}

/// What became of it. A failure is a response of the proxy's own, as clients get it: 503, 504.
#[derive(Debug, Default)]
pub struct HttpCallResponse {
    /// `:status` and the rest.
    pub headers: HeaderList,
    /// May be empty.
    pub body: Bytes,
    /// May be empty.
    pub trailers: HeaderList,
}

/// A gRPC call or stream that a guest begins (`proxy_grpc_call`, `proxy_grpc_stream`).
#[derive(Debug)]
pub struct GrpcCall {
    /// The cluster.
    pub cluster: String,
    /// Full name of the service: `envoy.service.auth.v3.Authorization`.
    pub service: String,
    /// Its method.
    pub method: String,
    /// Further request headers.
    pub metadata: HeaderList,
    /// `None`: as long as it takes.
    pub timeout: Option<Duration>,
}

/// What a gRPC call or stream brings, in order; `Closed` is the last.
#[derive(Debug)]
pub enum GrpcEvent {
    /// Initial metadata.
    InitialMetadata(HeaderList),
    /// A message, without its five bytes of framing.
    Message(Bytes),
    /// Trailing metadata.
    TrailingMetadata(HeaderList),
    /// The status, and its text.
    Closed(u32, Vec<u8>),
}

/// What a worker does for the guests on it.
pub trait Services {
    /// Wall clock.
    fn now(&self) -> SystemTime;
    /// Monotonic nanoseconds from an arbitrary start that is not 0.
    fn monotonic(&self) -> u64;
    /// Fills with random bytes.
    fn random(&self, out: &mut [u8]);
    /// The least level whose lines are wanted.
    fn log_level(&self) -> LogLevel;
    /// A log line of a plugin.
    fn log(&self, level: LogLevel, plugin: &str, line: &str);
    /// Whether a cluster can be called.
    fn has_cluster(&self, name: &str) -> bool;
    /// Sends a request. Dropping the future cancels it.
    fn http_call(&self, call: HttpCall) -> LocalFuture<HttpCallResponse>;
    /// Begins a gRPC exchange: sends the messages as they come (the last half-closes), and tells what comes back.
    /// Dropping the events' end cancels it.
    fn grpc_call(&self, call: GrpcCall, messages: UnboundedReceiver<(Bytes, bool)>) -> UnboundedReceiver<GrpcEvent>;
    /// Where metrics live.
    fn metrics(&self) -> &Registry;
    /// Posts a queue's wake-up to the worker that `target` names, which may be another.
    fn mailbox(&self) -> UnboundedSender<QueueReady>;
}
