//! The bookshop's own services. Each workload is a small server on its own loopback address; it calls others through its
//! sidecar, and passes on the headers by which routes tell users apart.

use crate::demo::edges::Edges;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// The port of the applications; as the demo's Sidecar has it.
const APP_PORT: u16 = 19080;
/// The port of services, and where a sidecar takes its application's requests.
const SERVICE_PORT: u16 = 9080;
const SIDECAR_PORT: u16 = 15001;

/// What tells users apart, and requests: applications have to pass it on.
const PASSED_ON: [&str; 2] = ["end-user", "x-request-id"];
/// Who has answered.
pub(super) const SERVED_BY: &str = "x-served-by";

/// A workload of the bookshop.
#[derive(Clone, Copy)]
struct App {
    service: &'static str,
    workload: &'static str,
    address: Ipv4Addr,
}

/// As the demo's WorkloadEntries have them.
const APPS: [App; 6] = [
    app("storefront", "storefront", 2),
    app("catalogue", "catalogue", 3),
    app("reviews", "reviews-v1", 4),
    app("reviews", "reviews-v2", 5),
    app("reviews", "reviews-v3", 6),
    app("ratings", "ratings", 7),
];

const fn app(service: &'static str, workload: &'static str, host: u8) -> App {
    App { service, workload, address: Ipv4Addr::new(127, 31, 0, host) }
}

/// Running services; end with this.
pub(super) struct Services {
    pub(super) edges: Arc<Edges>,
    pub(super) runtime: Runtime,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) served_by: String,
    pub(super) body: Bytes,
    pub(super) took: Duration,
}

/// Starts every workload's application.
pub(super) fn start() -> Result<Services, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let edges = Arc::<Edges>::default();
    for app in APPS {
        let address = (app.address, APP_PORT);
        let listener = runtime.block_on(TcpListener::bind(address));
        let listener = listener.map_err(|error| format!("{}: {}:{APP_PORT}: {error}", app.workload, app.address))?;
        runtime.spawn(serve(listener, app, edges.clone()));
    }
    Ok(Services { edges, runtime })
}

async fn serve(listener: TcpListener, app: App, edges: Arc<Edges>) {
    while let Ok((stream, _)) = listener.accept().await {
        let edges = edges.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(app, request, edges.clone()));
            // A client that goes away concerns nobody.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(app: App, request: Request<Incoming>, edges: Arc<Edges>) -> Result<Response<Full<Bytes>>, Infallible> {
    edges.served(app.workload);
    let headers = request.headers();
    let page = match app.service {
        "storefront" => storefront(app, headers, &edges).await,
        "catalogue" => "The Voyage of the Outrigger, 12.50\n".to_owned(),
        "reviews" => reviews(app, headers, &edges).await,
        _ => "4".to_owned(),
    };
    let mut response = Response::new(Full::from(page));
    response.headers_mut().insert(SERVED_BY, hyper::header::HeaderValue::from_static(app.workload));
    Ok(response)
}

async fn storefront(app: App, headers: &HeaderMap, edges: &Edges) -> String {
    let mut page = String::new();
    for service in ["catalogue", "reviews"] {
        page.push_str(&match call(app, service, headers, edges).await {
            Ok(answer) if answer.status.is_success() => String::from_utf8_lossy(&answer.body).into_owned(),
            Ok(answer) => format!("{service}: not available ({})\n", answer.status.as_u16()),
            Err(error) => format!("{service}: not available ({error})\n"),
        });
    }
    page
}

/// The first version knows no stars.
async fn reviews(app: App, headers: &HeaderMap, edges: &Edges) -> String {
    let text = format!("{}: a book to be read at sea", app.workload);
    if app.workload == "reviews-v1" {
        return format!("{text}\n");
    }
    let stars = match call(app, "ratings", headers, edges).await {
        Ok(answer) if answer.status.is_success() => {
            let stars = str::from_utf8(&answer.body).ok().and_then(|stars| stars.trim().parse().ok());
            "*".repeat(stars.unwrap_or(0))
        }
        Ok(answer) => format!("no stars today ({})", answer.status.as_u16()),
        Err(error) => format!("no stars today ({error})"),
    };
    format!("{text}, {stars}\n")
}

/// Calls another service through the workload's own sidecar.
async fn call(from: App, service: &'static str, headers: &HeaderMap, edges: &Edges) -> Result<Answer, String> {
    let mut request = Request::builder().uri("/").header("host", format!("{service}:{SERVICE_PORT}"));
    for name in PASSED_ON {
        request = headers.get_all(name).iter().fold(request, |request, value| request.header(name, value));
    }
    let sidecar = SocketAddr::from((from.address, SIDECAR_PORT));
    let answer = ask(sidecar, request.body(Full::default()).map_err(|error| error.to_string())?).await;
    edges.called(from.workload, service, answer.as_ref().ok());
    answer
}

/// Sends a request on a connection of its own.
pub(super) async fn ask(to: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let text = |error: &dyn std::fmt::Display| format!("{to}: {error}");
    let start = Instant::now();
    let stream = TcpStream::connect(to).await.map_err(|error| text(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| text(&error))?;
    let status = response.status();
    let served_by = response.headers().get(SERVED_BY).and_then(|value| value.to_str().ok());
    let served_by = served_by.unwrap_or("nobody").to_owned();
    let body = response.into_body().collect().await.map_err(|error| text(&error))?.to_bytes();
    Ok(Answer { status, served_by, body, took: start.elapsed() })
}
