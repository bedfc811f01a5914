//! An accepted connection: HTTP/1 or HTTP/2 by its first bytes.

use crate::downstream::http_manager::HttpManager;
use crate::downstream::live_chain::LiveChain;
use crate::downstream::{http1, http2};
use crate::http::{Http1Io, PREFACE, Transport};
use crate::wasm::ConnectionProperties;
use crate::worker::Worker;
use bytes::BytesMut;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// A connection that a listener has accepted.
pub(crate) struct Accepted {
    pub(crate) transport: Transport,
    pub(crate) properties: Rc<ConnectionProperties>,
}

/// Serves a connection until it ends.
pub(crate) async fn serve_connection(worker: Rc<Worker>, chain: Rc<LiveChain<HttpManager>>, accepted: Accepted) {
    let Accepted { transport, properties } = accepted;
    let watch = worker.watch();
    watch.arm(chain.current().config.timeouts.head.limit());
    let mut io = Http1Io::new(transport, BytesMut::new());
    let http2 = poll_fn(|cx| {
        loop {
            let seen = io.read.len().min(PREFACE.len());
            if io.read.get(..seen) != PREFACE.get(..seen) {
                return Poll::Ready(Some(false));
            }
            if seen == PREFACE.len() {
                return Poll::Ready(Some(true));
            }
            if watch.expired(cx.waker()) {
                return Poll::Ready(None);
            }
            match io.poll_fill(cx) {
                Poll::Ready(Ok(size)) if size > 0 => {}
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    let _counted = http2.map(|http2| chain.current().connection(http2));
    match http2 {
        // Larger, and rarer in great numbers.
        Some(true) => Box::pin(http2::serve(worker, chain, io, properties, watch)).await,
        Some(false) => http1::serve(worker, chain, io, properties, watch).await,
        // Gone, or silent, before it had said anything: nobody to answer.
        None => {}
    }
}
