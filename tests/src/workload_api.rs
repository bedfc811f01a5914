//! A SPIFFE Workload API: says who its callers are, whenever that changes, as SPIRE's agent does.

use bytes::{BufMut, Bytes, BytesMut};
use host::ca::WorkloadCertificate;
use http_body_util::{Either, Empty};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

/// Who callers are (`X509SVIDResponse` of SPIFFE's workload.proto).
#[derive(Clone, PartialEq, Message)]
pub struct Svids {
    /// Their identities.
    #[prost(message, repeated, tag = "1")]
    pub svids: Vec<Svid>,
    /// Authorities of other trust domains, DER, by trust domain.
    #[prost(map = "string, bytes", tag = "3")]
    pub federated_bundles: HashMap<String, Vec<u8>>,
}

/// An identity (`X509SVID`).
#[derive(Clone, PartialEq, Message)]
pub struct Svid {
    /// `spiffe://…`
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
    /// The certificate and those above it, DER.
    #[prost(bytes, tag = "2")]
    pub x509_svid: Vec<u8>,
    /// The key, PKCS #8.
    #[prost(bytes, tag = "3")]
    pub x509_svid_key: Vec<u8>,
    /// The trust domain's authorities, DER.
    #[prost(bytes, tag = "4")]
    pub bundle: Vec<u8>,
    /// What it is for.
    #[prost(string, tag = "5")]
    pub hint: String,
}

impl Svid {
    /// A workload's certificate, as the API has it.
    ///
    /// # Errors
    /// When it is not PEM.
    pub fn of(spiffe_id: &str, hint: &str, issued: &WorkloadCertificate) -> Result<Self, String> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(issued.key.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self {
            spiffe_id: spiffe_id.to_owned(),
            x509_svid: der(&issued.chain)?,
            x509_svid_key: key.secret_pkcs8_der().to_vec(),
            bundle: der(&issued.roots)?,
            hint: hint.to_owned(),
        })
    }
}

/// Certificates one behind the other, DER.
///
/// # Errors
/// When they are not PEM.
pub fn der(pem: &str) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        all.extend_from_slice(&certificate.map_err(|error| error.to_string())?);
    }
    Ok(all)
}

/// A Workload API at a socket; gone when dropped, with its connections.
pub struct WorkloadApi {
    socket: PathBuf,
    said: watch::Sender<Svids>,
    runtime: Option<Runtime>,
}

impl WorkloadApi {
    /// Listens, and says this to whoever asks.
    ///
    /// # Errors
    /// When nothing can listen there.
    pub fn start(socket: &Path, svids: Svids) -> Result<Self, String> {
        let text = |error: std::io::Error| format!("{}: {error}", socket.display());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(text)?;
        let listener = {
            let _within = runtime.enter();
            UnixListener::bind(socket).map_err(text)?
        };
        let said = watch::Sender::new(svids);
        runtime.spawn(accept(listener, said.clone()));
        Ok(Self { socket: socket.to_owned(), said, runtime: Some(runtime) })
    }

    /// Says something else from now on.
    pub fn say(&self, svids: Svids) {
        self.said.send_replace(svids);
    }
}

impl Drop for WorkloadApi {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
        // Where it is gone already, nothing is in the way.
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn accept(listener: UnixListener, said: watch::Sender<Svids>) {
    while let Ok((stream, _)) = listener.accept().await {
        let said = said.clone();
        let service = service_fn(move |request| {
            let answer = answer(&request, &said);
            async { Ok::<_, Infallible>(answer) }
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
    }
}

type Answer = Response<Either<Said, Empty<Bytes>>>;

fn answer(request: &Request<Incoming>, said: &watch::Sender<Svids>) -> Answer {
    if request.uri().path() != "/SpiffeWorkloadAPI/FetchX509SVID" {
        return refusal("12");
    }
    // What keeps those out who can make a client send a request, and not its headers.
    if request.headers().get("workload.spiffe.io").is_none_or(|value| value != "true") {
        return refusal("3");
    }
    let (sender, receiver) = unbounded_channel();
    let mut said = said.subscribe();
    tokio::spawn(async move {
        loop {
            let message = said.borrow_and_update().encode_to_vec();
            // A caller that has gone is told no more.
            if sender.send(message).is_err() || said.changed().await.is_err() {
                return;
            }
        }
    });
    grpc(Either::Left(Said(receiver)))
}

fn refusal(status: &'static str) -> Answer {
    let mut answer = grpc(Either::Right(Empty::new()));
    answer.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
    answer
}

fn grpc(body: Either<Said, Empty<Bytes>>) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    answer
}

/// Messages of a stream that does not end by itself.
struct Said(UnboundedReceiver<Vec<u8>>);

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|message| {
            let message = message?;
            let mut framed = BytesMut::with_capacity(message.len() + 5);
            framed.put_u8(0);
            framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
            framed.put_slice(&message);
            Some(Ok(Frame::data(framed.freeze())))
        })
    }
}
