//! A request that a guest sends by itself, on its way: its endpoint, its connection, its time.

use crate::http::http1::head::HeadLimits;
use crate::http::validate;
use crate::proxy_error::ProxyError;
use crate::upstream::outlier_detection::Outcome;
use crate::upstream::{Acquired, Chosen, Cluster, UpstreamPeer, Wanted};
use crate::worker::Worker;
use http_match::HeaderList;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// The most of a response, or of one message of it, that is kept for a guest.
pub(super) const RESPONSE_LIMIT: usize = 1 << 20;

/// A bound on a request's head, and on its trailers, beyond what the ABI carries: a copy of a request that a listener
/// has taken must not fail for its size.
pub(super) const HEAD: HeadLimits = HeadLimits { bytes: 2 << 20, fields: 2048, target: 1 << 20 };

/// What is spoken where the cluster says "as the client": guests are none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

/// A request that has its endpoint and its connection. Dropped before it has ended, the connection is closed, or its
/// stream reset.
pub(super) struct Outgoing {
    cluster: Rc<Cluster>,
    chosen: Chosen,
    pub(super) peer: Box<dyn UpstreamPeer>,
}

impl Outgoing {
    /// Finds an endpoint and a connection, by the rules that hold for clients' requests. Nothing is tried again.
    pub(super) async fn begin(
        worker: &Worker,
        cluster: Rc<Cluster>,
        authority: Option<&[u8]>,
        spoken: Spoken,
    ) -> Result<Self, ProxyError> {
        let chosen = cluster.choose(None, &[], &mut || worker.draw())?;
        let server_name = cluster.shared.asked_name(authority);
        let wanted = Wanted { http2: spoken == Spoken::Http2, server_name, ..Wanted::plain() };
        let peer = match cluster.acquire(&chosen, wanted) {
            Acquired::Ready(peer) => peer,
            Acquired::Pending(connecting) => match connecting.await {
                Ok(peer) => peer,
                Err(failure) => {
                    let error = ProxyError::from(failure);
                    if error != ProxyError::Overflow {
                        cluster.report(&chosen, Outcome::LocalOriginFailure);
                    }
                    return Err(error);
                }
            },
            Acquired::Refused(error) => return Err(error.into()),
        };
        Ok(Self { cluster, chosen, peer })
    }

    /// Tells the judge of endpoints how it went.
    pub(super) fn report(&self, outcome: Outcome) {
        self.cluster.report(&self.chosen, outcome);
    }

    /// The exchange is over.
    pub(super) fn finish(self) {
        self.peer.finish();
    }
}

/// Adds what Envoy adds to requests of the proxy's own, and checks that they can be sent.
pub(super) fn prepare(headers: &mut HeaderList, timeout: Option<Duration>) -> Result<(), ProxyError> {
    headers.set("x-envoy-internal", b"true");
    match timeout {
        Some(timeout) => headers.set("x-envoy-expected-rq-timeout-ms", timeout.as_millis().to_string().as_bytes()),
        None => headers.remove("x-envoy-expected-rq-timeout-ms"),
    }
    validate::request(headers, &HEAD).map_err(|_| ProxyError::InvalidRequest)
}

/// Waits for something until there is no more time.
pub(super) async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, ProxyError>>,
) -> Result<T, ProxyError> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.unwrap_or(Err(ProxyError::RouteTimeout)),
        None => work.await,
    }
}
