//! The request: read from the client, taken through the filters, handed to the upstream.

use super::{Attempt, Exchange};
use crate::filter_chain::{Event, Fate, HostReply};
use crate::http::{Incoming, PeerError, hygiene, validate};
use crate::proxy_error::ProxyError;
use crate::router::forward;
use crate::router::route::{Route, restore_authority, strip_control};
use crate::telemetry::ResponseFlags;
use crate::wasm::{BodyBuffer, Direction};
use bytes::Bytes;
use std::task::{Context, Poll};

impl Exchange<'_> {
    /// Takes what the filters let through of the request.
    pub(super) fn take_request_events(&mut self, cx: &mut Context<'_>) -> bool {
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

    pub(super) fn forward(&mut self, bytes: Bytes, end: bool) {
        let Attempt::Active(_, peer) = &mut self.attempt else { return };
        self.upload_done |= end;
        if peer.send_data(bytes, end).is_err() {
            self.give_up(ProxyError::InvalidRequest);
        }
    }

    pub(super) fn forward_trailers(&mut self) {
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

    pub(super) fn lose_replay(&mut self) {
        self.replay.lost = true;
        self.replay.body = BodyBuffer::default();
    }

    /// Reads more of the request, as far as it is wanted.
    pub(super) fn poll_request_body(&mut self, cx: &mut Context<'_>) -> Result<bool, ()> {
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
                    self.filtered.reply(HostReply {
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

    fn note_request_end(&self) {
        self.filtered.stream().state.borrow_mut().request_ended = Some(self.began.elapsed());
    }
}
