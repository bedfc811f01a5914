//! What stands behind the proxy: a server for each cluster that records requests and answers as a case says.

use crate::case_file::{Answer, unhex};
use crate::engine::Arrived;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// The request header by which a request, and every copy of it, is known to belong to a case.
pub const CASE_HEADER: &str = "x-case";

/// Answers by cluster, for the case in hand.
pub type Answers = BTreeMap<String, Answer>;

/// The servers of all clusters.
#[derive(Clone, Default)]
pub struct FakeUpstream {
    ports: BTreeMap<String, u16>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    answers: Answers,
    other: Answer,
    arrived: HashMap<String, Vec<Arrived>>,
}

impl FakeUpstream {
    /// Starts a server for each cluster.
    ///
    /// # Errors
    /// When a port cannot be had.
    pub async fn start(clusters: impl IntoIterator<Item = String>) -> std::io::Result<Self> {
        let mut upstream = Self::default();
        for cluster in clusters {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            upstream.ports.insert(cluster.clone(), listener.local_addr()?.port());
            tokio::spawn(serve(listener, cluster, upstream.shared.clone()));
        }
        Ok(upstream)
    }

    /// Cluster → port.
    pub fn ports(&self) -> &BTreeMap<String, u16> {
        &self.ports
    }

    /// How the clusters answer from now on: single ones, and all others.
    pub fn answer(&self, answers: Answers, other: Answer) {
        if let Ok(mut shared) = self.shared.lock() {
            shared.answers = answers;
            shared.other = other;
        }
    }

    /// Takes the requests of a case.
    pub fn take(&self, case: &str) -> Vec<Arrived> {
        self.shared.lock().map(|mut shared| shared.arrived.remove(case).unwrap_or_default()).unwrap_or_default()
    }
}

async fn serve(listener: TcpListener, cluster: String, shared: Arc<Mutex<Shared>>) {
    while let Ok((stream, _)) = listener.accept().await {
        // What is written in two parts would wait for the first to be acknowledged, which takes its time.
        let _ = stream.set_nodelay(true);
        let (cluster, shared) = (cluster.clone(), shared.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(request, cluster.clone(), shared.clone()));
            let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // More than any hostile case sends: the upstream must not be what refuses.
            server.http1().max_headers(4_000).max_buf_size(8 << 20);
            // A proxy that closes a connection is no fault of a case.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Reply = Response<BoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, cluster: String, shared: Arc<Mutex<Shared>>) -> Result<Reply, Infallible> {
    let (parts, body) = request.into_parts();
    // A body that is cut off is recorded as far as it came.
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let headers: Vec<(String, Vec<u8>)> =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    let value = |name: &str| {
        let found = headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice());
        String::from_utf8_lossy(found.unwrap_or_default()).into_owned()
    };
    let authority = parts.uri.authority().map_or_else(|| value("host"), ToString::to_string);
    let arrived = Arrived {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        authority,
        // The mark that Envoy puts on requests its plugins send.
        by_plugin: headers.iter().any(|(name, _)| name == "x-envoy-internal"),
        cluster: cluster.clone(),
        body,
        headers: headers.clone(),
    };
    let answer = {
        let Ok(mut shared) = shared.lock() else {
            return Ok(reply(Answer { status: 500, ..Answer::default() }));
        };
        shared.arrived.entry(value(CASE_HEADER)).or_default().push(arrived);
        shared.answers.get(&cluster).unwrap_or(&shared.other).clone()
    };
    Ok(reply(answer))
}

fn reply(answer: Answer) -> Reply {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    if answer.grpc.is_some() || answer.grpc_status.is_some() {
        return response.header("content-type", "application/grpc").body(grpc_body(&answer)).unwrap_or_else(broken);
    }
    response.body(BoxBody::new(Full::new(Bytes::from(answer.body)))).unwrap_or_else(broken)
}

/// A case with a header that HTTP does not allow.
fn broken(error: hyper::http::Error) -> Reply {
    Response::new(BoxBody::new(Full::new(Bytes::from(format!("the case's answer is not HTTP: {error}")))))
}

fn grpc_body(answer: &Answer) -> BoxBody<Bytes, Infallible> {
    let mut frames = Vec::new();
    if let Some(message) = &answer.grpc {
        let message = unhex(message);
        let size = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        frames.push(Ok(Frame::data(Bytes::from([&[0], &size[..], &message].concat()))));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", answer.grpc_status.unwrap_or(0).into());
    frames.push(Ok(Frame::trailers(trailers)));
    BoxBody::new(StreamBody::new(Frames::new(frames)))
}

/// Frames that are there already, as a stream.
pub struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>);

impl Frames {
    /// A stream of these.
    pub fn new(frames: Vec<Result<Frame<Bytes>, Infallible>>) -> Self {
        Self(frames.into_iter())
    }
}

impl futures_core::Stream for Frames {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}
