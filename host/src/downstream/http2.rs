//! HTTP/2 from clients.

use crate::downstream::http_manager::HttpManager;
use crate::downstream::live_chain::LiveChain;
use crate::downstream::prepare::{prepare, room};
use crate::downstream::refusal::Refusal;
use crate::http::refused::Refused;
use crate::http::{
    FrameBudget, Gathered, Http1Io, Http2Receive, Http2Send, Incoming, Metered, Outbox, Peer, PeerError, Rewound,
    error_of, request_headers, to_response,
};
use crate::router::{Downstream, Finished, serve as serve_request};
use crate::wasm::ConnectionProperties;
use crate::worker::{Watch, Worker, spawn_guarded};
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use http_match::HeaderList;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Receive windows: of a stream, of a connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A connection ends when more streams than this were reset within a time, and more than half of all that began in it
/// (CVE-2023-44487, CVE-2025-8671).
const MAX_RESETS: u32 = 100;
const RESETS_WITHIN: Duration = Duration::from_secs(30);

/// How long a client that is sent away has to hear so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a connection's streams have come to.
struct Tally {
    active: Cell<u32>,
    /// Since when the two below are counted.
    since: Cell<Instant>,
    streams: Cell<u32>,
    resets: Cell<u32>,
    changed: tokio::sync::Notify,
}

/// A stream that counts as active as long as this lives, and as reset unless it is complete by then.
struct Counted {
    tally: Rc<Tally>,
    complete: bool,
}

impl Tally {
    fn new() -> Rc<Self> {
        let (active, streams, resets) = Default::default();
        Rc::new(Self { active, since: Cell::new(Instant::now()), streams, resets, changed: tokio::sync::Notify::new() })
    }

    fn begin(self: &Rc<Self>) -> Counted {
        self.active.set(self.active.get() + 1);
        self.streams.set(self.streams.get().saturating_add(1));
        Counted { tally: self.clone(), complete: false }
    }

    fn reset(&self) {
        if self.since.get().elapsed() > RESETS_WITHIN {
            self.since.set(Instant::now());
            self.streams.set(self.active.get());
            self.resets.set(0);
        }
        self.resets.set(self.resets.get().saturating_add(1));
    }

    fn is_abuse(&self) -> bool {
        self.resets.get() > MAX_RESETS && self.resets.get() > self.streams.get() / 2
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let left = self.tally.active.get().saturating_sub(1);
        self.tally.active.set(left);
        if !self.complete {
            self.tally.reset();
        }
        if !self.complete || left == 0 {
            self.tally.changed.notify_one();
        }
    }
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
    let (gathered, outbox) = Gathered::new(Rewound::from(io));
    let metered = Metered::new(gathered);
    let budget = metered.budget();
    let handshake = builder.handshake(metered);
    let limit = manager.config.timeouts.head.limit().unwrap_or(Duration::MAX);
    let Ok(Ok(connection)) = tokio::time::timeout(limit, handshake).await else { return };
    let (head_watch, tally) = (worker.watch(), Tally::new());
    let worker_of = worker.clone();
    let mut served = Served {
        worker: worker_of,
        chain,
        connection,
        outbox,
        watch,
        head_watch,
        head: None,
        tally,
        budget,
        draining: false,
    };
    loop {
        let idle = manager.config.timeouts.connection_idle.limit().filter(|_| served.tally.active.get() == 0);
        served.watch.arm(idle);
        match served.next().await {
            Next::Stream(request, respond) => {
                let counted = served.tally.begin();
                let stream = (worker.clone(), served.chain.current(), properties.clone(), counted);
                spawn_guarded(&worker, serve_stream(stream, request, respond));
            }
            Next::Tallied => {}
            Next::Abuse(reason) => return served.send_away(&properties, reason).await,
            Next::Drain => {
                served.draining = true;
                served.connection.graceful_shutdown();
            }
            Next::End => return,
        }
    }
}

type Request = http::Request<h2::RecvStream>;

/// A connection being served.
struct Served {
    worker: Rc<Worker>,
    chain: Rc<LiveChain<HttpManager>>,
    connection: Connection<Metered<Gathered<Rewound>>, Bytes>,
    outbox: Outbox<Rewound>,
    watch: Watch,
    /// Of the head that is coming, by its number.
    head_watch: Watch,
    head: Option<u64>,
    tally: Rc<Tally>,
    budget: Rc<FrameBudget>,
    draining: bool,
}

#[expect(clippy::large_enum_variant, reason = "never kept: taken apart where it is returned")]
enum Next {
    Stream(Request, SendResponse<Bytes>),
    /// A stream has ended.
    Tallied,
    /// What the client does is more than anybody needs.
    Abuse(&'static str),
    Drain,
    End,
}

impl Served {
    async fn next(&mut self) -> Next {
        let Self { worker, chain, connection, outbox, watch, head_watch, head, tally, budget, draining } = self;
        let mut drain = std::pin::pin!(chain.draining.changed.notified());
        let mut tallied = std::pin::pin!(tally.changed.notified());
        poll_fn(|cx| {
            let ends = chain.draining.has_begun() || worker.overload.sheds_requests();
            if !*draining && (ends || drain.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Next::Drain);
            }
            if watch.expired(cx.waker()) {
                // A client that was asked to go and does not is not waited for.
                return Poll::Ready(if *draining { Next::End } else { Next::Drain });
            }
            if tallied.as_mut().poll(cx).is_ready() {
                return Poll::Ready(if tally.is_abuse() { Next::Abuse("resets") } else { Next::Tallied });
            }
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => Poll::Ready(Next::Stream(request, respond)),
                Poll::Ready(_) => Poll::Ready(Next::End),
                Poll::Pending if budget.is_spent() => Poll::Ready(Next::Abuse("frames that bring nothing")),
                Poll::Pending => {
                    if let Poll::Ready(Err(_)) = outbox.poll_flush(cx) {
                        return Poll::Ready(Next::End);
                    }
                    // A head has a time in which to come, as in HTTP/1.1; until then nothing else can come either.
                    if *head != budget.unfinished_head() {
                        *head = budget.unfinished_head();
                        head_watch.arm(head.and_then(|_| chain.current().config.timeouts.head.limit()));
                    }
                    match head.is_some() && head_watch.expired(cx.waker()) {
                        true => Poll::Ready(Next::Abuse("head that does not end")),
                        false => Poll::Pending,
                    }
                }
            }
        })
        .await
    }

    async fn send_away(mut self, properties: &ConnectionProperties, reason: &str) {
        tracing::info!(peer = %properties.direct_peer, "a connection is ended for its {reason}");
        self.connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
        // What is left is to say so.
        let _ = tokio::time::timeout(LAST_WORDS, poll_fn(|cx| self.connection.poll_closed(cx))).await;
    }
}

type Surroundings = (Rc<Worker>, Rc<HttpManager>, Rc<ConnectionProperties>, Counted);

async fn serve_stream(stream: Surroundings, request: Request, mut respond: SendResponse<Bytes>) {
    let (worker, manager, connection, mut counted) = stream;
    let (parts, body) = request.into_parts();
    let scheme = if connection.tls_version.is_some() { "https" } else { "http" };
    let read = request_headers(&parts, scheme, &manager.limits).map_err(|refused| (refused, None));
    let prepared = read.and_then(|mut headers| {
        let expects = expects_continue(&headers);
        let admitted = room(&worker)
            .and_then(|()| connect_allowed(&headers, &manager))
            .and_then(|()| prepare(&mut headers, &worker, &manager, &connection));
        match (admitted, expects) {
            (Ok(prepared), Ok(expects)) => Ok((headers, prepared, expects)),
            (Err(refused), _) | (_, Err(refused)) => Err((refused, Some(headers))),
        }
    });
    let finished = match prepared {
        Ok((headers, prepared, expects_continue)) => {
            let head_request = headers.get(":method") == Some(b"HEAD");
            let connect = headers.get(":method") == Some(b"CONNECT");
            let filtered = manager.begin(headers, prepared, "HTTP/2");
            let receive = Http2Receive::new(body, manager.limits);
            let end = receive.is_end() && !connect;
            let expects_continue = expects_continue && !end;
            let mut client = Client { respond, send: None, receive, head_request, expects_continue, ended: false };
            let watch = worker.watch();
            watch.arm(manager.config.timeouts.stream_idle.limit());
            serve_request(worker.clone(), manager, filtered, end, &mut client, &watch).await
        }
        Err((refused, request)) => {
            refuse(&worker, &manager, &mut respond, &connection, request, refused);
            Finished::Complete
        }
    };
    counted.complete = finished == Finished::Complete;
}

fn connect_allowed(headers: &HeaderList, manager: &HttpManager) -> Result<(), Refused> {
    match headers.get(":method") {
        Some(b"CONNECT") if !manager.config.connect => Err(Refused::UPGRADE_FAILED),
        _ => Ok(()),
    }
}

/// Whether the client waits to be told to send its body (RFC 9110 section 10.1.1: there is no other expectation).
fn expects_continue(headers: &HeaderList) -> Result<bool, Refused> {
    let mut expects = false;
    for value in headers.values("expect").filter(|value| !value.is_empty()) {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refused::EXPECTATION);
        }
        expects = true;
    }
    Ok(expects)
}

/// Answers what is not taken, and logs it. `request`: its headers, if they could be read.
fn refuse(
    worker: &Worker,
    manager: &HttpManager,
    respond: &mut SendResponse<Bytes>,
    connection: &Rc<ConnectionProperties>,
    request: Option<HeaderList>,
    refused: Refused,
) {
    let refusal = Refusal::new(worker, request.as_ref(), refused);
    if let Some(response) = to_response(&refusal.headers)
        && let Ok(mut stream) = respond.send_response(response, refusal.body.is_empty())
        && !refusal.body.is_empty()
    {
        // A client that has gone does not miss it.
        let _ = stream.send_data(refusal.body.clone(), true);
    }
    refusal.log(manager, connection, request, "HTTP/2");
}

/// A client's end of one stream.
struct Client {
    respond: SendResponse<Bytes>,
    send: Option<Http2Send>,
    receive: Http2Receive,
    head_request: bool,
    expects_continue: bool,
    ended: bool,
}

impl Peer for Client {
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, PeerError>> {
        if std::mem::take(&mut self.expects_continue) {
            let mut response = http::Response::new(());
            *response.status_mut() = http::StatusCode::CONTINUE;
            // One that sends without being told is read all the same.
            let _ = self.respond.send_informational(response);
        }
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

    // A hundred streams share a connection: each that the client takes nothing from costs one part of a body.
    fn holds_back(&mut self, drained: bool, cx: &mut Context<'_>) -> bool {
        !drained || self.poll_ready(cx).is_pending()
    }

    fn reset(&mut self) {
        match &mut self.send {
            Some(send) => send.reset(),
            None => self.respond.send_reset(h2::Reason::INTERNAL_ERROR),
        }
    }
}
