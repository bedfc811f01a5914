//! One request from its head to the end of its response: client, filters, upstream, all driven by one task.

use crate::downstream::HttpManager;
use crate::filter_chain::{Event, Fate, FilteredStream};
use crate::http::hygiene;
use crate::http::repeated::join_response;
use crate::http::{Incoming, Peer, PeerError, validate};
use crate::proxy_error::ProxyError;
use crate::router::forward::{self, Finding};
use crate::router::route::{Route, restore_authority, strip_control};
use crate::telemetry::ResponseFlags;
use crate::upstream::circuit_breakers::Permit;
use crate::upstream::outlier_detection::Outcome;
use crate::upstream::retry::AttemptFailure;
use crate::upstream::{Acquired, Chosen, ConnectFailure, Connecting, Unavailable, UpstreamPeer, Wanted};
use crate::wasm::{BodyBuffer, Direction};
use crate::worker::{Watch, Worker};
use bytes::Bytes;
use http_match::HeaderList;
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

    /// Takes what the filters let through of the request.
    fn take_request_events(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while self.takes_request(cx) {
            let Some(event) = self.filtered.next(Direction::Request) else { break };
            moved = true;
            match event {
                Event::Headers { end } => self.begin(end),
                Event::Data { bytes, end } => self.upload(bytes, end),
                Event::Trailers => self.upload_trailers(),
            }
        }
        moved
    }

    /// Whether the upstream's side takes more of the request now: always its headers, bodies as it is ready.
    fn takes_request(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.routed {
            return true;
        }
        match &mut self.attempt {
            Attempt::Active(_, peer) => matches!(peer.poll_ready(cx), Poll::Ready(Ok(()))),
            _ => false,
        }
    }

    /// The request has passed the filters: it is sent on its way.
    fn begin(&mut self, end: bool) {
        self.routed = true;
        self.request_alone = end;
        self.replay.end = end;
        let route = {
            let mut state = self.filtered.stream().state.borrow_mut();
            let (authority, secure) = (state.authority_as_sent.take(), state.connection.tls_version.is_some());
            let headers = &mut state.request;
            if headers.get(":path").is_none() && headers.get(":method") != Some(b"CONNECT") {
                Err(ProxyError::NoRoute)
            } else {
                let destination = &self.manager.config.destination;
                let route = Route::of(headers, destination, &self.manager.clusters, &self.manager.retry);
                strip_control(headers, destination);
                if let Ok(route) = &route {
                    route.tell_upstream(headers);
                }
                if let Some(authority) = &authority {
                    restore_authority(headers, authority, secure);
                }
                route.and_then(|route| match validate::request(headers, &self.manager.after_filters) {
                    Ok(()) => Ok(route),
                    Err(_) => Err(ProxyError::InvalidRequest),
                })
            }
        };
        match route {
            Ok(route) => {
                let mut state = self.filtered.stream().state.borrow_mut();
                state.cluster.clone_from(&route.cluster.shared.config.name);
                drop(state);
                let deadline = route.client_timeout.map(|limit| self.began + limit);
                self.client_timeout = deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
                let forwards = route.cluster.shared.config.dynamic_forward;
                self.route = Some(route);
                if end {
                    self.start_timeout();
                }
                match forwards {
                    true => {
                        self.attempt =
                            Attempt::Finding(forward::find(&self.filtered.stream().state.borrow(), &self.worker.lookup))
                    }
                    false => self.start_attempt(),
                }
            }
            Err(error) => self.fail(error),
        }
    }

    /// The time for a request counts from when all of it has come.
    fn start_timeout(&mut self) {
        if let Some(limit) = self.route.as_ref().and_then(|route| route.timeout)
            && self.timeout.is_none()
        {
            self.timeout = Some(Box::pin(tokio::time::sleep(limit)));
        }
    }

    fn start_attempt(&mut self) {
        let Some(route) = &self.route else { return };
        let avoid: &[usize] = if route.key.is_some() { &[] } else { &self.tried };
        let chosen = route.cluster.choose(route.key.as_deref(), avoid, &mut || self.worker.draw());
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => return self.fail(unavailable(error)),
        };
        if self.retries > 0 {
            route.cluster.shared.stats.retries.add(1);
        }
        let (connect, server_name) = {
            let mut state = self.filtered.stream().state.borrow_mut();
            state.attempts += 1;
            state.upstream = Some(chosen.active.endpoint().address());
            state.transport_failure.clear();
            let request = &state.request;
            let server_name = route.cluster.shared.asked_name(request.get(":authority"));
            (request.get(":method") == Some(b"CONNECT"), server_name)
        };
        let wanted = Wanted {
            http2: self.manager.is_http2(self.filtered.stream()),
            tunnel: connect,
            upgrade: self.downstream.upgrade().map(<[u8]>::to_vec),
            limits: self.manager.limits,
            server_name,
        };
        if let Some(limit) = route.retry.per_try_timeout {
            self.per_try = Some(Box::pin(tokio::time::sleep(limit)));
        }
        match route.cluster.acquire(&chosen, wanted) {
            Acquired::Ready(peer) => self.send_request(chosen, peer),
            Acquired::Pending(connecting) => self.attempt = Attempt::Connecting(chosen, connecting),
            Acquired::Refused(error) => self.fail(unavailable(error)),
        }
    }

    /// Sends the head, and what has been taken of the body before.
    fn send_request(&mut self, chosen: Chosen, mut peer: Box<dyn UpstreamPeer>) {
        let sent = {
            let mut state = self.filtered.stream().state.borrow_mut();
            state.upstream_local = peer.local_address();
            if self.manager.counts_attempts() {
                let attempts = state.attempts;
                state.request.set("x-envoy-attempt-count", itoa::Buffer::new().format(attempts).as_bytes());
            }
            peer.send_headers(&state.request, self.request_alone)
        };
        self.attempt = Attempt::Active(chosen, peer);
        if sent.is_err() {
            return self.fail(ProxyError::InvalidRequest);
        }
        self.upload_done = self.request_alone;
        if self.request_alone || self.replay.lost {
            return;
        }
        let (body, end, trailers) = (self.replay.body.clone(), self.replay.end, self.replay.trailers);
        let body = body.into_bytes();
        if !body.is_empty() || end {
            self.forward(body, end && !trailers);
        }
        if trailers {
            self.forward_trailers();
        }
    }

    fn upload(&mut self, bytes: Bytes, end: bool) {
        if end {
            self.start_timeout();
        }
        if !self.replay.lost {
            self.replay.body.push(bytes.clone());
            self.replay.end = end;
            if self.replay.body.len() > self.manager.config.limits.retry_body || self.tunnel {
                self.lose_replay();
            }
        }
        self.forward(bytes, end);
    }

    fn upload_trailers(&mut self) {
        self.start_timeout();
        self.replay.trailers = true;
        self.replay.end = true;
        self.forward_trailers();
    }

    fn forward(&mut self, bytes: Bytes, end: bool) {
        let Attempt::Active(_, peer) = &mut self.attempt else { return };
        self.upload_done |= end;
        if peer.send_data(bytes, end).is_err() {
            self.give_up(ProxyError::InvalidRequest);
        }
    }

    fn forward_trailers(&mut self) {
        let mut trailers = std::mem::take(&mut self.filtered.stream().state.borrow_mut().request_trailers);
        hygiene::strip_trailers(&mut trailers);
        let valid = validate::trailers(&trailers, &self.manager.after_filters).is_ok();
        if let Attempt::Active(_, peer) = &mut self.attempt {
            self.upload_done = true;
            if !valid || peer.send_trailers(&trailers).is_err() {
                return self.give_up(ProxyError::InvalidRequest);
            }
        }
        self.filtered.stream().state.borrow_mut().request_trailers = trailers;
    }

    fn lose_replay(&mut self) {
        self.replay.lost = true;
        self.replay.body = BodyBuffer::default();
    }

    /// Moves an attempt that waits for a connection, or for its turn.
    fn poll_attempt(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.attempt {
            Attempt::Finding(finding) => {
                let Poll::Ready(found) = finding.as_mut().poll(cx) else { return false };
                self.attempt = Attempt::None;
                match (found, &mut self.route) {
                    (Ok(address), Some(route)) => {
                        route.cluster = route.cluster.at(address);
                        self.start_attempt();
                    }
                    (Err(error), _) => self.fail(error),
                    (Ok(_), None) => {}
                }
                true
            }
            Attempt::BackOff(sleep) => {
                if sleep.as_mut().poll(cx).is_pending() {
                    return false;
                }
                self.attempt = Attempt::None;
                self.start_attempt();
                true
            }
            Attempt::Connecting(_, connecting) => {
                let Poll::Ready(connected) = connecting.as_mut().poll(cx) else { return false };
                let Attempt::Connecting(chosen, _) = std::mem::replace(&mut self.attempt, Attempt::None) else {
                    return false;
                };
                match connected {
                    Ok(peer) => self.send_request(chosen, peer),
                    Err(failure) => self.connect_failed(&chosen, failure),
                }
                true
            }
            _ => false,
        }
    }

    fn connect_failed(&mut self, chosen: &Chosen, failure: ConnectFailure) {
        if failure == ConnectFailure::Overflow {
            return self.fail(failure.into());
        }
        if let Some(reason) = failure.reason() {
            self.filtered.stream().state.borrow_mut().transport_failure = reason;
        }
        if let Some(route) = &self.route {
            route.cluster.report(chosen, Outcome::LocalOriginFailure);
        }
        self.tried.push(chosen.index);
        self.retry_or(AttemptFailure::ConnectFailure, failure.into());
    }

    /// Reads more of the request, as far as it is wanted.
    fn poll_request_body(&mut self, cx: &mut Context<'_>) -> Result<bool, ()> {
        let mut moved = false;
        while !self.request_ended && self.filtered.fate() == Fate::Open && self.filtered.wants(Direction::Request) {
            let Poll::Ready(incoming) = self.downstream.poll_incoming(cx) else { break };
            moved = true;
            match incoming {
                Ok(Incoming::Data { bytes, end }) => {
                    self.count_body(Direction::Request, &bytes);
                    if end {
                        self.request_ended = true;
                        self.note_request_end();
                    }
                    self.filtered.data(Direction::Request, bytes, end);
                }
                Ok(Incoming::Trailers(mut trailers)) => {
                    self.request_ended = true;
                    self.note_request_end();
                    hygiene::strip_trailers(&mut trailers);
                    self.filtered.stream().state.borrow_mut().request_trailers = trailers;
                    self.filtered.trailers(Direction::Request);
                }
                Ok(Incoming::End) => {
                    self.request_ended = true;
                    self.note_request_end();
                    self.filtered.data(Direction::Request, Bytes::new(), true);
                }
                Ok(Incoming::Headers { .. }) => {}
                Err(PeerError::Protocol(refused)) if !self.response_begun => {
                    self.request_ended = true;
                    self.downstream.abandon_request();
                    self.flags = self.flags.and(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR);
                    self.filtered.reply(crate::filter_chain::HostReply {
                        status: refused.status,
                        body: refused.body.into(),
                        details: refused.details.into(),
                        headers: Vec::new(),
                        grpc_status: None,
                    });
                }
                Err(_) => return Err(()),
            }
        }
        Ok(moved)
    }

    /// A client that leaves is noticed while it waits, so that its work upstream ends. One end of a tunnel may be silent.
    fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let waits = self.request_ended && !self.tunnel && !self.response_ended && self.filtered.fate() == Fate::Open;
        waits && self.downstream.poll_gone(cx).is_ready()
    }

    fn note_request_end(&self) {
        self.filtered.stream().state.borrow_mut().request_ended = Some(self.began.elapsed());
    }

    fn count_body(&self, direction: Direction, bytes: &Bytes) {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if let Some(count) = self.filtered.stream().state.borrow_mut().body_bytes.get_mut(direction as usize) {
            *count = count.saturating_add(size);
        }
    }

    /// Reads more of the response, as far as it is wanted.
    fn poll_response(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while self.filtered.fate() == Fate::Open && self.filtered.wants(Direction::Response) {
            let Attempt::Active(_, peer) = &mut self.attempt else { break };
            if self.response_begun && self.downstream.holds_back(self.filtered.is_drained(Direction::Response), cx) {
                break;
            }
            let Poll::Ready(incoming) = peer.poll_incoming(cx) else { break };
            moved = true;
            match incoming {
                Ok(Incoming::Headers { headers, end }) => self.response_headers(headers, end),
                Ok(Incoming::Data { bytes, end }) => {
                    if end {
                        self.upstream_done();
                    }
                    self.filtered.data(Direction::Response, bytes, end);
                }
                Ok(Incoming::Trailers(mut trailers)) => {
                    hygiene::strip_trailers(&mut trailers);
                    self.filtered.stream().state.borrow_mut().response_trailers = trailers;
                    self.upstream_done();
                    self.filtered.trailers(Direction::Response);
                }
                Ok(Incoming::End) => {
                    self.upstream_done();
                    self.filtered.data(Direction::Response, Bytes::new(), true);
                }
                Err(error) => self.attempt_failed(error),
            }
        }
        moved
    }

    fn response_headers(&mut self, mut headers: HeaderList, end: bool) {
        let status = headers.get(":status").and_then(|status| str::from_utf8(status).ok()?.parse().ok()).unwrap_or(0);
        self.report(Outcome::Status(status));
        if self.retries_left()
            && self.route.as_ref().is_some_and(|route| route.retry.should_retry_answer(status, &headers))
            && self.try_again()
        {
            return;
        }
        if let Some(route) = &self.route {
            route.cluster.shared.stats.answered(status);
        }
        self.response_begun = true;
        self.per_try = None;
        self.lose_replay();
        let upgraded = status == 101 || (self.is_connect() && (200..300).contains(&status));
        hygiene::strip_hop_by_hop_response(&mut headers);
        join_response(&mut headers);
        if self.retries > 0 && self.exhausted_on(status, &headers) {
            self.flags = self.flags.and(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
        }
        let elapsed = self.began.elapsed();
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        headers.append(b"x-envoy-upstream-service-time", itoa::Buffer::new().format(milliseconds).as_bytes());
        {
            let mut state = self.filtered.stream().state.borrow_mut();
            state.response_began = Some(elapsed);
            state.response = headers;
            state.details = "via_upstream".into();
        }
        if upgraded {
            self.tunnel = true;
            if let Attempt::Active(_, peer) = &mut self.attempt {
                peer.become_tunnel();
            }
            self.stop_timers();
        }
        if end {
            self.upstream_done();
        }
        self.filtered.headers(Direction::Response, end);
    }

    fn exhausted_on(&self, status: u16, headers: &HeaderList) -> bool {
        self.route.as_ref().is_some_and(|route| route.retry.should_retry_answer(status, headers))
    }

    /// The whole response is here: what the client still sends has no reader, and a connection in a good state can
    /// serve others.
    fn upstream_done(&mut self) {
        self.stop_timers();
        if !self.upload_done && !self.request_ended {
            self.request_ended = true;
            self.downstream.abandon_request();
        }
        if let Attempt::Active(chosen, peer) = std::mem::replace(&mut self.attempt, Attempt::None) {
            peer.finish();
            drop(chosen);
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

    /// The upstream's end is of no more use before the response is complete.
    fn attempt_failed(&mut self, error: PeerError) {
        let Attempt::Active(chosen, peer) = std::mem::replace(&mut self.attempt, Attempt::None) else { return };
        let reused = peer.is_reused();
        drop(peer);
        if self.response_begun {
            let (details, flags) = ProxyError::from(error).late_reset();
            self.flags = self.flags.and(flags);
            self.filtered.stream().state.borrow_mut().details = details.into();
            self.cut_short = CutShort::Sending;
            return;
        }
        // An idle connection that ends as it is used says nothing of the endpoint. What may be sent twice is.
        if reused && error == PeerError::Closed && self.is_idempotent() && !self.replay.lost && !self.replayed_once {
            self.replayed_once = true;
            return self.start_attempt();
        }
        self.tried.push(chosen.index);
        if let Some(route) = &self.route {
            route.cluster.report(&chosen, Outcome::LocalOriginFailure);
        }
        drop(chosen);
        match error {
            PeerError::RefusedStream => self.retry_or(AttemptFailure::RefusedStream, error.into()),
            PeerError::Closed | PeerError::Reset | PeerError::Protocol(_) => {
                self.retry_or(AttemptFailure::ResetBeforeHeaders, error.into());
            }
            PeerError::Framing => self.fail(error.into()),
        }
    }

    fn report(&self, outcome: Outcome) {
        if let (Some(route), Attempt::Active(chosen, _)) = (&self.route, &self.attempt) {
            route.cluster.report(chosen, outcome);
        }
    }

    fn is_connect(&self) -> bool {
        self.filtered.stream().state.borrow().request.get(":method") == Some(b"CONNECT")
    }

    fn is_idempotent(&self) -> bool {
        let state = self.filtered.stream().state.borrow();
        matches!(state.request.get(":method"), Some(b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE"))
    }

    fn retries_left(&self) -> bool {
        !self.replay.lost && self.route.as_ref().is_some_and(|route| route.retry.has_retries_left(self.retries))
    }

    /// Tries again if the route says so, else answers.
    fn retry_or(&mut self, failure: AttemptFailure, error: ProxyError) {
        if let Attempt::Active(chosen, _) | Attempt::Connecting(chosen, _) = &self.attempt {
            self.tried.push(chosen.index);
        }
        let wanted = self.route.as_ref().is_some_and(|route| route.retry.should_retry(&failure));
        if wanted && self.retries_left() && self.try_again() {
            return;
        }
        self.fail_after(error, wanted && self.retries > 0);
    }

    /// Waits for the next attempt, which counts from now on; false when the circuit breaker for retries says no.
    fn try_again(&mut self) -> bool {
        let Some(route) = &self.route else { return false };
        // The room of the retry before is free again.
        self.retrying = None;
        self.retrying = route.cluster.shared.breakers.try_acquire_retry();
        if self.retrying.is_none() {
            self.flags = self.flags.and(ResponseFlags::UPSTREAM_OVERFLOW);
            return false;
        }
        self.retries += 1;
        let wait = route.retry.back_off(self.retries, self.worker.draw());
        if let Attempt::Active(chosen, _) = &self.attempt {
            self.tried.push(chosen.index);
        }
        self.per_try = None;
        self.attempt = Attempt::BackOff(Box::pin(tokio::time::sleep(wait)));
        true
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

    /// Sends what the filters let through of the response.
    fn send_response(&mut self, cx: &mut Context<'_>) -> Result<bool, ()> {
        let mut moved = false;
        while !self.response_ended {
            match self.downstream.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Err(()),
                Poll::Pending => break,
            }
            let Some(event) = self.filtered.next(Direction::Response) else { break };
            moved = true;
            if self.send_event(event).is_err() {
                self.filtered.cut();
                break;
            }
        }
        Ok(moved)
    }

    fn send_event(&mut self, event: Event) -> Result<(), PeerError> {
        match event {
            Event::Headers { end } => {
                let own = self.filtered.fate() == Fate::Replied;
                if own {
                    self.stop_upstream();
                }
                let invalid = {
                    let mut state = self.filtered.stream().state.borrow_mut();
                    self.worker.sign(&mut state.response, own);
                    validate::response(&state.response, &self.manager.after_filters).is_err()
                };
                if invalid {
                    self.stop_upstream();
                    let (reply, _) = ProxyError::InvalidResponse.reply(false);
                    let (mut headers, _) = crate::filter_chain::to_events(reply.into(), false, true);
                    self.worker.sign(&mut headers, true);
                    self.filtered.stream().state.borrow_mut().response = headers;
                    self.response_ended = true;
                    let state = self.filtered.stream().state.borrow();
                    return self.downstream.send_headers(&state.response, true);
                }
                if self.tunnel {
                    self.downstream.become_tunnel();
                }
                self.response_ended = end && !self.tunnel;
                let state = self.filtered.stream().state.borrow();
                self.downstream.send_headers(&state.response, end && !self.tunnel)
            }
            Event::Data { bytes, end } => {
                self.response_ended = end;
                self.count_body(Direction::Response, &bytes);
                self.downstream.send_data(bytes, end)
            }
            Event::Trailers => {
                self.response_ended = true;
                let mut trailers = std::mem::take(&mut self.filtered.stream().state.borrow_mut().response_trailers);
                hygiene::strip_trailers(&mut trailers);
                if validate::trailers(&trailers, &self.manager.after_filters).is_err() {
                    return Err(PeerError::Framing);
                }
                let sent = self.downstream.send_trailers(&trailers);
                self.filtered.stream().state.borrow_mut().response_trailers = trailers;
                sent
            }
        }
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

fn unavailable(error: Unavailable) -> ProxyError {
    match error {
        Unavailable::NoHealthyUpstream => ProxyError::NoHealthyUpstream,
        Unavailable::Overflow => ProxyError::Overflow,
    }
}
