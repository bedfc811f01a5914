//! gRPC calls and streams of guests. A call is a stream with one message.

use crate::filter_chain::{grpc_status, to_events};
use crate::http::authority;
use crate::http::{Incoming, PeerError, hygiene};
use crate::proxy_error::ProxyError;
use crate::services::grpc_frames::{BadFrame, Frames, frame};
use crate::services::outgoing::{Outgoing, RESPONSE_LIMIT, Spoken, prepare, within};
use crate::upstream::outlier_detection::Outcome;
use crate::upstream::{Cluster, UpstreamPeer};
use crate::wasm::{GrpcCall, GrpcEvent};
use crate::worker::Worker;
use bytes::Bytes;
use http_match::HeaderList;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

/// Statuses of gRPC that have no HTTP status behind them.
const UNKNOWN: u32 = 2;
const RESOURCE_EXHAUSTED: u32 = 8;
const INTERNAL: u32 = 13;

/// The largest number of units in `grpc-timeout`: eight digits.
const MOST_UNITS: u128 = 99_999_999;

/// Serves an exchange until it ends, or nobody wants to be told of it any more.
pub(super) async fn serve(
    worker: Rc<Worker>,
    cluster: Option<Rc<Cluster>>,
    call: GrpcCall,
    messages: UnboundedReceiver<(Bytes, bool)>,
    events: UnboundedSender<GrpcEvent>,
) {
    tokio::select! {
        biased;
        // The connection's stream is reset as the rest is dropped.
        () = events.closed() => {}
        () = exchange(&worker, cluster, &call, messages, &events) => {}
    }
}

async fn exchange(
    worker: &Worker,
    cluster: Option<Rc<Cluster>>,
    call: &GrpcCall,
    messages: UnboundedReceiver<(Bytes, bool)>,
    events: &UnboundedSender<GrpcEvent>,
) {
    let deadline = call.timeout.map(|timeout| Instant::now() + timeout);
    let mut conversation =
        Conversation { messages, events, sending: true, answered: None, frames: Frames::new(RESPONSE_LIMIT) };
    let end = match begin(worker, cluster, call, deadline).await {
        Ok(outgoing) => conversation.run(outgoing, deadline).await,
        Err(error) => End::of_error(error),
    };
    if conversation.answered.is_none() {
        conversation.tell(GrpcEvent::InitialMetadata(HeaderList::new()));
    }
    conversation.tell(GrpcEvent::TrailingMetadata(end.trailers));
    conversation.tell(GrpcEvent::Closed(end.status, end.text));
}

/// Finds a connection and sends the head.
async fn begin(
    worker: &Worker,
    cluster: Option<Rc<Cluster>>,
    call: &GrpcCall,
    deadline: Option<Instant>,
) -> Result<Outgoing, ProxyError> {
    let cluster = cluster.ok_or(ProxyError::NoCluster)?;
    let headers = head(call)?;
    let mut outgoing =
        within(deadline, Outgoing::begin(worker, cluster, headers.get(":authority"), Spoken::Http2)).await?;
    outgoing.peer.send_headers(&headers, false).map_err(|_| ProxyError::InvalidRequest)?;
    Ok(outgoing)
}

/// The request's headers: Envoy's, and the guest's metadata.
fn head(call: &GrpcCall) -> Result<HeaderList, ProxyError> {
    let mut headers = HeaderList::with_capacity(call.metadata.len() + 9, call.metadata.size() + 256);
    headers.add(":method", b"POST");
    headers.add(":path", format!("/{}/{}", call.service, call.method).as_bytes());
    headers.add(":authority", authority_of(&call.cluster).as_bytes());
    headers.add(":scheme", b"http");
    headers.add("te", b"trailers");
    headers.add("content-type", b"application/grpc");
    if let Some(timeout) = call.timeout {
        headers.add("grpc-timeout", grpc_timeout(timeout).as_bytes());
    }
    let own = |name: &[u8]| {
        let made = matches!(name, b"te" | b"content-type" | b"content-length" | b"grpc-timeout" | b"host");
        made || name.starts_with(b":") || hygiene::is_connection_specific(name)
    };
    let metadata = call.metadata.iter().filter(|(name, _)| !own(name));
    metadata.for_each(|(name, value)| headers.append(name, value));
    prepare(&mut headers, call.timeout)?;
    Ok(headers)
}

/// Envoy's authority is the cluster's name. One of Istio's is none that a message can carry: it is the host in it.
fn authority_of(cluster: &str) -> &str {
    match authority::is_valid(cluster.as_bytes()) {
        true => cluster,
        false => cluster.rsplit('|').next().unwrap_or(cluster),
    }
}

/// The time as `grpc-timeout` has it: milliseconds, or as coarse as it must be.
fn grpc_timeout(timeout: Duration) -> String {
    let (milliseconds, seconds) = (timeout.as_millis(), u128::from(timeout.as_secs()));
    let units = [(milliseconds, 'm'), (seconds, 'S'), (seconds / 60, 'M'), (seconds / 3600, 'H')];
    let unit = units.into_iter().find(|(number, _)| *number <= MOST_UNITS);
    let (number, unit) = unit.unwrap_or((MOST_UNITS, 'H'));
    format!("{number}{unit}")
}

/// How an exchange ends.
struct End {
    trailers: HeaderList,
    status: u32,
    text: Vec<u8>,
}

impl End {
    /// For a reason of the proxy's own, in Envoy's words.
    fn of_error(error: ProxyError) -> Self {
        let (reply, _) = error.reply(false);
        let (status, text) = (grpc_status(reply.status), format!("{}{{{}}}", reply.body, reply.details).into_bytes());
        let (trailers, _) = to_events(reply.into(), true, false);
        Self { trailers, status, text }
    }

    /// With what the upstream says of it, in trailers or, where it says no more, in its headers.
    fn of_trailers(trailers: HeaderList) -> Self {
        let status = trailers.get("grpc-status").and_then(|status| str::from_utf8(status).ok()?.parse().ok());
        let status = status.filter(|status| *status <= 16).unwrap_or(UNKNOWN);
        let mut text = trailers.get("grpc-message").unwrap_or_default().to_vec();
        if status != 0 {
            text.extend_from_slice(b"{via_upstream}");
        }
        Self { trailers, status, text }
    }

    /// Because the upstream breaks the rules.
    fn of_fault(status: u32, text: &str) -> Self {
        Self { trailers: HeaderList::new(), status, text: text.as_bytes().to_vec() }
    }

    fn without_trailers() -> Self {
        Self::of_fault(UNKNOWN, "the response ends without trailers")
    }
}

/// Both directions of an exchange.
struct Conversation<'c> {
    messages: UnboundedReceiver<(Bytes, bool)>,
    events: &'c UnboundedSender<GrpcEvent>,
    /// The request has not been half-closed yet.
    sending: bool,
    /// The HTTP status, once the headers have come.
    answered: Option<u16>,
    frames: Frames,
}

impl Conversation<'_> {
    async fn run(&mut self, mut outgoing: Outgoing, deadline: Option<Instant>) -> End {
        let ended = within(deadline, async { Ok(poll_fn(|cx| self.poll(&mut *outgoing.peer, cx)).await) }).await;
        match self.answered {
            Some(status) => outgoing.report(Outcome::Status(status)),
            None => outgoing.report(Outcome::LocalOriginFailure),
        }
        match ended {
            Ok(Ok(end)) => {
                outgoing.finish();
                end
            }
            Ok(Err(_)) if self.answered.is_some() => End::of_fault(INTERNAL, "upstream reset after its headers"),
            Ok(Err(error)) => End::of_error(error.into()),
            Err(error) => End::of_error(error),
        }
    }

    fn poll(&mut self, peer: &mut dyn UpstreamPeer, cx: &mut Context<'_>) -> Poll<Result<End, PeerError>> {
        let sent = self.poll_send(peer, cx);
        match peer.poll_incoming(cx) {
            Poll::Ready(Ok(incoming)) => match self.take(incoming) {
                Some(end) => Poll::Ready(Ok(end)),
                None => {
                    // One part at a time: whoever is told of it gets to run before the next is there.
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            },
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => match sent {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Pending,
            },
        }
    }

    /// Sends messages as they come and as the upstream takes them.
    fn poll_send(&mut self, peer: &mut dyn UpstreamPeer, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        while self.sending
            && let Poll::Ready(ready) = peer.poll_ready(cx)
        {
            ready?;
            let Poll::Ready(message) = self.messages.poll_recv(cx) else { break };
            // The sender's end is gone when a guest half-closes without a message.
            let (message, end) = message.map_or((Some(Bytes::new()), true), |(message, end)| (frame(&message), end));
            self.sending = !end;
            peer.send_data(message.ok_or(PeerError::Framing)?, end)?;
        }
        peer.poll_flush(cx)
    }

    /// Takes a part of the response; `Some` is its end.
    fn take(&mut self, incoming: Incoming) -> Option<End> {
        match incoming {
            Incoming::Headers { headers, end } => self.take_headers(headers, end),
            Incoming::Data { bytes, end } => {
                self.frames.push(&bytes);
                self.take_messages().err().or_else(|| end.then(End::without_trailers))
            }
            Incoming::Trailers(trailers) => Some(End::of_trailers(trailers)),
            Incoming::End => Some(End::without_trailers()),
        }
    }

    fn take_headers(&mut self, headers: HeaderList, end: bool) -> Option<End> {
        let status = headers.get(":status").and_then(|status| str::from_utf8(status).ok()?.parse().ok());
        let status: u16 = status.unwrap_or_default();
        self.answered = Some(status);
        if end && (status == 200 || headers.get("grpc-status").is_some()) {
            self.tell(GrpcEvent::InitialMetadata(HeaderList::new()));
            return Some(End::of_trailers(headers));
        }
        self.tell(GrpcEvent::InitialMetadata(headers));
        (status != 200).then(|| End::of_fault(grpc_status(status), &format!("HTTP status {status}{{via_upstream}}")))
    }

    fn take_messages(&mut self) -> Result<(), End> {
        loop {
            match self.frames.next() {
                Ok(Some(message)) => self.tell(GrpcEvent::Message(message)),
                Ok(None) => return Ok(()),
                Err(BadFrame::Compressed) => return Err(End::of_fault(INTERNAL, "a compressed message")),
                Err(BadFrame::TooLarge(size)) => {
                    let text = format!("a message of {size} bytes, more than {RESPONSE_LIMIT}");
                    return Err(End::of_fault(RESOURCE_EXHAUSTED, &text));
                }
            }
        }
    }

    fn tell(&self, event: GrpcEvent) {
        // Whoever is gone has dropped the exchange with it.
        let _ = self.events.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_eight_digits_at_most() {
        for (seconds, expected) in [
            (0, "0m"),
            (2, "2000m"),
            (99_999, "99999000m"),
            (100_000, "100000S"),
            (100_000_000, "1666666M"),
            (6_000_000_000, "1666666H"),
            (u64::MAX, "99999999H"),
        ] {
            assert_eq!(grpc_timeout(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn an_authority_is_one_that_can_be_sent() {
        let rows = [("authz", "authz"), ("outbound|80|v1|a.b.svc", "a.b.svc"), ("a.test:80", "a.test:80")];
        for (cluster, expected) in rows {
            assert_eq!(authority_of(cluster), expected);
        }
    }
}
