//! Connections of the admin server.

use crate::admin::answer::{Answer, Asked};
use crate::admin::{ProxyStatus, guard, routes};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at a time; others wait to be accepted.
const CONNECTIONS: usize = 64;

/// From the first byte of a head to its last, and between requests.
const HEAD: Duration = Duration::from_secs(10);

/// Bytes of a head.
const HEAD_SIZE: usize = 16 << 10;

/// After a connection could not be accepted: there may be no file descriptor left, and none sooner for trying.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is dropped; connections end with it.
pub async fn serve(listener: TcpListener, status: Arc<dyn ProxyStatus>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let status = status.clone();
                connections.spawn(async move {
                    serve_connection(stream, status).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(target: "admin", "a connection cannot be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(stream: TcpStream, status: Arc<dyn ProxyStatus>) {
    let service = service_fn(move |request| {
        let status = status.clone();
        async move { Ok::<_, Infallible>(answer(request, status).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_SIZE);
    // A client that breaks off, or sends what is no HTTP, gets no more than that.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// Answers on a thread that may wait: a page may ask the workers.
async fn answer(request: Request<Incoming>, status: Arc<dyn ProxyStatus>) -> Response<Full<Bytes>> {
    let (parts, _) = request.into_parts();
    let answered = tokio::task::spawn_blocking(move || dispatch(&parts, &*status)).await;
    let failed = |_| Answer::text("the page has failed\n".into()).with_status(StatusCode::INTERNAL_SERVER_ERROR);
    answered.unwrap_or_else(failed).into_response()
}

fn dispatch(request: &http::request::Parts, status: &dyn ProxyStatus) -> Answer {
    let route = routes::find(request.uri.path());
    let mutates = route.is_some_and(|route| route.mutates);
    if let Err(refusal) = guard::judge(&request.uri, &request.headers, mutates) {
        return Answer::text(format!("{}\n", refusal.reason())).with_status(StatusCode::FORBIDDEN);
    }
    let Some(route) = route else { return routes::unknown() };
    match (route.mutates, &request.method) {
        (true, &Method::POST) | (false, &Method::GET | &Method::HEAD) => {}
        (true, _) => return Answer::other_method("POST"),
        (false, _) => return Answer::other_method("GET"),
    }
    (route.answer)(&Asked::new(status, request.uri.query().unwrap_or_default()))
}
