//! One request from its head to the end of its response: client, filters, upstream, all driven by one task.

mod attempt;
mod request;
mod response;

use crate::downstream::HttpManager;
use crate::filter_chain::{Fate, FilteredStream};
use crate::http::{Peer, PeerError};
use crate::proxy_error::ProxyError;
use crate::router::forward::Finding;
use crate::router::route::Route;
use crate::telemetry::ResponseFlags;
use crate::upstream::circuit_breakers::Permit;
use crate::upstream::outlier_detection::Outcome;
use crate::upstream::retry::AttemptFailure;
use crate::upstream::{Chosen, Connecting, UpstreamPeer};
use crate::wasm::{BodyBuffer, Direction};
use crate::worker::{Watch, Worker};
use bytes::Bytes;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The client's end of a stream.
pub(crate) trait Downstream: Peer {
    /// The protocol that the client would upgrade to, if it may.
    fn upgrade(&self) -> Option<&[u8]>;

    /// Bytes as they come from here on: after a 101, or an answered CONNECT.
    fn become_tunnel(&mut self);

    /// The rest of the request will not be read.
    fn abandon_request(&mut self);

    /// Ready when the client has gone; after all of its request has come.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether no more of the response's body is to be read for it now. `drained`: what was read has been handed to it.
    fn holds_back(&mut self, _drained: bool, _: &mut Context<'_>) -> bool {
        false
    }

    /// Cuts the stream off, visibly.
    fn reset(&mut self);
}

/// What the upstream is doing.
enum Attempt {
    /// Nothing yet, or no more.
    None,
    /// Looking up where the request is to go.
    Finding(Finding),
    /// Waiting for the next attempt.
    BackOff(Pin<Box<Sleep>>),
    Connecting(Chosen, Connecting),
    /// The request is on its way, or the response is.
    Active(Chosen, Box<dyn UpstreamPeer>),
}

/// What has been taken of the request, so that it can be sent again.
#[derive(Default)]
struct Replay {
    body: BodyBuffer,
    end: bool,
    trailers: bool,
    /// Too much, or no longer of use.
    lost: bool,
}

/// One request under way.
struct Exchange<'d> {
    worker: Rc<Worker>,
    manager: Rc<HttpManager>,
    filtered: FilteredStream,
    downstream: &'d mut dyn Downstream,
    route: Option<Route>,
    attempt: Attempt,
    tried: Vec<usize>,
    retries: u32,
    /// Counts the retry under way.
    retrying: Option<Permit>,
    replayed_once: bool,
    replay: Replay,
    /// All of the request has come.
    request_ended: bool,
    /// The request headers have passed the filters.
    routed: bool,
    request_alone: bool,
    /// The end of the request has been handed to the upstream.
    upload_done: bool,
    response_begun: bool,
    response_ended: bool,
    tunnel: bool,
    cut_short: CutShort,
    began: Instant,
    timeout: Option<Pin<Box<Sleep>>>,
    client_timeout: Option<Pin<Box<Sleep>>>,
    per_try: Option<Pin<Box<Sleep>>>,
    held: Option<Pin<Box<Sleep>>>,
    flags: ResponseFlags,
}

/// Whether the upstream has cut off its response. What had come of it is sent first: a client that has seen nothing may
/// take its request for one that never arrived, and send it again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CutShort {
    No,
    /// What had come is being sent.
    Sending,
    /// It has been handed over; the task of an HTTP/2 connection is left one turn to write it.
    Sent,
}

/// How an exchange ended, for the connection it was on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Finished {
    /// The response has been sent.
    Complete,
    /// The stream was cut off.
    Reset,
}

/// Serves one request. Its headers are in the filtered stream's state; the filters have not seen them yet.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    manager: Rc<HttpManager>,
    filtered: FilteredStream,
    end: bool,
    downstream: &mut dyn Downstream,
    watch: &Watch,
) -> Finished {
    let began = Instant::now();
    let _counted = manager.stream(manager.is_http2(filtered.stream()));
    let mut exchange = Exchange {
        worker,
        manager,
        filtered,
        downstream,
        route: None,
        attempt: Attempt::None,
        tried: Vec::new(),
        retries: 0,
        retrying: None,
        replayed_once: false,
        replay: Replay::default(),
        request_ended: end,
        routed: false,
        request_alone: end,
        upload_done: false,
        response_begun: false,
        response_ended: false,
        tunnel: false,
        cut_short: CutShort::No,
        began,
        timeout: None,
        client_timeout: None,
        per_try: None,
        held: None,
        flags: ResponseFlags::NONE,
    };
    if end {
        exchange.filtered.stream().state.borrow_mut().request_ended = Some(Duration::ZERO);
    }
    exchange.filtered.headers(Direction::Request, end);
    let finished = poll_fn(|cx| exchange.poll(cx, watch)).await;
    exchange.finish(finished);
    finished
}
impl Exchange<'_> {
    /// Moves everything that can move.
    fn poll(&mut self, cx: &mut Context<'_>, watch: &Watch) -> Poll<Finished> {
        self.filtered.set_waker(cx.waker());
        self.filtered.heed();
        loop {
            if self.filtered.fate() == Fate::Reset {
                return self.cut();
            }
            if self.filtered.fate() == Fate::Replied {
                self.stop_upstream();
            }
            // What it has moved on is looked at in the same round.
            let taken = self.take_request_events(cx);
            let mut moved = self.poll_attempt(cx);
            match self.poll_request_body(cx) {
                Ok(progress) => moved |= progress,
                Err(()) => return self.client_gone(),
            }
            moved |= self.poll_response(cx);
            match self.send_response(cx) {
                Ok(progress) => moved |= progress,
                Err(()) => return self.client_gone(),
            }
            if moved || taken {
                watch.heard();
            }
            let unsettled = match self.filtered.fate() {
                Fate::Open => false,
                Fate::Replied => !self.request_ended || !matches!(self.attempt, Attempt::None),
                Fate::Reset => true,
            };
            if moved || unsettled {
                continue;
            }
            self.arm_held();
            // Last, so that one that has just been set is looked at: until then nobody is woken by it.
            if !self.poll_timers(cx, watch) {
                break;
            }
        }
        if self.is_gone(cx) {
            return self.client_gone();
        }
        self.poll_flush(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Finished> {
        if let Attempt::Active(_, peer) = &mut self.attempt
            && let Poll::Ready(Err(error)) = peer.poll_flush(cx)
            && !self.response_begun
            // Whatever it has said before it closed is read first, and that it has closed is read then.
            && error != PeerError::Closed
        {
            self.attempt_failed(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.downstream.poll_flush(cx) {
            Poll::Ready(Ok(())) if self.response_ended => Poll::Ready(Finished::Complete),
            Poll::Ready(Ok(())) if self.cut_short != CutShort::No => {
                if self.cut_short == CutShort::Sent {
                    return self.cut();
                }
                self.cut_short = CutShort::Sent;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Err(_)) => self.client_gone(),
            _ => Poll::Pending,
        }
    }

    /// Whether time is up for something.
    fn poll_timers(&mut self, cx: &mut Context<'_>, watch: &Watch) -> bool {
        let mut any = false;
        let mut fired = |sleep: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>| {
            let fired = sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
            if fired {
                *sleep = None;
                any = true;
            }
            fired
        };
        let (timeout, client) = (fired(&mut self.timeout, cx), fired(&mut self.client_timeout, cx));
        let (per_try, held) = (fired(&mut self.per_try, cx), fired(&mut self.held, cx));
        // One is enough.
        if client {
            self.give_up(ProxyError::ClientTimeout);
        } else if timeout {
            self.give_up(ProxyError::RouteTimeout);
        } else if per_try && !self.response_begun {
            self.report(Outcome::LocalOriginFailure);
            self.retry_or(AttemptFailure::PerTryTimeout, ProxyError::PerTryTimeout);
        } else if held {
            self.give_up(ProxyError::HeldTooLong);
        }
        if watch.expired(cx.waker()) {
            any = true;
            let error = if self.request_ended { ProxyError::StreamIdle } else { ProxyError::RequestIdle };
            self.give_up(error);
        }
        any
    }

    /// A filter that holds the stream may do so for a time only.
    fn arm_held(&mut self) {
        match (self.filtered.is_held(), &self.held) {
            (true, None) => self.held = Some(Box::pin(tokio::time::sleep(self.manager.pause_limit))),
            (false, Some(_)) => self.held = None,
            _ => {}
        }
    }

    /// A client that leaves is noticed while it waits, so that its work upstream ends. One end of a tunnel may be silent.
    fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let waits = self.request_ended && !self.tunnel && !self.response_ended && self.filtered.fate() == Fate::Open;
        waits && self.downstream.poll_gone(cx).is_ready()
    }

    fn count_body(&self, direction: Direction, bytes: &Bytes) {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if let Some(count) = self.filtered.stream().state.borrow_mut().body_bytes.get_mut(direction as usize) {
            *count = count.saturating_add(size);
        }
    }

    fn stop_timers(&mut self) {
        (self.timeout, self.client_timeout, self.per_try) = (None, None, None);
    }

    fn stop_upstream(&mut self) {
        if !matches!(self.attempt, Attempt::None) {
            // Dropped in the middle, a connection is closed: what the upstream still says has no reader.
            self.attempt = Attempt::None;
            self.stop_timers();
        }
        if !self.request_ended {
            self.request_ended = true;
            self.downstream.abandon_request();
        }
    }

    fn fail(&mut self, error: ProxyError) {
        self.fail_after(error, self.retries > 0);
    }

    /// Answers in place of the upstream.
    fn fail_after(&mut self, error: ProxyError, retried: bool) {
        let (mut reply, flags) = error.reply(retried);
        if let Some(route) = self.route.as_ref().filter(|_| error.is_of_upstream() && !self.response_begun) {
            route.cluster.shared.stats.answered(reply.status);
        }
        if error == ProxyError::ConnectFailure {
            let reason = self.filtered.stream().state.borrow().transport_failure.replace(' ', "_");
            add_reason(&mut reply.details, &reason);
        }
        self.flags = self.flags.and(flags);
        self.attempt = Attempt::None;
        self.held = None;
        self.stop_timers();
        self.filtered.reply(reply);
    }

    /// As [`Self::fail`]; a response that has begun is cut off.
    fn give_up(&mut self, error: ProxyError) {
        if matches!(error, ProxyError::RouteTimeout) {
            self.report(Outcome::LocalOriginFailure);
        }
        self.fail_after(error, false);
    }

    fn client_gone(&mut self) -> Poll<Finished> {
        self.flags = self.flags.and(ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION);
        self.cut()
    }

    fn cut(&mut self) -> Poll<Finished> {
        self.downstream.reset();
        Poll::Ready(Finished::Reset)
    }

    /// The filters log the stream, and the access log gets its line.
    fn finish(self, finished: Finished) {
        let Self { manager, filtered, attempt, mut flags, began, .. } = self;
        if let Attempt::Active(_, peer) = attempt
            && finished == Finished::Complete
        {
            peer.finish();
        }
        let duration = began.elapsed();
        {
            let mut state = filtered.stream().state.borrow_mut();
            state.duration = Some(duration);
            let held = ResponseFlags::of_properties(&state.properties);
            flags = held.and(flags).and(ResponseFlags::of_details(&state.details));
            state.flags = u64::from(flags.bits());
            if finished == Finished::Reset && state.details.is_empty() {
                state.details = "downstream_remote_disconnect".into();
            }
        }
        manager.log(filtered.stream(), flags, duration);
        filtered.finish();
    }
}

/// As Envoy has it: `upstream_reset_before_response_started{remote_connection_failure|why}`.
fn add_reason(details: &mut String, reason: &str) {
    if !reason.is_empty() && details.ends_with('}') {
        details.insert_str(details.len() - 1, &format!("|{reason}"));
    }
}
