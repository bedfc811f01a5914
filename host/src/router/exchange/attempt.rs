//! One attempt after the other: endpoint, connection, what becomes of them, and whether there is another.

use super::{Attempt, CutShort, Exchange};
use crate::http::PeerError;
use crate::proxy_error::ProxyError;
use crate::telemetry::ResponseFlags;
use crate::upstream::outlier_detection::Outcome;
use crate::upstream::retry::AttemptFailure;
use crate::upstream::{Acquired, Chosen, ConnectFailure, Unavailable, UpstreamPeer, Wanted};
use std::task::{Context, Poll};

impl Exchange<'_> {
    pub(super) fn start_attempt(&mut self) {
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

    /// Moves an attempt that waits for a connection, or for its turn.
    pub(super) fn poll_attempt(&mut self, cx: &mut Context<'_>) -> bool {
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

    /// The upstream's end is of no more use before the response is complete.
    pub(super) fn attempt_failed(&mut self, error: PeerError) {
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

    pub(super) fn report(&self, outcome: Outcome) {
        if let (Some(route), Attempt::Active(chosen, _)) = (&self.route, &self.attempt) {
            route.cluster.report(chosen, outcome);
        }
    }

    pub(super) fn is_connect(&self) -> bool {
        self.filtered.stream().state.borrow().request.get(":method") == Some(b"CONNECT")
    }

    fn is_idempotent(&self) -> bool {
        let state = self.filtered.stream().state.borrow();
        matches!(state.request.get(":method"), Some(b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE"))
    }

    pub(super) fn retries_left(&self) -> bool {
        !self.replay.lost && self.route.as_ref().is_some_and(|route| route.retry.has_retries_left(self.retries))
    }

    /// Tries again if the route says so, else answers.
    pub(super) fn retry_or(&mut self, failure: AttemptFailure, error: ProxyError) {
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
    pub(super) fn try_again(&mut self) -> bool {
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
}

fn unavailable(error: Unavailable) -> ProxyError {
    match error {
        Unavailable::NoHealthyUpstream => ProxyError::NoHealthyUpstream,
        Unavailable::Overflow => ProxyError::Overflow,
    }
}
