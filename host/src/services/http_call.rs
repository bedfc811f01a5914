//! HTTP requests of guests. Whatever goes wrong comes back as the response that a client would get for it.

use crate::filter_chain::{Event, to_events};
use crate::http::{Incoming, PeerError, hygiene, validate};
use crate::proxy_error::ProxyError;
use crate::services::outgoing::{HEAD, Outgoing, RESPONSE_LIMIT, Spoken, prepare, within};
use crate::upstream::outlier_detection::Outcome;
use crate::upstream::{Cluster, UpstreamPeer};
use crate::wasm::{BodyBuffer, HttpCall, HttpCallResponse};
use crate::worker::Worker;
use bytes::Bytes;
use http_match::HeaderList;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// Sends a request and waits for its response.
pub(super) async fn serve(worker: Rc<Worker>, cluster: Option<Rc<Cluster>>, mut call: HttpCall) -> HttpCallResponse {
    let grpc = call.headers.get("content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
    let head = call.headers.get(":method") == Some(b"HEAD");
    hygiene::strip_trailers(&mut call.trailers);
    let valid = validate::trailers(&call.trailers, &HEAD).map_err(|_| ProxyError::InvalidRequest);
    let prepared = valid.and_then(|()| prepare(&mut call.headers, call.timeout));
    let response = match (prepared, cluster) {
        (Err(error), _) => Err(error),
        (_, None) => Err(ProxyError::NoCluster),
        (Ok(()), Some(cluster)) => {
            let response = exchange(&worker, &cluster, &call).await;
            count(&cluster, &response);
            response
        }
    };
    response.unwrap_or_else(|error| synthesized(error, grpc, head))
}

/// Counts it as the cluster's, as of any other request.
fn count(cluster: &Cluster, response: &Result<HttpCallResponse, ProxyError>) {
    let status = match response {
        Ok(response) => status_of(&response.headers),
        Err(error) if error.is_of_upstream() => Some(error.reply(false).0.status),
        Err(_) => None,
    };
    if let Some(status) = status {
        cluster.shared.stats.answered(status);
    }
}

fn status_of(headers: &HeaderList) -> Option<u16> {
    headers.get(":status").and_then(|status| str::from_utf8(status).ok()?.parse().ok())
}

async fn exchange(worker: &Worker, cluster: &Rc<Cluster>, call: &HttpCall) -> Result<HttpCallResponse, ProxyError> {
    let began = Instant::now();
    let deadline = call.timeout.map(|timeout| began + timeout);
    let mut replayed = false;
    loop {
        let authority = call.headers.get(":authority");
        let beginning = Outgoing::begin(worker, cluster.clone(), authority, Spoken::Http1);
        let mut outgoing = within(deadline, beginning).await?;
        let mut incoming = Response::default();
        let result = within(deadline, async {
            send(&mut *outgoing.peer, call).map_err(|_| ProxyError::InvalidRequest)?;
            Ok(poll_fn(|cx| incoming.poll(&mut *outgoing.peer, cx)).await)
        })
        .await;
        // An idle connection that ends as it is used says nothing of the endpoint. What may be sent twice is.
        let stale = result == Ok(Err(Failure::Peer(PeerError::Closed))) && outgoing.peer.is_reused();
        if stale && incoming.status.is_none() && !replayed && is_idempotent(call.headers.get(":method")) {
            replayed = true;
            continue;
        }
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(ProxyError::from(failure)),
            Err(error) => Some(error),
        };
        incoming.report(&outgoing, failure);
        if let Some(error) = failure {
            return Err(error);
        }
        outgoing.finish();
        return Ok(incoming.finish(began));
    }
}

/// Hands the whole request over. Nothing is wrong with an endpoint that is not sent one.
fn send(peer: &mut dyn UpstreamPeer, call: &HttpCall) -> Result<(), PeerError> {
    let (has_body, has_trailers) = (!call.body.is_empty(), !call.trailers.is_empty());
    peer.send_headers(&call.headers, !has_body && !has_trailers)?;
    if has_body {
        peer.send_data(call.body.clone(), !has_trailers)?;
    }
    if has_trailers {
        peer.send_trailers(&call.trailers)?;
    }
    Ok(())
}

fn is_idempotent(method: Option<&[u8]>) -> bool {
    matches!(method, Some(b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE"))
}

/// Why a response does not come whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    Peer(PeerError),
    TooLarge,
}

impl From<Failure> for ProxyError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Peer(error) => error.into(),
            Failure::TooLarge => Self::ResponseTooLarge,
        }
    }
}

/// A response as far as it has come.
#[derive(Default)]
struct Response {
    status: Option<u16>,
    headers: HeaderList,
    body: BodyBuffer,
    trailers: HeaderList,
}

impl Response {
    /// Sends what waits, and takes what comes, until all of it has.
    fn poll(&mut self, peer: &mut dyn UpstreamPeer, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let flushed = peer.poll_flush(cx);
        loop {
            match peer.poll_incoming(cx) {
                Poll::Ready(Ok(incoming)) => {
                    if let Some(ended) = self.take(incoming).transpose() {
                        return Poll::Ready(ended);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Peer(error))),
                // An upstream that listens no more may have answered all the same.
                Poll::Pending => match flushed {
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Peer(error))),
                    _ => return Poll::Pending,
                },
            }
        }
    }

    /// Takes a part of it; `Some` is the end.
    fn take(&mut self, incoming: Incoming) -> Result<Option<()>, Failure> {
        match incoming {
            Incoming::Headers { headers, end } => {
                self.status = status_of(&headers);
                self.headers = headers;
                return Ok(end.then_some(()));
            }
            Incoming::Data { bytes, end } => {
                if self.body.len() + bytes.len() > RESPONSE_LIMIT {
                    return Err(Failure::TooLarge);
                }
                self.body.push(bytes);
                return Ok(end.then_some(()));
            }
            Incoming::Trailers(trailers) => self.trailers = trailers,
            Incoming::End => {}
        }
        Ok(Some(()))
    }

    /// Tells the judge of endpoints what it said, or that it said nothing.
    fn report(&self, outgoing: &Outgoing, failure: Option<ProxyError>) {
        match (self.status, failure) {
            (Some(status), _) => outgoing.report(Outcome::Status(status)),
            // What cannot be sent was never the endpoint's fault.
            (None, Some(ProxyError::InvalidRequest)) => {}
            (None, _) => outgoing.report(Outcome::LocalOriginFailure),
        }
    }

    fn finish(self, began: Instant) -> HttpCallResponse {
        let Self { mut headers, body, trailers, .. } = self;
        hygiene::strip_hop_by_hop_response(&mut headers);
        headers.set("x-envoy-upstream-service-time", began.elapsed().as_millis().to_string().as_bytes());
        HttpCallResponse { headers, body: body.into_bytes(), trailers }
    }
}

/// The response that a client would get.
fn synthesized(error: ProxyError, grpc: bool, head: bool) -> HttpCallResponse {
    let (reply, _) = error.reply(false);
    let (headers, events) = to_events(reply.into(), grpc, head);
    let body = events.into_iter().find_map(|event| match event {
        Event::Data { bytes, .. } => Some(bytes),
        Event::Headers { .. } | Event::Trailers => None,
    });
    HttpCallResponse { headers, body: body.unwrap_or(Bytes::new()), trailers: HeaderList::new() }
}
