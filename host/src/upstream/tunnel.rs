//! Bytes to an upstream, for CONNECT and TCP.

use crate::http::http1::body::BodyDecoder;
use crate::http::http1::head::{Framing, HeadLimits};
use crate::http::{Http1Io, Incoming, Peer, PeerError, Transport};
use crate::upstream::pool::{Open, UpstreamPeer};
use bytes::{Bytes, BytesMut};
use http_match::HeaderList;
use std::net::SocketAddr;
use std::task::{Context, Poll};

/// A connection that carries bytes. As an answer to CONNECT it is a 200 with a body that lasts until it closes.
pub(crate) struct Tunnel {
    io: Http1Io,
    body: BodyDecoder,
    answered: bool,
    shutdown: bool,
    open: Open,
}

impl Tunnel {
    pub(crate) fn new(transport: Transport, open: Open) -> Self {
        let mut io = Http1Io::new(transport, BytesMut::new());
        io.begin_body(Framing::UntilClose);
        let body = BodyDecoder::new(Framing::UntilClose, HeadLimits::default());
        Self { io, body, answered: false, shutdown: false, open }
    }
}

impl Peer for Tunnel {
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, PeerError>> {
        if !std::mem::replace(&mut self.answered, true) {
            let headers = [(":status", "200")].into_iter().collect();
            return Poll::Ready(Ok(Incoming::Headers { headers, end: false }));
        }
        self.io.poll_body(&mut self.body, cx)
    }

    fn send_headers(&mut self, _: &HeaderList, _: bool) -> Result<(), PeerError> {
        Ok(())
    }

    fn send_data(&mut self, bytes: Bytes, end: bool) -> Result<(), PeerError> {
        self.shutdown |= end;
        self.io.send_data(bytes, false)
    }

    fn send_trailers(&mut self, _: &HeaderList) -> Result<(), PeerError> {
        self.shutdown = true;
        Ok(())
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        self.io.poll_ready(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        match self.shutdown {
            true => self.io.poll_shutdown(cx),
            false => self.io.poll_flush(cx),
        }
    }
}

impl UpstreamPeer for Tunnel {
    fn finish(self: Box<Self>) {}

    fn is_reused(&self) -> bool {
        false
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.open.local_address()
    }
}
