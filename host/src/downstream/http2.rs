//! HTTP/2 from clients.

use crate::downstream::http_manager::HttpManager;
use crate::downstream::live_chain::LiveChain;
use crate::downstream::prepare::prepare;
use crate::filter_chain::to_events;
use crate::http::refused::Refused;
use crate::http::{
    Http1Io, Http2Receive, Http2Send, Incoming, Peer, PeerError, Rewound, error_of, request_headers, to_response,
};
use crate::router::{Downstream, Finished, serve as serve_request};
use crate::wasm::{ConnectionProperties, LocalReply};
use crate::worker::{Watch, Worker};
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use http_match::HeaderList;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Receive windows: of a stream, of a connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A connection ends when more streams than this were reset, and more than half of all (CVE-2023-44487).
const MAX_RESETS: u32 = 100;

/// What a connection's streams have come to.
#[derive(Default)]
struct Tally {
    active: Cell<u32>,
    streams: Cell<u32>,
    resets: Cell<u32>,
    changed: tokio::sync::Notify,
}

/// Serves the streams of a connection, each in a task of its own.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    chain: Rc<LiveChain<HttpManager>>,
    io: Http1Io,
    properties: Rc<ConnectionProperties>,
    watch: Watch,
) {
    let manager = chain.current();
    let limits = &manager.config.limits;
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(100))
        .max_send_buffer_size(256 << 10);
    let handshake = builder.handshake(Rewound::from(io));
    let limit = manager.config.timeouts.head.limit().unwrap_or(Duration::MAX);
    let Ok(Ok(mut connection)) = tokio::time::timeout(limit, handshake).await else { return };
    let tally = Rc::new(Tally::default());
    let mut draining = false;
    loop {
        let idle = manager.config.timeouts.connection_idle.limit().filter(|_| tally.active.get() == 0);
        watch.arm(idle);
        let event = next(&mut connection, &chain, &watch, &tally, draining).await;
        match event {
            Next::Stream(request, respond) => {
                tally.active.set(tally.active.get() + 1);
                tally.streams.set(tally.streams.get().saturating_add(1));
                let stream = (worker.clone(), chain.current(), properties.clone(), tally.clone());
                tokio::task::spawn_local(serve_stream(stream, request, respond));
            }
            Next::Tallied if is_abuse(&tally) => {
                connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                // What is left is to say so.
                let _ = tokio::time::timeout(Duration::from_secs(1), poll_fn(|cx| connection.poll_closed(cx))).await;
                return;
            }
            Next::Tallied => {}
            Next::Drain => {
                draining = true;
                connection.graceful_shutdown();
            }
            Next::End => return,
        }
    }
}

type Request = http::Request<h2::RecvStream>;

enum Next {
    Stream(Request, SendResponse<Bytes>),
    /// A stream has ended.
    Tallied,
    Drain,
    End,
}

async fn next(
    connection: &mut Connection<Rewound, Bytes>,
    chain: &LiveChain<HttpManager>,
    watch: &Watch,
    tally: &Tally,
    draining: bool,
) -> Next {
    let mut drain = std::pin::pin!(chain.draining.changed.notified());
    let mut tallied = std::pin::pin!(tally.changed.notified());
    poll_fn(|cx| {
        if !draining && (chain.draining.has_begun() || drain.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Next::Drain);
        }
        if watch.expired(cx.waker()) && !draining {
            return Poll::Ready(Next::Drain);
        }
        if tallied.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Next::Tallied);
        }
        match connection.poll_accept(cx) {
            Poll::Ready(Some(Ok((request, respond)))) => Poll::Ready(Next::Stream(request, respond)),
            Poll::Ready(_) => Poll::Ready(Next::End),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn is_abuse(tally: &Tally) -> bool {
    tally.resets.get() > MAX_RESETS && tally.resets.get() > tally.streams.get() / 2
}

type Surroundings = (Rc<Worker>, Rc<HttpManager>, Rc<ConnectionProperties>, Rc<Tally>);

async fn serve_stream(stream: Surroundings, request: Request, mut respond: SendResponse<Bytes>) {
    let (worker, manager, connection, tally) = stream;
    let (parts, body) = request.into_parts();
    let scheme = if connection.tls_version.is_some() { "https" } else { "http" };
    let read = request_headers(&parts, scheme, &manager.limits).map_err(|refused| (refused, None));
    let prepared = read.and_then(|mut headers| {
        if headers.get(":method") == Some(b"CONNECT") && !manager.config.connect {
            return Err((Refused { status: 403, details: "upgrade_failed", body: "" }, Some(headers)));
        }
        match prepare(&mut headers, &worker, &manager, &connection) {
            Ok(properties) => Ok((headers, properties)),
            Err(refused) => Err((refused, Some(headers))),
        }
    });
    let finished = match prepared {
        Ok((headers, properties)) => {
            let head_request = headers.get(":method") == Some(b"HEAD");
            let connect = headers.get(":method") == Some(b"CONNECT");
            let filtered = manager.begin(headers, properties, "HTTP/2");
            let receive = Http2Receive::new(body, manager.limits);
            let end = receive.is_end() && !connect;
            let mut client = Client { respond, send: None, receive, head_request, ended: false };
            let watch = worker.watch();
            watch.arm(manager.config.timeouts.stream_idle.limit());
            serve_request(worker.clone(), manager, filtered, end, &mut client, &watch).await
        }
        Err((refused, request)) => {
            refuse(&manager, &mut respond, &connection, refused, request);
            Finished::Complete
        }
    };
    tally.active.set(tally.active.get().saturating_sub(1));
    if finished == Finished::Reset {
        tally.resets.set(tally.resets.get().saturating_add(1));
    }
    if finished == Finished::Reset || tally.active.get() == 0 {
        tally.changed.notify_one();
    }
}

/// Answers what is not taken, and logs it. `request`: as far as it could be read.
fn refuse(
    manager: &HttpManager,
    respond: &mut SendResponse<Bytes>,
    connection: &Rc<ConnectionProperties>,
    refused: Refused,
    request: Option<HeaderList>,
) {
    let Refused { status, details, body } = refused;
    let reply = LocalReply { status, body: body.into(), details: details.into(), ..LocalReply::default() };
    let (headers, _) = to_events(reply, false, false);
    if let Some(response) = to_response(&headers)
        && let Ok(mut stream) = respond.send_response(response, body.is_empty())
        && !body.is_empty()
    {
        // A client that has gone does not miss it.
        let _ = stream.send_data(Bytes::from_static(body.as_bytes()), true);
    }
    manager.log_refused("HTTP/2", connection, request, headers, refused);
}

/// A client's end of one stream.
struct Client {
    respond: SendResponse<Bytes>,
    send: Option<Http2Send>,
    receive: Http2Receive,
    head_request: bool,
    ended: bool,
}

impl Peer for Client {
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, PeerError>> {
        self.receive.poll_incoming(cx)
    }

    fn send_headers(&mut self, headers: &HeaderList, end: bool) -> Result<(), PeerError> {
        let response = to_response(headers).ok_or(PeerError::Framing)?;
        let bodiless = self.head_request || matches!(headers.get(":status"), Some(b"204" | b"304"));
        let end = end || bodiless;
        let stream = self.respond.send_response(response, end).map_err(|error| error_of(&error))?;
        self.ended = end;
        self.send = Some(Http2Send::new(stream));
        Ok(())
    }

    fn send_data(&mut self, bytes: Bytes, end: bool) -> Result<(), PeerError> {
        if self.ended {
            return Ok(());
        }
        self.send.as_mut().ok_or(PeerError::Framing)?.send_data(bytes, end)
    }

    fn send_trailers(&mut self, trailers: &HeaderList) -> Result<(), PeerError> {
        self.send.as_mut().ok_or(PeerError::Framing)?.send_trailers(trailers)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        match &mut self.send {
            Some(send) if !self.ended => send.poll_ready(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        self.poll_ready(cx)
    }
}

impl Downstream for Client {
    fn upgrade(&self) -> Option<&[u8]> {
        None
    }

    fn become_tunnel(&mut self) {}

    fn abandon_request(&mut self) {}

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.send {
            // Asked as the response is sent.
            Some(_) => Poll::Pending,
            None => self.respond.poll_reset(cx).map(|_| ()),
        }
    }

    fn reset(&mut self) {
        match &mut self.send {
            Some(send) => send.reset(),
            None => self.respond.send_reset(h2::Reason::INTERNAL_ERROR),
        }
    }
}
