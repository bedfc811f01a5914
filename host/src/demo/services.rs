//! The services of the demo: two versions of a shop, and a mirror that says what it gets.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Name and port of each; as the demo's snapshot has them.
const SERVICES: [(&str, u16); 3] = [("v1", 10001), ("v2", 10002), ("mirror", 10003)];

/// Running services; end with this.
pub(super) struct Services {
    mirrored: Arc<AtomicUsize>,
    pub(super) runtime: Runtime,
}

impl Services {
    /// Requests that have reached the mirror.
    pub(super) fn mirrored(&self) -> usize {
        self.mirrored.load(Ordering::Relaxed)
    }
}

/// Starts the services. `talk`: the mirror says on standard output what it gets.
pub(super) fn start(talk: bool) -> Result<Services, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let mirrored = Arc::<AtomicUsize>::default();
    for (name, port) in SERVICES {
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port)));
        let listener = listener.map_err(|error| format!("service {name}: 127.0.0.1:{port}: {error}"))?;
        let counted = (name == "mirror").then(|| mirrored.clone());
        runtime.spawn(serve(listener, name, counted, talk));
    }
    Ok(Services { mirrored, runtime })
}

async fn serve(listener: TcpListener, name: &'static str, counted: Option<Arc<AtomicUsize>>, talk: bool) {
    while let Ok((stream, _)) = listener.accept().await {
        let counted = counted.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(request, name, counted.clone(), talk));
            // A client that goes away concerns nobody.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    name: &'static str,
    counted: Option<Arc<AtomicUsize>>,
    talk: bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().len()).unwrap_or(0);
    if let Some(counted) = counted {
        counted.fetch_add(1, Ordering::Relaxed);
        if talk {
            println!("at {name}: {} {}, {body} bytes", parts.method, parts.uri);
        }
    }
    Ok(Response::new(Full::from(format!("{name}\n"))))
}
