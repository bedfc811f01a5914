//! HTTP/2 to an upstream: many streams on one connection.

use crate::http::http1::head::HeadLimits;
use crate::http::refused::Refused;
use crate::http::{Gathered, Http2Receive, Http2Send, Incoming, Outbox, Peer, PeerError, Transport};
use crate::http::{response_headers, to_request};
use crate::upstream::http1::MAX_INTERIM;
use crate::upstream::pool::{ConnectFailure, Open, UpstreamPeer};
use bytes::Bytes;
use h2::client::{Connection, ResponseFuture, SendRequest};
use http_match::HeaderList;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Receive windows: of a stream, of a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A connection; its frames are read and written by a task of its own.
#[derive(Clone)]
pub(crate) struct Http2Connection {
    requests: SendRequest<Bytes>,
    server_name: Option<Rc<str>>,
    state: Rc<State>,
}

struct State {
    open: Cell<bool>,
    streams: Cell<usize>,
    local: Option<SocketAddr>,
}

impl Http2Connection {
    pub(crate) async fn handshake(
        transport: Transport,
        open: Open,
        server_name: Option<Rc<str>>,
    ) -> Result<Self, ConnectFailure> {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(60 << 10)
            .enable_push(false);
        let (gathered, outbox) = Gathered::new(transport);
        let shaken = builder.handshake::<_, Bytes>(gathered).await;
        let (requests, connection) = shaken.map_err(|_| ConnectFailure::Refused)?;
        let state = Rc::new(State { open: Cell::new(true), streams: Cell::new(0), local: open.local_address() });
        tokio::task::spawn_local(drive(connection, outbox, state.clone(), open));
        Ok(Self { requests, server_name, state })
    }

    pub(crate) fn server_name(&self) -> &Option<Rc<str>> {
        &self.server_name
    }

    /// Whether streams can still be opened.
    pub(crate) fn is_open(&self) -> bool {
        self.state.open.get()
    }

    /// Whether the other side allows one more stream.
    pub(crate) fn has_room(&self) -> bool {
        self.state.streams.get() < self.requests.current_max_send_streams()
    }
}

async fn drive(
    mut connection: Connection<Gathered<Transport>, Bytes>,
    outbox: Outbox<Transport>,
    state: Rc<State>,
    open: Open,
) {
    // Its streams are told what ended it.
    poll_fn(|cx| {
        let ended = Pin::new(&mut connection).poll(cx);
        let broken = matches!(outbox.poll_flush(cx), Poll::Ready(Err(_)));
        if broken || ended.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    state.open.set(false);
    drop(open);
}

/// One request's end of a connection.
pub(crate) struct Http2Upstream {
    connection: Http2Connection,
    reused: bool,
    limits: HeadLimits,
    response: Option<ResponseFuture>,
    send: Option<Http2Send>,
    receive: Option<Http2Receive>,
    interim: u32,
}

impl Http2Upstream {
    pub(crate) fn new(connection: Http2Connection, reused: bool, limits: HeadLimits) -> Self {
        connection.state.streams.set(connection.state.streams.get() + 1);
        Self { connection, reused, limits, response: None, send: None, receive: None, interim: 0 }
    }

    fn read_over_interim(&mut self, cx: &mut Context<'_>) -> Result<(), PeerError> {
        let Some(response) = &mut self.response else { return Ok(()) };
        while let Poll::Ready(Some(Ok(_))) = response.poll_informational(cx) {
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(PeerError::Protocol(Refused::CODEC_ERROR.by_upstream()));
            }
        }
        Ok(())
    }
}

impl Drop for Http2Upstream {
    fn drop(&mut self) {
        let streams = &self.connection.state.streams;
        streams.set(streams.get().saturating_sub(1));
    }
}

impl Peer for Http2Upstream {
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, PeerError>> {
        if let Some(receive) = &mut self.receive {
            return receive.poll_incoming(cx);
        }
        self.read_over_interim(cx)?;
        let Some(response) = &mut self.response else { return Poll::Pending };
        let answered = ready!(Pin::new(response).poll(cx));
        let (parts, body) = answered.map_err(|error| crate::http::error_of(&error))?.into_parts();
        let headers = response_headers(&parts).map_err(PeerError::Protocol)?;
        let receive = Http2Receive::new(body, self.limits);
        let end = receive.is_end();
        self.receive = Some(receive);
        Poll::Ready(Ok(Incoming::Headers { headers, end }))
    }

    fn send_headers(&mut self, headers: &HeaderList, end: bool) -> Result<(), PeerError> {
        let request = to_request(headers).ok_or(PeerError::Protocol(Refused::CODEC_ERROR))?;
        let sent = self.connection.requests.send_request(request, end);
        let (response, send) = sent.map_err(|error| crate::http::error_of(&error))?;
        self.response = Some(response);
        self.send = Some(Http2Send::new(send));
        Ok(())
    }

    fn send_data(&mut self, bytes: Bytes, end: bool) -> Result<(), PeerError> {
        self.send.as_mut().ok_or(PeerError::Framing)?.send_data(bytes, end)
    }

    fn send_trailers(&mut self, trailers: &HeaderList) -> Result<(), PeerError> {
        self.send.as_mut().ok_or(PeerError::Framing)?.send_trailers(trailers)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        match &mut self.send {
            Some(send) => send.poll_ready(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        self.poll_ready(cx)
    }
}

impl UpstreamPeer for Http2Upstream {
    // Dropping the halves of a stream that has not ended resets it.
    fn finish(self: Box<Self>) {}

    fn is_reused(&self) -> bool {
        self.reused
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.connection.state.local
    }
}
