//! The response: read from the upstream, taken through the filters, handed to the client.

use super::{Attempt, Exchange};
use crate::filter_chain::{Event, Fate, to_events};
use crate::http::repeated::join_response;
use crate::http::{Incoming, PeerError, hygiene, validate};
use crate::proxy_error::ProxyError;
use crate::telemetry::ResponseFlags;
use crate::upstream::outlier_detection::Outcome;
use crate::wasm::Direction;
use bytes::Bytes;
use http_match::HeaderList;
use std::task::{Context, Poll};

impl Exchange<'_> {
    /// Reads more of the response, as far as it is wanted.
    pub(super) fn poll_response(&mut self, cx: &mut Context<'_>) -> bool {
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

    /// Sends what the filters let through of the response.
    pub(super) fn send_response(&mut self, cx: &mut Context<'_>) -> Result<bool, ()> {
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
                    let (mut headers, _) = to_events(reply.into(), false, true);
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
}
