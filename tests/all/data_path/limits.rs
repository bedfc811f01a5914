//! Circuit breakers and outlier detection, over sockets.

use crate::data_path::{OK, Refusing, ask, equal, get, route, routed, trial};
use libtest_mimic::Trial;
use outrigger_tests::live::wait_until;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::http2::{Frame, kind};
use outrigger_tests::raw::{After, Http2, Message, Served, Socket, Upstream, cluster};
use serde_json::{Value, json};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("limits::connections_and_pending_requests", pending_requests),
        trial("limits::requests", requests),
        trial("limits::one_connection_serves_all_in_turn", in_turn),
        trial("limits::requests_on_a_connection", requests_on_a_connection),
        trial("limits::http2_requests_share_a_connection", http2_requests_share_a_connection),
        trial("limits::http2_requests_share_a_failure", http2_requests_share_a_failure),
        trial("limits::streams_of_an_http2_connection", streams_of_an_http2_connection),
        trial("limits::an_http2_connection_that_says_it_goes_away", goaway),
        trial("limits::ejection", ejection),
        trial("limits::nobody_is_ejected_beyond_the_limit", nobody_is_ejected),
        trial("limits::everybody_ejected", everybody_ejected),
        trial("limits::return_to_service", return_to_service),
    ]
}

/// An upstream that answers a request each time it is told to.
fn told() -> Result<(Upstream, Sender<()>), String> {
    let (tell, told) = channel();
    let told = Arc::new(Mutex::new(told));
    let upstream = Upstream::start(move |mut visit| {
        while visit.request()?.is_some() {
            let told = told.lock().unwrap_or_else(PoisonError::into_inner).recv();
            if told.is_err() {
                return Ok(());
            }
            visit.socket.send(OK)?;
        }
        Ok(())
    })?;
    Ok((upstream, tell))
}

/// Sends so many requests at a time, the first before the others: their statuses, sorted, and the refused answers.
fn at_once(
    served: &Served,
    upstream: &Upstream,
    tell: &Sender<()>,
    count: usize,
) -> Result<(Vec<u16>, Vec<Message>), String> {
    let mut clients = Vec::new();
    for number in 0..count {
        let mut client = Socket::connect(served.port)?;
        client.send(get("/"))?;
        clients.push(client);
        if number == 0 {
            upstream.wait_for(1)?;
        }
    }
    // Each is on its way, waits or has been refused before any is answered.
    wait_until(Duration::from_secs(30), || served.metric("envoy_http_downstream_rq_total") >= count as f64);
    (0..count).try_for_each(|_| tell.send(())).map_err(|error| error.to_string())?;
    let mut answers = Vec::new();
    for mut client in clients {
        answers.push(http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?);
    }
    let mut statuses: Vec<u16> = answers.iter().map(Message::status).collect();
    statuses.sort_unstable();
    Ok((statuses, answers.into_iter().filter(|answer| answer.status() == 503).collect()))
}

fn breakers(limits: Value) -> Value {
    json!({"circuitBreakers": limits})
}

const OVERFLOW: &str = "upstream connect error or disconnect/reset before headers. reset reason: overflow";

fn refused_for_overflow(refused: &[Message]) -> Result<(), String> {
    refused.iter().try_for_each(|answer| {
        equal("body", answer.text().as_str(), OVERFLOW)?;
        equal("x-envoy-overloaded", answer.header("x-envoy-overloaded").as_deref(), Some("true"))
    })
}

/// One on its way, one that waits, the others refused.
fn pending_requests() -> Result<(), String> {
    let (upstream, tell) = told()?;
    let limits = breakers(json!({"maxConnections": 1, "maxPendingRequests": 1}));
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], limits)])?;
    let (statuses, refused) = at_once(&served, &upstream, &tell, 5)?;
    equal("statuses", statuses, vec![200, 200, 503, 503, 503])?;
    refused_for_overflow(&refused)?;
    equal("connections", upstream.connections(), 1)
}

/// So many on their way, over whatever connections.
fn requests() -> Result<(), String> {
    let (upstream, tell) = told()?;
    let limits = breakers(json!({"maxRequests": 2}));
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], limits)])?;
    let (statuses, refused) = at_once(&served, &upstream, &tell, 5)?;
    equal("statuses", statuses, vec![200, 200, 503, 503, 503])?;
    refused_for_overflow(&refused)
}

/// Without a bound on those that wait, all are served.
fn in_turn() -> Result<(), String> {
    let (upstream, tell) = told()?;
    let limits = breakers(json!({"maxConnections": 1}));
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], limits)])?;
    let (statuses, _) = at_once(&served, &upstream, &tell, 5)?;
    equal("statuses", statuses, vec![200; 5])?;
    equal("connections", upstream.connections(), 1)
}

/// Each on a connection of its own, and the upstream is not told so.
fn requests_on_a_connection() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let more = json!({"maxRequestsPerConnection": 1});
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], more)])?;
    for _ in 0..3 {
        let (answer, _) = ask(served.port, &get("/"))?;
        equal("status", answer.status(), 200)?;
    }
    equal("connections", upstream.connections(), 3)?;
    let said = upstream.take().iter().any(|request| request.header("connection").is_some());
    equal("connection headers", said, false)
}

/// Requests that come while the first connection is being made wait for it.
fn http2_requests_share_a_connection() -> Result<(), String> {
    const STREAMS: u32 = 50;
    let upstream = Upstream::start(|visit| {
        let mut server = Http2::accept(visit.socket, &[])?;
        let mut all = Vec::new();
        while let Some((stream, _)) = server.request()? {
            all.push(stream);
            // All of them at a time.
            if all.len() == STREAMS as usize {
                for stream in all.drain(..) {
                    server.headers(stream, &[(":status", "204")], true)?;
                }
            }
        }
        Ok(())
    })?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({"protocol": "http2"}))])?;
    let mut client = Http2::connect(served.port)?;
    (0..STREAMS).try_for_each(|number| client.get(2 * number + 1, "/"))?;
    for number in 0..STREAMS {
        equal("status", client.answer(2 * number + 1)?.status(), 204)?;
    }
    equal("connections", upstream.connections(), 1)
}

/// When there is none to be had, everybody who waited for it is told so.
fn http2_requests_share_a_failure() -> Result<(), String> {
    const STREAMS: u32 = 20;
    let refusing = Refusing::new()?;
    let routes = vec![route("/", "up", json!({"retries": {"attempts": 0}}))];
    let clusters = vec![cluster("up", &[refusing.port()?], json!({"protocol": "http2"}))];
    let served = Served::start(routed(routes), clusters)?;
    let mut client = Http2::connect(served.port)?;
    (0..STREAMS).try_for_each(|number| client.get(2 * number + 1, "/"))?;
    for number in 0..STREAMS {
        equal("status", client.answer(2 * number + 1)?.status(), 503)?;
        let log = served.logged()?;
        equal("log", log.starts_with("503 UF "), true).map_err(|fault| format!("{fault}: {log}"))?;
    }
    Ok(())
}

/// An upstream that takes one stream at a time gets one at a time on each connection, and all are served.
fn streams_of_an_http2_connection() -> Result<(), String> {
    const STREAMS: u32 = 10;
    // SETTINGS_MAX_CONCURRENT_STREAMS
    let upstream = Upstream::start(|visit| {
        let mut server = Http2::accept(visit.socket, &[(3, 1)])?;
        while let Some((stream, request)) = server.request()? {
            equal("reset", request.reset, None)?;
            equal("streams at a time", server.open(), 0)?;
            server.headers(stream, &[(":status", "204")], true)?;
        }
        Ok(())
    })?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({"protocol": "http2"}))])?;
    let mut client = Http2::connect(served.port)?;
    // The first brings the settings.
    client.get(1, "/")?;
    equal("status", client.answer(1)?.status(), 204)?;
    (1..STREAMS).try_for_each(|number| client.get(2 * number + 1, "/"))?;
    for number in 1..STREAMS {
        equal("status", client.answer(2 * number + 1)?.status(), 204)?;
    }
    equal("faults", upstream.faults(), Vec::new())
}

/// Streams that it has still to answer are waited for, new ones go on another connection.
fn goaway() -> Result<(), String> {
    let upstream = Upstream::start(|visit| {
        let mut server = Http2::accept(visit.socket, &[])?;
        while let Some((stream, _)) = server.request()? {
            if visit.connection == 0 {
                let last = [stream.to_be_bytes(), 0u32.to_be_bytes()].concat();
                server.send(&[Frame::new(kind::GOAWAY, 0, 0, last)])?;
            }
            server.headers(stream, &[(":status", "204")], true)?;
        }
        Ok(())
    })?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({"protocol": "http2"}))])?;
    for _ in 0..20 {
        equal("status", ask(served.port, &get("/"))?.0.status(), 204)?;
    }
    equal("connections", upstream.connections(), 2)
}

const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nno";

fn judged(ports: &[u16], detection: Value) -> Value {
    cluster("up", ports, json!({"loadBalancing": "roundRobin", "outlierDetection": detection}))
}

/// After so many failures in a row an endpoint gets no more.
fn ejection() -> Result<(), String> {
    let (bad, good) = (Upstream::answering(UNAVAILABLE, After::Keep)?, Upstream::answering(OK, After::Keep)?);
    let detection = json!({"consecutive5xxErrors": 3, "maxEjectionPercent": 50});
    let served = Served::start(json!({}), vec![judged(&[bad.port, good.port], detection)])?;
    for _ in 0..40 {
        ask(served.port, &get("/"))?;
    }
    equal("requests to the failing endpoint", bad.take().len(), 3)?;
    equal("requests to the other", good.take().len(), 37)
}

/// Of two endpoints 10 % is nobody.
fn nobody_is_ejected() -> Result<(), String> {
    let (bad, good) = (Upstream::answering(UNAVAILABLE, After::Keep)?, Upstream::answering(OK, After::Keep)?);
    let detection = json!({"consecutive5xxErrors": 3});
    let served = Served::start(json!({}), vec![judged(&[bad.port, good.port], detection)])?;
    for _ in 0..40 {
        ask(served.port, &get("/"))?;
    }
    equal("requests to each", (bad.take().len(), good.take().len()), (20, 20))
}

/// Without an endpoint that is healthy there is no answer, unless unhealthy ones count from some share on.
fn everybody_ejected() -> Result<(), String> {
    for (minimum, status, log) in [(0, 503, "503 UH no_healthy_upstream"), (50, 503, "503 - via_upstream")] {
        let bad = Upstream::answering(UNAVAILABLE, After::Keep)?;
        let detection = json!({"consecutive5xxErrors": 3, "maxEjectionPercent": 100, "minHealthPercent": minimum});
        let served = Served::start(json!({}), vec![judged(&[bad.port], detection)])?;
        for _ in 0..3 {
            ask(served.port, &get("/"))?;
            equal("log", served.logged()?, "503 - via_upstream".to_owned())?;
        }
        let (answer, _) = ask(served.port, &get("/"))?;
        equal("status", answer.status(), status)?;
        equal("log", served.logged()?, log.to_owned())?;
    }
    Ok(())
}

/// Connections that fail count as answers 503 do, and an endpoint whose time is over is tried again.
fn return_to_service() -> Result<(), String> {
    let bad =
        Upstream::in_turn(vec![(Vec::new(), After::Reset), (Vec::new(), After::Reset), (OK.to_vec(), After::Keep)])?;
    let detection = json!({
        "consecutive5xxErrors": 2, "maxEjectionPercent": 100, "baseEjectionTime": "0.05s", "interval": "0.05s",
    });
    let routes = vec![route("/", "up", json!({"retries": {"attempts": 0}}))];
    let served = Served::start(routed(routes), vec![judged(&[bad.port], detection)])?;
    for _ in 0..2 {
        equal("status", ask(served.port, &get("/"))?.0.status(), 503)?;
    }
    let back = wait_until(Duration::from_secs(30), || {
        ask(served.port, &get("/")).is_ok_and(|(answer, _)| answer.status() == 200)
    });
    equal("back in service", back, true)
}
