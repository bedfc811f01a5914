//! The tour: each thing that the demo shows is tried, and its result checked.

use crate::demo::services::Services;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Where the demo's proxy listens.
const PROXY: (&str, u16) = ("127.0.0.1", 10000);

/// Requests of the split, and how far from 20 % v2 may be: four standard deviations.
const SPLIT: usize = 500;
const SPLIT_OFF: f64 = 36.0;

struct Answer {
    status: u16,
    body: Bytes,
    took: Duration,
}

/// Takes the tour; the first result that is wrong ends it.
pub(super) fn take(services: &Services) -> Result<(), String> {
    services.runtime.block_on(tour(services))
}

async fn tour(services: &Services) -> Result<(), String> {
    let held = ask("/", &[("end-user", "jason")], "").await?;
    check("a delay: jason waits two seconds", held.status == 200 && held.took >= Duration::from_secs(2), &held)?;
    let aborted = ask("/checkout", &[], "").await?;
    check("an abort: /checkout answers 503", aborted.status == 503 && aborted.body == "fault filter abort", &aborted)?;
    let (mut second, mut last) = (0, aborted);
    for _ in 0..SPLIT {
        last = ask("/", &[], "").await?;
        second += usize::from(last.body == "v2\n");
    }
    let off = (second as f64 - 0.2 * SPLIT as f64).abs();
    check(&format!("a split: {second} of {SPLIT} requests went to v2"), off <= SPLIT_OFF, &last)?;
    let ordered = ask("/orders", &[], "{\"item\": 1}").await?;
    check("a mirrored copy of an order arrived", ordered.status == 200 && copied(services).await, &ordered)?;
    let refused = ask("/admin", &[], "").await?;
    check("a refusal: /admin answers 403", refused.status == 403 && refused.body == "RBAC: access denied", &refused)
}

fn check(what: &str, right: bool, answer: &Answer) -> Result<(), String> {
    if right {
        println!("ok    {what}");
        return Ok(());
    }
    let body = String::from_utf8_lossy(&answer.body);
    Err(format!("not so: {what}; the last answer was {} after {:?}: {body}", answer.status, answer.took))
}

/// Whether the mirror gets the copy, which may come a little later than the answer.
async fn copied(services: &Services) -> bool {
    for _ in 0..100 {
        if services.mirrored() == 1 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

async fn ask(path: &str, headers: &[(&str, &str)], body: &'static str) -> Result<Answer, String> {
    let text = |error: &dyn std::fmt::Display| format!("{path}: {error}");
    let stream = TcpStream::connect(PROXY).await.map_err(|error| text(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = Request::builder().method(method).uri(path).header("host", "shop.example");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Full::<Bytes>::from(body)).map_err(|error| text(&error))?;
    let start = Instant::now();
    let response = sender.send_request(request).await.map_err(|error| text(&error))?;
    let (status, took) = (response.status().as_u16(), start.elapsed());
    let body = response.into_body().collect().await.map_err(|error| text(&error))?.to_bytes();
    Ok(Answer { status, body, took })
}
