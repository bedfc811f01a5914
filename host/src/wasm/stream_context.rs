//! One request (or TCP connection) as its guests see it, shared by the filters of the chain.

use crate::wasm::body_buffer::BodyBuffer;
use http_match::HeaderList;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, SystemTime};

/// A direction of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(usize)]
pub enum Direction {
    /// Towards the upstream.
    Request = 0,
    /// Towards the client.
    Response = 1,
}

/// What a filter may edit now. The chain sets it before each callback; while a filter holds the stream it stays.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Access(u8);

impl Access {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The request headers.
    pub const REQUEST_HEADERS: Self = Self(1);
    /// The request trailers.
    pub const REQUEST_TRAILERS: Self = Self(2);
    /// The response headers.
    pub const RESPONSE_HEADERS: Self = Self(4);
    /// The response trailers.
    pub const RESPONSE_TRAILERS: Self = Self(8);
    /// The request body, or what a TCP client sent.
    pub const REQUEST_BODY: Self = Self(16);
    /// The response body, or what a TCP upstream sent.
    pub const RESPONSE_BODY: Self = Self(32);
    /// The stream has ended: everything can be read, nothing edited.
    pub const LOG: Self = Self(64);

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A response that a guest makes (`proxy_send_local_response`).
#[derive(Clone, Debug, Default)]
pub struct LocalReply {
    /// 200 to 599.
    pub status: u16,
    /// For the access log; white space has become `_`.
    pub details: String,
    /// May be empty.
    pub body: Vec<u8>,
    /// Beside those that the host makes.
    pub headers: HeaderList,
    /// 0 to 16, or none: then mapped from the status.
    pub grpc_status: Option<u32>,
}

/// What one filter of the chain has of a stream: its hands on it, and what it asked for.
#[derive(Debug, Default)]
pub struct Slot {
    /// What it may edit now.
    pub access: Access,
    /// The bodies it holds or is being shown, by direction.
    pub bodies: [BodyBuffer; 2],
    /// Whether it has edited a body, by direction.
    pub body_edited: [bool; 2],
    /// The response it wants sent: the first it asked for.
    pub reply: Option<Box<LocalReply>>,
    /// Which directions it wants to go on.
    pub resume: [bool; 2],
    /// It wants the stream reset.
    pub close: bool,
    /// Its VM has ended.
    pub failed: bool,
    /// Calls in flight that it began for this stream.
    pub calls: usize,
}

/// A connection as properties tell of it; made once per connection.
#[derive(Clone, Debug)]
pub struct ConnectionProperties {
    /// Number of the connection in this process.
    pub id: u64,
    /// The client: behind trusted proxies, the one they name.
    pub source: SocketAddr,
    /// Who is on the other end of the connection.
    pub direct_peer: SocketAddr,
    /// The local address, that of the original destination where the connection was redirected.
    pub destination: SocketAddr,
    /// Whether it was.
    pub redirected: bool,
    /// Server name of the TLS handshake.
    pub requested_server_name: String,
    /// `TLSv1.3`, for connections with TLS.
    pub tls_version: Option<&'static str>,
    /// The client's certificate, where it showed one.
    pub peer: Option<Arc<CertificateProperties>>,
    /// Our own certificate.
    pub local: Option<Arc<CertificateProperties>>,
}

/// A certificate as properties tell of it.
#[derive(Clone, Debug, Default)]
pub struct CertificateProperties {
    /// Every URI SAN, in order.
    pub uri_sans: Vec<String>,
    /// Every DNS SAN.
    pub dns_sans: Vec<String>,
    /// RFC 2253 text.
    pub subject: String,
    /// Hexadecimal, lower case.
    pub sha256: String,
    /// The certificate in PEM.
    pub pem: String,
}

/// A stream. The data path and the guests take turns; neither holds the state while the other runs.
pub struct Stream {
    /// Everything about it.
    pub state: RefCell<StreamState>,
    waker: Cell<Option<Waker>>,
}

/// What there is of a stream so far.
#[derive(Debug)]
pub struct StreamState {
    /// Pseudo-headers first: `:authority`, `:path`, `:method`, `:scheme`.
    pub request: HeaderList,
    /// The authority as the client spelt it, where `:authority` is spelt otherwise.
    pub authority_as_sent: Option<Vec<u8>>,
    /// Empty until they come.
    pub request_trailers: HeaderList,
    /// `:status` first; empty until it comes.
    pub response: HeaderList,
    /// Empty until they come.
    pub response_trailers: HeaderList,
    /// One for each filter, in request order.
    pub slots: Vec<Slot>,
    /// What `proxy_set_property` set: path, value.
    pub properties: Vec<(Vec<u8>, Vec<u8>)>,
    /// The connection it came on.
    pub connection: Rc<ConnectionProperties>,
    /// `HTTP/1.1`, `HTTP/2`; empty for TCP.
    pub protocol: &'static str,
    /// When its first byte came.
    pub started: SystemTime,
    /// Set when the stream ends.
    pub duration: Option<Duration>,
    /// Why it was answered so, for logs.
    pub details: Cow<'static, str>,
    /// Envoy's response flags as a number.
    pub flags: u64,
    /// Bytes of the request's body that have come, and of the response's that were sent to the client, so far.
    pub body_bytes: [u64; 2],
    /// From the start until all of the request had come.
    pub request_ended: Option<Duration>,
    /// From the start until the upstream began to answer.
    pub response_began: Option<Duration>,
    /// Our end of the connection to the upstream.
    pub upstream_local: Option<SocketAddr>,
    /// Why the proxy ended the client's connection, for logs; empty where it did not.
    pub termination_details: String,
    /// The cluster it goes to.
    pub cluster: String,
    /// The route's name, where one is known.
    pub route: String,
    /// The endpoint it went to.
    pub upstream: Option<SocketAddr>,
    /// Why no connection to it came about, in words (`%UPSTREAM_TRANSPORT_FAILURE_REASON%`).
    pub transport_failure: String,
    /// Requests sent upstream for it.
    pub attempts: u32,
    /// The listener's direction: 1 inbound, 2 outbound, 0 neither.
    pub direction: i64,
    /// Whether a guest has edited the request headers since the route was chosen.
    pub reroute: bool,
}

impl StreamState {
    /// A stream at its start.
    pub fn new(request: HeaderList, slots: usize, connection: Rc<ConnectionProperties>, started: SystemTime) -> Self {
        Self {
            request,
            authority_as_sent: None,
            request_trailers: HeaderList::new(),
            response: HeaderList::new(),
            response_trailers: HeaderList::new(),
            slots: std::iter::repeat_with(Slot::default).take(slots).collect(),
            properties: Vec::new(),
            connection,
            protocol: "",
            started,
            duration: None,
            details: Cow::Borrowed(""),
            flags: 0,
            body_bytes: [0; 2],
            request_ended: None,
            response_began: None,
            upstream_local: None,
            termination_details: String::new(),
            cluster: String::new(),
            route: String::new(),
            upstream: None,
            transport_failure: String::new(),
            attempts: 0,
            direction: 0,
            reroute: false,
        }
    }

    /// Has a filter's guest read a part of a body behind what it could read already: how many bytes that are.
    pub(crate) fn make_readable(&mut self, slot: usize, direction: Direction, part: BodyBuffer) -> Option<usize> {
        let body = self.slots.get_mut(slot)?.bodies.get_mut(direction as usize)?;
        body.append(part);
        Some(body.len())
    }

    /// The headers of a direction.
    pub fn headers(&mut self, direction: Direction) -> &mut HeaderList {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    /// The response's status.
    pub fn status(&self) -> Option<u16> {
        // What is no status of three digits has been refused before it got here.
        let digits: &[u8; 3] = self.response.get(":status")?.try_into().ok()?;
        digits.iter().try_fold(0, |status: u16, digit| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            Some(status * 10 + u16::from(digit))
        })
    }

    /// Whether the request is a gRPC call.
    pub fn is_grpc(&self) -> bool {
        let kind = self.request.get("content-type").and_then(|kind| kind.strip_prefix(b"application/grpc"));
        kind.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    }

    /// The gRPC status of the response: from its trailers, else its headers, else as its HTTP status maps. What is no
    /// status of gRPC counts as UNKNOWN.
    pub fn grpc_status(&self) -> Option<u16> {
        let named = self.response_trailers.get("grpc-status").or_else(|| self.response.get("grpc-status"));
        if let Some(status) = named {
            let status = str::from_utf8(status).ok().and_then(|status| status.parse().ok());
            return Some(status.filter(|status| *status <= 16).unwrap_or(2));
        }
        Some(match self.response.get(":status")? {
            b"400" => 13,
            b"401" => 16,
            b"403" => 7,
            b"404" => 12,
            b"429" | b"502" | b"503" | b"504" => 14,
            _ => 2,
        })
    }

    /// The trailers of a direction.
    pub fn trailers(&mut self, direction: Direction) -> &mut HeaderList {
        match direction {
            Direction::Request => &mut self.request_trailers,
            Direction::Response => &mut self.response_trailers,
        }
    }
}

impl Stream {
    /// A stream.
    pub fn new(state: StreamState) -> Rc<Self> {
        Rc::new(Self { state: RefCell::new(state), waker: Cell::new(None) })
    }

    /// Whom to wake when a guest asks for something outside the stream's own callbacks.
    pub fn set_waker(&self, waker: &Waker) {
        let kept = self.waker.take().filter(|kept| kept.will_wake(waker));
        self.waker.set(Some(kept.unwrap_or_else(|| waker.clone())));
    }

    /// Wakes the task that serves the stream.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
