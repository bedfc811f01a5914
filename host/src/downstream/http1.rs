//! HTTP/1.1 from clients.

use crate::downstream::http_manager::HttpManager;
use crate::downstream::live_chain::{Draining, LiveChain};
use crate::downstream::prepare::{prepare, room};
use crate::downstream::refusal::Refusal;
use crate::http::http1::body::BodyDecoder;
use crate::http::http1::encode;
use crate::http::http1::head::{Framing, RequestHead, parse_request};
use crate::http::hygiene;
use crate::http::refused::Refused;
use crate::http::{Http1Io, Incoming, Peer, PeerError};
use crate::router::{Downstream, Finished, serve as serve_request};
use crate::wasm::ConnectionProperties;
use crate::worker::{Watch, Worker};
use bytes::{Buf, Bytes};
use http_match::HeaderList;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How much of a request that nobody reads is read all the same, so that the connection can be kept.
const DRAINED: usize = 64 << 10;

/// How long a connection is read from after its last response, so that the client gets to see it.
const LINGER: Duration = Duration::from_secs(1);

/// Serves the requests of a connection one after the other.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    chain: Rc<LiveChain<HttpManager>>,
    mut io: Http1Io,
    connection: Rc<ConnectionProperties>,
    watch: Watch,
) {
    loop {
        let read = read_head(&chain, &mut io, &connection, &watch).await;
        let manager = chain.current();
        let head = match read {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(refused) => {
                refuse(&worker, &manager, &mut io, &connection, None, refused).await;
                return linger(&mut io).await;
            }
        };
        watch.arm(manager.config.timeouts.stream_idle.limit());
        match serve_one(&worker, &chain, &mut io, &connection, &watch, head).await {
            Next::KeepAlive => {}
            Next::Linger => return linger(&mut io).await,
            Next::Drop => return,
        }
    }
}

/// What becomes of the connection after a response.
enum Next {
    KeepAlive,
    Linger,
    Drop,
}

/// Reads the next head. `None`: the client has gone, or has been silent for too long.
async fn read_head(
    chain: &LiveChain<HttpManager>,
    io: &mut Http1Io,
    connection: &ConnectionProperties,
    watch: &Watch,
) -> Result<Option<RequestHead>, Refused> {
    let scheme = if connection.tls_version.is_some() { "https" } else { "http" };
    let manager = chain.current();
    let timeouts = &manager.config.timeouts;
    let mut begun = !io.read.is_empty();
    watch.arm(if begun { timeouts.head.limit() } else { timeouts.connection_idle.limit() });
    let mut drain = std::pin::pin!(chain.draining.changed.notified());
    poll_fn(|cx| {
        loop {
            if !io.read.is_empty() {
                if let Some((head, size)) = parse_request(&io.read, scheme, &manager.limits)? {
                    io.read.advance(size);
                    return Poll::Ready(Ok(Some(head)));
                }
                if !begun {
                    begun = true;
                    watch.arm(timeouts.head.limit());
                }
            }
            if watch.expired(cx.waker()) {
                return Poll::Ready(if begun { Err(Refused::HEAD_TIMEOUT) } else { Ok(None) });
            }
            if !begun && (chain.draining.has_begun() || drain.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Ok(None));
            }
            if !matches!(ready!(io.poll_fill(cx)), Ok(1..)) {
                return Poll::Ready(Ok(None));
            }
        }
    })
    .await
}

/// Serves one request.
async fn serve_one(
    worker: &Rc<Worker>,
    chain: &LiveChain<HttpManager>,
    io: &mut Http1Io,
    connection: &Rc<ConnectionProperties>,
    watch: &Watch,
    mut head: RequestHead,
) -> Next {
    let manager = &chain.current();
    let admitted = room(worker)
        .and_then(|()| wanted_upgrade(manager, &head))
        .and_then(|upgrade| Ok((upgrade, prepare(&mut head.headers, worker, manager, connection)?)));
    let (upgrade, prepared) = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => {
            refuse(worker, manager, io, connection, Some(head.headers), refused).await;
            return Next::Linger;
        }
    };
    let head_request = head.headers.get(":method") == Some(b"HEAD");
    let filtered = manager.begin(head.headers, prepared, "HTTP/1.1");
    let tunnelled = head.connect || upgrade.is_some();
    let framing = if tunnelled { Framing::UntilClose } else { head.framing };
    let body = BodyDecoder::new(framing, manager.limits);
    let end = body.is_done();
    let mut client = Client {
        worker,
        draining: &chain.draining,
        io,
        body,
        head_request,
        connect: head.connect,
        keep_alive: head.keep_alive,
        expects_continue: head.expect_continue && !end,
        upgrade,
        abandoned: false,
        tunnel: false,
        response_whole: false,
    };
    let finished = serve_request(worker.clone(), manager.clone(), filtered, end, &mut client, watch).await;
    match finished {
        Finished::Reset => Next::Drop,
        Finished::Complete if client.tunnel => Next::Drop,
        Finished::Complete => client.after_response(),
    }
}

/// The protocol a request may upgrade to. One that is not allowed is refused as Envoy does; with a body it cannot be.
fn wanted_upgrade(manager: &HttpManager, head: &RequestHead) -> Result<Option<Vec<u8>>, Refused> {
    if head.connect {
        return if manager.config.connect { Ok(None) } else { Err(Refused::UPGRADE_FAILED) };
    }
    if head.upgrade.is_none() {
        return Ok(None);
    }
    let Some(token) = hygiene::upgrade_token(&head.headers) else { return Ok(None) };
    // Left out rather than obeyed: HTTP/2 is begun with prior knowledge.
    if token.eq_ignore_ascii_case(b"h2c") {
        return Ok(None);
    }
    let allowed = manager.config.upgrades.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(token));
    if !allowed || !matches!(head.framing, Framing::None | Framing::Length(0)) {
        return Err(Refused::UPGRADE_FAILED);
    }
    Ok(Some(token.to_vec()))
}

/// Answers what is not taken, and logs it. `request`: its headers, if they could be read.
async fn refuse(
    worker: &Worker,
    manager: &HttpManager,
    io: &mut Http1Io,
    connection: &Rc<ConnectionProperties>,
    request: Option<HeaderList>,
    refused: Refused,
) {
    let refusal = Refusal::new(worker, request.as_ref(), refused);
    let framing = match request.as_ref().and_then(|request| request.get(":method")) {
        Some(b"HEAD") => Framing::None,
        _ => length(refusal.body.len()),
    };
    if encode::response_head(io.out(), &refusal.headers, framing, true, None).is_ok() {
        io.out().extend_from_slice(&refusal.body);
    }
    refusal.log(manager, connection, request, "HTTP/1.1");
    // Its connection is closed either way.
    let _ = poll_fn(|cx| io.poll_flush(cx)).await;
}

fn length(size: usize) -> Framing {
    Framing::Length(u64::try_from(size).unwrap_or(u64::MAX))
}

/// Closes the writing side and reads on for a moment: closed at once with bytes unread, a connection takes its last
/// response with it.
async fn linger(io: &mut Http1Io) {
    let drained = poll_fn(|cx| {
        if ready!(io.poll_shutdown(cx)).is_err() {
            return Poll::Ready(());
        }
        let mut left = DRAINED;
        loop {
            io.read.clear();
            match ready!(io.poll_fill(cx)) {
                Ok(size) if size > 0 && size < left => left -= size,
                _ => return Poll::Ready(()),
            }
        }
    });
    // Whoever keeps sending is cut off.
    let _ = tokio::time::timeout(LINGER, drained).await;
}

/// A client's end of one request.
struct Client<'c> {
    worker: &'c Worker,
    draining: &'c Draining,
    io: &'c mut Http1Io,
    body: BodyDecoder,
    head_request: bool,
    connect: bool,
    keep_alive: bool,
    expects_continue: bool,
    upgrade: Option<Vec<u8>>,
    abandoned: bool,
    tunnel: bool,
    response_whole: bool,
}

impl Client<'_> {
    /// What becomes of the connection: kept when both messages are whole, a little of the request being read over.
    fn after_response(self) -> Next {
        if !self.keep_alive || !self.response_whole {
            return Next::Linger;
        }
        if !self.body.is_done() {
            return Next::Linger;
        }
        self.io.relax();
        Next::KeepAlive
    }

    /// How a response's body is framed, and what its headers say of the connection.
    fn framing(&self, headers: &HeaderList, status: &[u8], end: bool) -> Result<Framing, PeerError> {
        if self.head_request || status == b"204" || status == b"304" || status.first() == Some(&b'1') {
            return Ok(Framing::None);
        }
        if self.connect && status.first() == Some(&b'2') {
            return Ok(Framing::None);
        }
        if end {
            return Ok(Framing::Length(0));
        }
        let Some(length) = headers.get("content-length") else {
            return Ok(Framing::Chunked);
        };
        let length = str::from_utf8(length).ok().and_then(|length| length.parse().ok());
        length.map(Framing::Length).ok_or(PeerError::Framing)
    }
}

impl Peer for Client<'_> {
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, PeerError>> {
        if std::mem::take(&mut self.expects_continue) && self.io.read.is_empty() {
            self.io.out().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            if let Poll::Ready(Err(error)) = self.io.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
        }
        if (self.connect || self.upgrade.is_some()) && !self.tunnel {
            return Poll::Pending;
        }
        self.io.poll_body(&mut self.body, cx)
    }

    fn send_headers(&mut self, headers: &HeaderList, end: bool) -> Result<(), PeerError> {
        let status = headers.get(":status").unwrap_or_default();
        let framing = self.framing(headers, status, end)?;
        let upgrade = self.upgrade.as_deref().filter(|_| status == b"101");
        // With a request that is not read to its end the next one could not be found.
        let whole = self.body.is_done() || self.tunnel;
        let ends = self.draining.has_begun() || self.worker.overload.sheds_requests();
        self.keep_alive &= (whole || !self.abandoned) && !ends;
        let close = !self.keep_alive && upgrade.is_none() && !self.tunnel;
        encode::response_head(self.io.out(), headers, framing, close, upgrade).map_err(|_| PeerError::Framing)?;
        self.io.begin_body(if self.tunnel { Framing::UntilClose } else { framing });
        self.response_whole = end || self.io.body_complete();
        Ok(())
    }

    fn send_data(&mut self, bytes: Bytes, end: bool) -> Result<(), PeerError> {
        self.response_whole |= end;
        self.io.send_data(bytes, end)
    }

    fn send_trailers(&mut self, trailers: &HeaderList) -> Result<(), PeerError> {
        self.response_whole = true;
        self.io.send_trailers(trailers)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        self.io.poll_ready(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        self.io.poll_flush(cx)
    }
}

impl Downstream for Client<'_> {
    fn upgrade(&self) -> Option<&[u8]> {
        self.upgrade.as_deref()
    }

    fn become_tunnel(&mut self) {
        self.tunnel = true;
    }

    fn abandon_request(&mut self) {
        self.abandoned = true;
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What a client sends ahead waits; only so much of it is taken.
        while self.io.read.len() < DRAINED {
            match ready!(self.io.poll_fill(cx)) {
                Ok(size) if size > 0 => {}
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    // The connection is closed without the end that the client expects.
    fn reset(&mut self) {}
}
