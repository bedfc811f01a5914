//! TCP: bytes between a client and an endpoint, through plugins where the chain has any.

mod side;

use crate::downstream::Accepted;
use crate::downstream::tcp_manager::{TcpManager, direction_number};
use crate::filter_chain::{ClosedBy, ConnectionFate, FilteredConnection};
use crate::proxy_error::ProxyError;
use crate::telemetry::{ResponseFlags, TcpConnectionMetrics};
use crate::upstream::outlier_detection::Outcome;
use crate::upstream::{Chosen, Cluster, ConnectFailure, Dialling, Open};
use crate::wasm::{Direction, Stream, StreamState};
use crate::worker::{Watch, Worker};
use bytes::Bytes;
use http_match::HeaderList;
use side::{Read, Side};
use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, Sleep};

/// How long a client that a filter sends away has to take what has passed before; as Envoy's delayed close.
const LINGER: Duration = Duration::from_secs(1);

/// The property in which a filter says why it ends a connection, for the access log.
const TERMINATION_DETAILS: &[u8] = b"outrigger.termination_details";

/// Serves a connection until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, manager: Rc<TcpManager>, accepted: Accepted) {
    let mut connection = Connection::new(worker.clone(), manager, accepted);
    let ending = poll_fn(|cx| connection.poll(cx)).await;
    connection.close(ending).await;
}

/// One connection under way.
struct Connection {
    worker: Rc<Worker>,
    manager: Rc<TcpManager>,
    stream: Rc<Stream>,
    /// None without plugins: then the bytes go from one side to the other as they come.
    filtered: Option<FilteredConnection>,
    downstream: Side,
    upstream: Upstream,
    tried: Vec<usize>,
    watch: Watch,
    held: Option<Pin<Box<Sleep>>>,
    began: Instant,
    counted: TcpConnectionMetrics,
    /// Bytes received and sent that have been counted.
    told: [u64; 2],
    flags: ResponseFlags,
}

/// The way to the endpoint.
enum Upstream {
    /// The filters hold the connection.
    None,
    Dialling(Rc<Cluster>, Chosen, Dialling),
    /// Endpoint and room count as in use as long as the connection lasts.
    Connected {
        side: Side,
        _chosen: Chosen,
        _open: Open,
    },
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    /// Both sides have said all they had to say.
    Complete,
    /// A filter ends it.
    Closed,
    /// It is cut off, so that both sides see it.
    Cut,
}

impl Connection {
    fn new(worker: Rc<Worker>, manager: Rc<TcpManager>, accepted: Accepted) -> Self {
        let Accepted { transport, properties } = accepted;
        let plugins = manager.chain.plugins().len();
        let mut state = StreamState::new(HeaderList::new(), plugins, properties, SystemTime::now());
        state.direction = direction_number(manager.direction);
        state.cluster.clone_from(&manager.config.cluster);
        let counted = manager.telemetry.begin(&state);
        let stream = Stream::new(state);
        let mut filtered = (plugins > 0).then(|| FilteredConnection::new(manager.chain.clone(), stream.clone()));
        if let Some(filtered) = &mut filtered {
            filtered.begin();
        }
        let watch = worker.watch();
        watch.arm(manager.config.idle_timeout.limit());
        Self {
            worker,
            manager,
            stream,
            filtered,
            downstream: Side::new(transport),
            upstream: Upstream::None,
            tried: Vec::new(),
            watch,
            held: None,
            began: Instant::now(),
            counted,
            told: [0; 2],
            flags: ResponseFlags::NONE,
        }
    }

    /// Moves everything that can move.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if let Some(filtered) = &self.filtered {
            filtered.set_waker(cx.waker());
        }
        if let Some(error) = self.timed_out(cx) {
            return Poll::Ready(self.fail(error, false));
        }
        loop {
            let before = self.steps();
            if let Some(filtered) = &mut self.filtered {
                filtered.heed();
            }
            if let Err(ending) = self.poll_upstream(cx) {
                return Poll::Ready(ending);
            }
            self.poll_bytes(cx);
            if let Some(ending) = self.ending() {
                return Poll::Ready(ending);
            }
            if self.steps() == before {
                break;
            }
            self.watch.heard();
        }
        self.count_bytes();
        self.arm_held(cx);
        Poll::Pending
    }

    /// Counts what has been received and sent since: connections may last for days.
    fn count_bytes(&mut self) {
        let [received, sent] = std::mem::replace(&mut self.told, [self.downstream.received, self.downstream.sent]);
        if self.told != [received, sent] {
            self.counted.received(self.downstream.received.saturating_sub(received));
            self.counted.sent(self.downstream.sent.saturating_sub(sent));
        }
    }

    fn timed_out(&mut self, cx: &mut Context<'_>) -> Option<ProxyError> {
        if self.watch.expired(cx.waker()) {
            return Some(ProxyError::StreamIdle);
        }
        let held = self.held.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        held.then_some(ProxyError::HeldTooLong)
    }

    /// A filter may hold a connection for a time only.
    fn arm_held(&mut self, cx: &mut Context<'_>) {
        let is_held = self.filtered.as_ref().is_some_and(FilteredConnection::is_held);
        if !is_held {
            self.held = None;
        } else if self.held.is_none() {
            let mut sleep = Box::pin(tokio::time::sleep(self.manager.pause_limit));
            if sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.held = Some(sleep);
        }
    }

    fn steps(&self) -> u64 {
        let upstream = if let Upstream::Connected { side, .. } = &self.upstream { side.steps + 1 } else { 0 };
        self.downstream.steps + upstream
    }

    /// Connects to an endpoint once the filters let the connection pass, and to another where that fails.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        loop {
            match &mut self.upstream {
                Upstream::None if self.filtered.as_ref().is_none_or(FilteredConnection::has_begun) => self.dial()?,
                Upstream::None | Upstream::Connected { .. } => return Ok(()),
                Upstream::Dialling(_, _, dialling) => {
                    let Poll::Ready(dialled) = dialling.as_mut().poll(cx) else { return Ok(()) };
                    let Upstream::Dialling(cluster, chosen, _) = std::mem::replace(&mut self.upstream, Upstream::None)
                    else {
                        return Ok(());
                    };
                    match dialled {
                        Ok(dialled) => {
                            cluster.report(&chosen, Outcome::LocalOriginSuccess);
                            let side = Side::new(dialled.transport);
                            self.stream.state.borrow_mut().upstream_local = dialled.open.local_address();
                            self.upstream = Upstream::Connected { side, _chosen: chosen, _open: dialled.open };
                        }
                        Err(failure) => self.dial_failed(&cluster, &chosen, failure)?,
                    }
                }
            }
        }
    }

    fn dial(&mut self) -> Result<(), Ending> {
        let Some(cluster) = self.manager.clusters.get(&self.manager.config.cluster).cloned() else {
            return Err(self.fail(ProxyError::NoCluster, false));
        };
        // What Istio hashes of a TCP connection is where it comes from.
        let source = self.stream.state.borrow().connection.source.ip().to_string();
        let worker = self.worker.clone();
        let chosen = cluster.choose_for_bytes(Some(source.as_bytes()), &self.tried, &mut || worker.draw());
        let chosen = chosen.map_err(|error| self.fail(error.into(), false))?;
        {
            let mut state = self.stream.state.borrow_mut();
            state.attempts += 1;
            state.upstream = Some(chosen.active.endpoint().address());
        }
        let dialling = cluster.dial(&chosen).map_err(|error| self.fail(error.into(), false))?;
        self.upstream = Upstream::Dialling(cluster, chosen, dialling);
        Ok(())
    }

    fn dial_failed(&mut self, cluster: &Cluster, chosen: &Chosen, failure: ConnectFailure) -> Result<(), Ending> {
        cluster.report(chosen, Outcome::LocalOriginFailure);
        if let Some(reason) = failure.reason() {
            self.stream.state.borrow_mut().transport_failure = reason;
        }
        self.tried.push(chosen.index);
        if self.tried.len() < self.manager.connect_attempts {
            return Ok(());
        }
        // Envoy says URX with the last failure, also where it was the first.
        Err(self.fail(failure.into(), true))
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) {
        let buffer = &mut *self.worker.buffer.borrow_mut();
        let upstream = match &mut self.upstream {
            Upstream::None => None,
            // What a client says before its connection is there waits in its socket.
            Upstream::Dialling(..) => return,
            Upstream::Connected { side, .. } => Some(side),
        };
        match (&mut self.filtered, upstream) {
            (None, Some(upstream)) => {
                self.downstream.relay(upstream, buffer, cx);
                upstream.relay(&mut self.downstream, buffer, cx);
            }
            (Some(filtered), Some(upstream)) => {
                feed(&mut self.downstream, filtered, Direction::Request, buffer, cx);
                deliver(filtered, Direction::Request, upstream, cx);
                feed(upstream, filtered, Direction::Response, buffer, cx);
                deliver(filtered, Direction::Response, &mut self.downstream, cx);
            }
            (Some(filtered), None) => feed(&mut self.downstream, filtered, Direction::Request, buffer, cx),
            (None, None) => {}
        }
    }

    /// How the connection ends, if it does now.
    fn ending(&mut self) -> Option<Ending> {
        match self.filtered.as_ref().map(FilteredConnection::fate) {
            Some(ConnectionFate::Closed) => return Some(Ending::Closed),
            Some(ConnectionFate::Cut) => return Some(Ending::Cut),
            Some(ConnectionFate::Open) | None => {}
        }
        if self.downstream.is_broken() {
            // As Envoy: once there are two sides, each may end the connection as it likes.
            let flags = match self.upstream {
                Upstream::Connected { .. } => ResponseFlags::NONE,
                Upstream::None | Upstream::Dialling(..) => ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION,
            };
            return Some(self.cut(flags, "downstream_remote_disconnect"));
        }
        let Upstream::Connected { side: upstream, .. } = &self.upstream else { return None };
        if upstream.is_broken() {
            if let Some(filtered) = &mut self.filtered {
                filtered.upstream_reset();
            }
            return Some(self.cut(ResponseFlags::UPSTREAM_REMOTE_RESET, "upstream_remote_disconnect"));
        }
        (upstream.is_complete() && self.downstream.is_complete()).then_some(Ending::Complete)
    }

    /// Ends the connection for a reason of the proxy's own.
    fn fail(&mut self, error: ProxyError, retried: bool) -> Ending {
        let (reply, flags) = error.reply(false);
        let exhausted = if retried { ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED } else { ResponseFlags::NONE };
        self.cut(flags.and(exhausted), reply.details)
    }

    fn cut(&mut self, flags: ResponseFlags, details: impl Into<Cow<'static, str>>) -> Ending {
        self.flags = self.flags.and(flags);
        self.stream.state.borrow_mut().details = details.into();
        Ending::Cut
    }

    /// Closes both sides; the filters log the connection, and the access log gets its line.
    async fn close(mut self, ending: Ending) {
        if let Upstream::Connected { side, .. } = &self.upstream
            && ending != Ending::Complete
        {
            side.cut();
        }
        self.upstream = Upstream::None;
        match ending {
            Ending::Complete => {}
            Ending::Closed => self.flush().await,
            Ending::Cut => self.downstream.cut(),
        }
        self.count_bytes();
        let Self { manager, stream, filtered, downstream, mut counted, flags, began, .. } = self;
        counted.flags = flags;
        let closed_by = match ending {
            Ending::Complete => downstream.closed_by,
            Ending::Cut if downstream.is_broken() => ClosedBy::Remote,
            Ending::Cut | Ending::Closed => ClosedBy::Local,
        };
        let duration = began.elapsed();
        {
            let mut state = stream.state.borrow_mut();
            state.body_bytes = [downstream.received, downstream.sent];
            state.duration = Some(duration);
            state.flags = u64::from(flags.bits());
            if ending == Ending::Closed {
                // Why, if the filter has said so.
                let said = state.properties.iter().find(|(name, _)| name == TERMINATION_DETAILS);
                let said = said.map(|(_, details)| String::from_utf8_lossy(details).into_owned());
                state.termination_details = said.unwrap_or_default();
            }
        }
        drop(downstream);
        manager.telemetry.end(&stream.state.borrow(), flags, duration);
        if let Some(filtered) = filtered {
            filtered.finish(closed_by);
        }
    }

    /// Gives the client what has passed the filters, and the end.
    async fn flush(&mut self) {
        let Some(filtered) = &mut self.filtered else { return };
        while let Some(passed) = filtered.next(Direction::Response) {
            self.downstream.queue(passed.bytes);
        }
        self.downstream.end();
        // Whoever takes nothing is not waited for.
        let _ = tokio::time::timeout(LINGER, poll_fn(|cx| self.downstream.poll_drain(cx))).await;
    }
}

/// Shows the filters what comes from a side, as long as they want more.
fn feed(
    side: &mut Side,
    filtered: &mut FilteredConnection,
    direction: Direction,
    buffer: &mut [u8],
    cx: &mut Context<'_>,
) {
    while filtered.wants(direction) {
        match side.poll_read(buffer, cx) {
            Poll::Ready(Read::Bytes(size)) => {
                let bytes = Bytes::copy_from_slice(buffer.get(..size).unwrap_or_default());
                filtered.data(direction, bytes, false);
            }
            Poll::Ready(Read::End) => filtered.data(direction, Bytes::new(), true),
            Poll::Ready(Read::Broken) | Poll::Pending => return,
        }
    }
}

/// Writes what the filters let through to a side.
fn deliver(filtered: &mut FilteredConnection, direction: Direction, side: &mut Side, cx: &mut Context<'_>) {
    loop {
        while side.takes_more()
            && let Some(passed) = filtered.next(direction)
        {
            side.queue(passed.bytes);
            if passed.end {
                side.end();
            }
        }
        let before = side.sent;
        if side.poll_drain(cx).is_pending() || side.sent == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
