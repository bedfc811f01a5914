//! HTTP/1.1 to an upstream.

use crate::http::http1::body::BodyDecoder;
use crate::http::http1::encode;
use crate::http::http1::head::{Framing, HeadLimits, parse_response};
use crate::http::hygiene;
use crate::http::refused::Refused;
use crate::http::{Http1Io, Incoming, Peer, PeerError, Transport};
use crate::upstream::pool::{EndpointPool, Open, UpstreamPeer, Wanted};
use bytes::{Buf, Bytes, BytesMut};
use http_match::HeaderList;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// Interim responses that are read over before an upstream is taken for broken.
pub(super) const MAX_INTERIM: u32 = 16;

/// A connection that is not in use.
pub(crate) struct Http1Connection {
    io: Http1Io,
    requests: u32,
    server_name: Option<Rc<str>>,
    open: Open,
}

impl Http1Connection {
    pub(crate) fn new(transport: Transport, open: Open, server_name: Option<Rc<str>>) -> Self {
        Self { io: Http1Io::new(transport, BytesMut::new()), requests: 0, server_name, open }
    }

    pub(crate) fn server_name(&self) -> &Option<Rc<str>> {
        &self.server_name
    }

    /// The connection, unless it has ended or the other side has said something unasked.
    pub(crate) fn still_good(mut self) -> Option<Self> {
        let quiet = self.io.poll_fill(&mut Context::from_waker(Waker::noop())).is_pending();
        quiet.then_some(self)
    }

    pub(crate) fn relax(&mut self) {
        self.io.relax();
    }
}

/// One request's end of a connection.
pub(crate) struct Http1Upstream {
    connection: Http1Connection,
    pool: Rc<EndpointPool>,
    wanted: Wanted,
    method: SmallVec<[u8; 8]>,
    body: Option<BodyDecoder>,
    keep_alive: bool,
    interim: u32,
    tunnel: bool,
    /// Of a tunnel: nothing more will be sent.
    shutdown: bool,
}

impl Http1Upstream {
    pub(crate) fn new(mut connection: Http1Connection, pool: Rc<EndpointPool>, wanted: Wanted) -> Self {
        connection.requests = connection.requests.saturating_add(1);
        let method = SmallVec::new();
        let (body, keep_alive, interim, tunnel, shutdown) = Default::default();
        Self { connection, pool, wanted, method, body, keep_alive, interim, tunnel, shutdown }
    }

    /// Whether a 101 is to the protocol that the client has asked for.
    fn is_wanted_upgrade(&self, headers: &HeaderList) -> bool {
        let wanted = self.wanted.upgrade.as_deref();
        wanted.zip(hygiene::upgrade_token(headers)).is_some_and(|(wanted, token)| wanted.eq_ignore_ascii_case(token))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, PeerError>> {
        loop {
            let io = &mut self.connection.io;
            let parsed = parse_response(&io.read, &self.method, &self.wanted.limits);
            let Some((head, size)) = parsed.map_err(PeerError::Protocol)? else {
                if ready!(io.poll_fill(cx))? == 0 {
                    return Poll::Ready(Err(PeerError::Closed));
                }
                continue;
            };
            io.read.advance(size);
            let upgraded = head.status == 101;
            if upgraded && !self.is_wanted_upgrade(&head.headers) {
                return Poll::Ready(Err(PeerError::Protocol(Refused::CODEC_ERROR)));
            }
            if head.status < 200 && !upgraded {
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Poll::Ready(Err(PeerError::Protocol(Refused::CODEC_ERROR)));
                }
                continue;
            }
            self.keep_alive = head.keep_alive && !upgraded;
            let decoder = BodyDecoder::new(head.framing, self.wanted.limits);
            let end = decoder.is_done() && !upgraded;
            self.body = Some(decoder);
            return Poll::Ready(Ok(Incoming::Headers { headers: head.headers, end }));
        }
    }
}

impl Peer for Http1Upstream {
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, PeerError>> {
        match &mut self.body {
            // Envoy's parser calls a message without its end a fault, whoever has ended the connection.
            Some(decoder) => self.connection.io.poll_body(decoder, cx).map_err(|error| match error {
                PeerError::Closed => PeerError::Protocol(Refused::CODEC_ERROR),
                other => other,
            }),
            None => self.poll_head(cx),
        }
    }

    fn send_headers(&mut self, headers: &HeaderList, end: bool) -> Result<(), PeerError> {
        self.method = SmallVec::from_slice(headers.get(":method").unwrap_or_default());
        let framing = framing(headers, &self.method, end, self.wanted.upgrade.is_some())?;
        let io = &mut self.connection.io;
        encode::request_head(io.out(), headers, framing, self.wanted.upgrade.as_deref())
            .map_err(|_| PeerError::Framing)?;
        io.begin_body(framing);
        Ok(())
    }

    fn send_data(&mut self, bytes: Bytes, end: bool) -> Result<(), PeerError> {
        self.shutdown |= end && self.tunnel;
        self.connection.io.send_data(bytes, end)
    }

    fn send_trailers(&mut self, trailers: &HeaderList) -> Result<(), PeerError> {
        self.connection.io.send_trailers(trailers)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        self.connection.io.poll_ready(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        match self.shutdown {
            true => self.connection.io.poll_shutdown(cx),
            false => self.connection.io.poll_flush(cx),
        }
    }
}

impl UpstreamPeer for Http1Upstream {
    fn finish(mut self: Box<Self>) {
        let io = &mut self.connection.io;
        // Dirty connections are never used again: an unfinished message either way, or bytes after the response.
        let whole = self.body.as_ref().is_some_and(BodyDecoder::is_done) && io.body_complete();
        let flushed = io.poll_flush(&mut Context::from_waker(Waker::noop())).is_ready();
        let clean = io.read.is_empty() && !io.ended && !self.tunnel;
        let this = *self;
        if whole && flushed && clean && this.keep_alive && this.pool.may_reuse(this.connection.requests) {
            this.pool.put_back(this.connection);
        }
    }

    fn is_reused(&self) -> bool {
        self.connection.requests > 1
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.connection.open.local_address()
    }

    fn become_tunnel(&mut self) {
        self.tunnel = true;
        self.body = Some(BodyDecoder::new(Framing::UntilClose, self.wanted.limits));
        self.connection.io.begin_body(Framing::UntilClose);
    }
}

/// How a request's body is framed: by its length where that is known, else in chunks.
fn framing(headers: &HeaderList, method: &[u8], end: bool, upgrade: bool) -> Result<Framing, PeerError> {
    if end || upgrade {
        let says_so = matches!(method, b"POST" | b"PUT" | b"PATCH");
        return Ok(if says_so && !upgrade { Framing::Length(0) } else { Framing::None });
    }
    match headers.get("content-length") {
        None => Ok(Framing::Chunked),
        Some(length) => {
            let length = str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            length.map(Framing::Length).ok_or(PeerError::Framing)
        }
    }
}

/// Limits on what an upstream may answer, where none are configured.
impl Wanted {
    pub(crate) fn plain() -> Self {
        Self { http2: false, tunnel: false, upgrade: None, limits: HeadLimits::default(), server_name: None }
    }
}
