//! Retries over sockets: which failure is tried again under which condition, what is sent again, and when no more.

use crate::data_path::{OK, Refusing, ask, each, equal, get, route, routed, trial};
use libtest_mimic::Trial;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::http2::{Frame, kind};
use outrigger_tests::raw::{After, Http2, Served, Socket, Upstream, cluster};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("retries::matrix", matrix),
        trial("retries::of_http2_streams", http2_streams),
        trial("retries::bodies_are_sent_again", bodies),
        trial("retries::not_after_the_response_began", not_after_the_response_began),
        trial("retries::another_endpoint_is_tried", another_endpoint),
        trial("retries::within_the_route_timeout", within_the_route_timeout),
    ]
}

/// What the upstream does, by column of the matrix.
const COLUMNS: [&str; 10] = ["refused", "reset", "500", "502", "503", "504", "409", "429", "per-try", "grpc"];

/// Condition, and the attempts with two retries, by column. Measured in stock Envoy 1.40 with Istio's route
/// configuration.
const MATRIX: [(&str, [usize; 10]); 12] = [
    ("", [3, 1, 1, 1, 1, 1, 1, 1, 1, 3]),
    ("5xx", [3, 3, 3, 3, 3, 3, 1, 1, 3, 1]),
    ("gateway-error", [3, 3, 1, 3, 3, 3, 1, 1, 3, 1]),
    ("reset", [3, 3, 1, 1, 1, 1, 1, 1, 3, 1]),
    ("connect-failure", [3, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("reset-before-request", [3, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("retriable-4xx", [1, 1, 1, 1, 1, 1, 3, 1, 1, 1]),
    ("refused-stream", [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("503", [1, 1, 1, 1, 3, 1, 1, 1, 1, 1]),
    ("unavailable,cancelled", [1, 1, 1, 1, 1, 1, 1, 1, 1, 3]),
    ("5xx,409", [3, 3, 3, 3, 3, 3, 3, 1, 3, 1]),
    ("connect-failure,503", [3, 1, 1, 1, 3, 1, 1, 1, 1, 1]),
];

fn matrix() -> Result<(), String> {
    let refusing = Refusing::new()?;
    let mut upstreams = Vec::new();
    let mut clusters = vec![cluster("refused", &[refusing.port()?], json!({}))];
    for column in &COLUMNS[1..] {
        let status = format!("HTTP/1.1 {column} x\r\ncontent-length: 2\r\n\r\nno");
        let upstream = match *column {
            "reset" => Upstream::answering("", After::Reset)?,
            "per-try" => Upstream::answering("", After::Stall)?,
            "grpc" => Upstream::answering(
                "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n",
                After::Keep,
            )?,
            _ => Upstream::answering(status, After::Keep)?,
        };
        clusters.push(cluster(column, &[upstream.port], json!({})));
        upstreams.push(upstream);
    }
    let path = |condition: usize, column: &str| format!("/{condition}/{column}");
    let routes = MATRIX.iter().enumerate().flat_map(|(number, (condition, _))| {
        COLUMNS.iter().map(move |column| route(&path(number, column), column, retry(condition, column)))
    });
    let served = Served::start(
        outrigger_tests::raw::merged(
            routed(routes.collect()),
            &json!({"accessLog": {"format": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"}}),
        ),
        clusters,
    )?;
    let cells = MATRIX.iter().enumerate().flat_map(|(number, (condition, attempts))| {
        COLUMNS.iter().zip(attempts).map(move |(column, attempts)| (number, *condition, *column, *attempts))
    });
    each(cells, |(number, condition, column, attempts)| {
        let run = || {
            ask(served.port, &get(&path(*number, column)))?;
            equal("attempts", served.logged()?, attempts.to_string())?;
            let Some(place) = COLUMNS.iter().skip(1).position(|known| known == column) else { return Ok(()) };
            equal("requests upstream", upstreams[place].take().len(), *attempts)
        };
        run().map_err(|fault| (format!("{condition:?} {column}"), fault))
    })
}

fn retry(condition: &str, column: &str) -> Value {
    let mut retries = json!({"attempts": 2});
    if !condition.is_empty() {
        retries["retryOn"] = condition.into();
    }
    if column == "per-try" {
        retries["perTryTimeout"] = "0.05s".into();
    }
    json!({"retries": retries})
}

/// What RST_STREAM and GOAWAY of an upstream are taken for (RFC 9113 sections 6.8 and 8.7). A stream that was refused has
/// not been looked at.
fn http2_streams() -> Result<(), String> {
    const REFUSED_STREAM: u32 = 7;
    const CANCEL: u32 = 8;
    let rows = [
        ("", REFUSED_STREAM, 3, "503 URX,UR upstream_reset_before_response_started{remote_refused_stream_reset}"),
        ("", CANCEL, 1, "503 UR upstream_reset_before_response_started{remote_reset}"),
        (
            "refused-stream",
            REFUSED_STREAM,
            3,
            "503 URX,UR upstream_reset_before_response_started{remote_refused_stream_reset}",
        ),
        ("refused-stream", CANCEL, 1, "503 UR upstream_reset_before_response_started{remote_reset}"),
        ("reset", CANCEL, 3, "503 URX,UR upstream_reset_before_response_started{remote_reset}"),
        (
            "connect-failure",
            REFUSED_STREAM,
            1,
            "503 UR upstream_reset_before_response_started{remote_refused_stream_reset}",
        ),
    ];
    each(rows, |(condition, reason, attempts, log)| {
        let reason = *reason;
        let run = || {
            let seen = Arc::new(AtomicUsize::new(0));
            let count = seen.clone();
            let upstream = Upstream::start(move |visit| {
                let mut server = Http2::accept(visit.socket, &[])?;
                while let Some((stream, _)) = server.request()? {
                    count.fetch_add(1, Ordering::SeqCst);
                    server.send(&[Frame::new(kind::RST_STREAM, 0, stream, reason.to_be_bytes())])?;
                }
                Ok(())
            })?;
            let routes = vec![route("/", "up", retry(condition, ""))];
            let http2 = json!({"protocol": "http2"});
            let served = Served::start(routed(routes), vec![cluster("up", &[upstream.port], http2)])?;
            let (answer, _) = ask(served.port, &get("/"))?;
            equal("status", answer.status(), 503)?;
            equal("log", served.logged()?.as_str(), *log)?;
            equal("attempts", seen.load(Ordering::SeqCst), *attempts)
        };
        run().map_err(|fault| (format!("{condition:?} {reason}"), fault))
    })
}

const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nno";

/// The same body again, trailers and all, as long as it is within the limit.
fn bodies() -> Result<(), String> {
    let chunked =
        |body: &str| format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nx-sum: 9\r\n\r\n", body.len());
    let length = |body: &str| format!("content-length: {}\r\n\r\n{body}", body.len());
    let (small, large) = ("x".repeat(1000), "y".repeat(3000));
    let rows = [
        ("a length", length(&small), &small, 2, 200),
        ("chunks and trailers", chunked(&small), &small, 2, 200),
        ("no body", length(""), &String::new(), 2, 200),
        ("a body beyond the limit", length(&large), &large, 1, 503),
        ("chunks beyond the limit", chunked(&large), &large, 1, 503),
    ];
    each(rows, |(name, request, body, attempts, status)| {
        let run = || {
            let upstream = Upstream::in_turn(vec![(UNAVAILABLE.to_vec(), After::Keep), (OK.to_vec(), After::Keep)])?;
            let routes = vec![route("/", "up", json!({"retries": {"attempts": 2, "retryOn": "5xx"}}))];
            let manager = outrigger_tests::raw::merged(routed(routes), &json!({"limits": {"retryBody": 2000}}));
            let served = Served::start(manager, vec![cluster("up", &[upstream.port], json!({}))])?;
            let (answer, _) = ask(served.port, &format!("POST / HTTP/1.1\r\nhost: a.test\r\n{request}"))?;
            equal("status", answer.status(), *status)?;
            let requests = upstream.take();
            equal("attempts", requests.len(), *attempts)?;
            for request in &requests {
                equal("body", (&request.text() == *body, request.whole), (true, true))?;
                let sum = name.starts_with("chunks").then(|| "9".to_owned());
                equal("trailer", request.trailer("x-sum"), sum)?;
            }
            Ok(())
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

/// A response that has been passed on cannot be taken back.
fn not_after_the_response_began() -> Result<(), String> {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_vec();
    for after in [After::Close, After::Reset] {
        let upstream = Upstream::in_turn(vec![(cut.clone(), after), (OK.to_vec(), After::Keep)])?;
        let on = "5xx,reset,gateway-error,connect-failure,refused-stream";
        let routes = vec![route("/", "up", json!({"retries": {"attempts": 2, "retryOn": on}}))];
        let served = Served::start(routed(routes), vec![cluster("up", &[upstream.port], json!({}))])?;
        let mut client = Socket::connect(served.port)?;
        client.send(get("/"))?;
        let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
        equal("answer", (answer.status(), answer.whole), (200, false))?;
        equal("attempts", upstream.take().len(), 1)?;
    }
    Ok(())
}

/// An endpoint that has failed is left out of the same request's retries (Istio's `previous_hosts` predicate).
fn another_endpoint() -> Result<(), String> {
    let (bad, good) = (Upstream::answering(UNAVAILABLE, After::Keep)?, Upstream::answering(OK, After::Keep)?);
    let routes = vec![route("/", "up", json!({"retries": {"attempts": 1, "retryOn": "5xx"}}))];
    let in_turn = json!({"loadBalancing": "roundRobin"});
    let served = Served::start(routed(routes), vec![cluster("up", &[bad.port, good.port], in_turn)])?;
    for number in 0..40 {
        let (answer, _) = ask(served.port, &get("/"))?;
        equal(&format!("answer {number}"), answer.status(), 200)?;
    }
    equal("requests that succeeded", good.take().len(), 40)?;
    equal("retries", bad.take().len() as f64, served.metric("envoy_cluster_upstream_rq_retry"))
}

/// The route's timeout bounds all attempts together.
fn within_the_route_timeout() -> Result<(), String> {
    let stalls = Upstream::answering("", After::Stall)?;
    let retries = json!({"attempts": 1000, "perTryTimeout": "0.02s", "retryOn": "5xx"});
    let routes = vec![route("/", "up", json!({"timeout": "0.3s", "retries": retries}))];
    let served = Served::start(routed(routes), vec![cluster("up", &[stalls.port], json!({}))])?;
    let (answer, _) = ask(served.port, &get("/"))?;
    equal("answer", (answer.status(), answer.text().as_str()), (504, "upstream request timeout"))?;
    equal("log", served.logged()?, "504 UT response_timeout".to_owned())?;
    let attempts = stalls.take().len();
    equal("several attempts, not all", (2..100).contains(&attempts), true)
        .map_err(|fault| format!("{fault}: {attempts}"))
}
