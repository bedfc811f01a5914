//! Bounds in time. They are short here, and nothing is said of how late they may be: who waits, waits for the end.

use crate::data_path::{BlackHole, OK, ask, each, equal, get, route, routed, trial};
use libtest_mimic::Trial;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::{After, Served, Socket, Upstream, cluster};
use serde_json::json;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("timeouts::slow_heads", slow_heads),
        trial("timeouts::slow_bodies", slow_bodies),
        trial("timeouts::idle_connections", idle_connections),
        trial("timeouts::behind_the_response_head", behind_the_response_head),
        trial("timeouts::connecting", connecting),
        trial("timeouts::of_the_client", of_the_client),
        trial("timeouts::the_upstream_is_let_go", the_upstream_is_let_go),
    ]
}

/// A head has one time in which to come, however it comes.
fn slow_heads() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let manager = json!({"timeouts": {"head": "0.2s"}});
    let served = Served::start(manager, vec![cluster("up", &[upstream.port], json!({}))])?;
    let rows = [
        ("a first line", "GET / HTTP/1.1\r\n", true),
        ("a letter", "G", true),
        ("fields", "GET / HTTP/1.1\r\nhost: a.test\r\nx: 1\r\n", true),
        ("an empty line", "\r\n", true),
        ("half a preface", "PRI * HTTP/2.0\r\n\r\nS", false),
        ("nothing", "", false),
    ];
    each(rows, |(name, bytes, told)| {
        let run = || {
            let mut client = Socket::connect(served.port)?;
            client.send(bytes)?;
            if *told {
                let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
                equal("status", answer.status(), 408)?;
                equal("log", served.logged()?, "408 DPE request_header_timeout".to_owned())?;
            }
            equal("what follows", client.rest()?.0, Vec::new())
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })?;
    // A head that comes in pieces, but comes.
    let mut client = Socket::connect(served.port)?;
    for byte in get("/").bytes() {
        client.send([byte])?;
    }
    let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
    equal("status", answer.status(), 200)
}

/// Who stops in the middle of a body is told so with 408, who waits for the upstream with 504 (as Envoy).
fn slow_bodies() -> Result<(), String> {
    let stalls = Upstream::start(|mut visit| {
        visit.head()?;
        visit.after(After::Stall)
    })?;
    let manager = json!({"timeouts": {"streamIdle": "0.2s"}});
    let served = Served::start(manager, vec![cluster("up", &[stalls.port], json!({}))])?;
    let rows = [
        ("a length", "content-length: 5\r\n\r\nhe", 408),
        ("chunks", "transfer-encoding: chunked\r\n\r\n5\r\nhe", 408),
        ("a body that is whole", "content-length: 5\r\n\r\nhello", 504),
    ];
    each(rows, |(name, rest, status)| {
        let run = || {
            let (answer, mut client) = ask(served.port, &format!("POST / HTTP/1.1\r\nhost: a.test\r\n{rest}"))?;
            equal("answer", (answer.status(), answer.text().as_str()), (*status, "stream timeout"))?;
            equal("log", served.logged()?, format!("{status} SI stream_idle_timeout"))?;
            if *status == 408 {
                equal("what follows", client.rest()?.0, Vec::new())?;
            }
            Ok(())
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

/// A connection without a request ends without a word.
fn idle_connections() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let manager = json!({"timeouts": {"connectionIdle": "0.2s"}});
    let served = Served::start(manager, vec![cluster("up", &[upstream.port], json!({}))])?;
    let (answer, mut client) = ask(served.port, &get("/"))?;
    equal("status", answer.status(), 200)?;
    equal("what follows", client.rest()?.0, Vec::new())?;
    let mut client = outrigger_tests::raw::Http2::connect(served.port)?;
    client.get(1, "/")?;
    equal("status", client.answer(1)?.status(), 200)?;
    equal("GOAWAY", client.ended()?, Some(0))
}

/// A timeout behind the response's head cuts the response off.
fn behind_the_response_head() -> Result<(), String> {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", After::Stall)?;
    let routes = vec![route("/", "up", json!({"timeout": "0.2s"}))];
    let served = Served::start(routed(routes), vec![cluster("up", &[upstream.port], json!({}))])?;
    let (answer, mut client) = ask(served.port, &get("/"))?;
    equal("answer", (answer.status(), answer.text().as_str(), answer.whole), (200, "ok", false))?;
    equal("what follows", client.rest()?.0, Vec::new())?;
    let log = served.logged()?;
    equal("log", log.starts_with("200 UT "), true).map_err(|fault| format!("{fault}: {log}"))?;
    upstream.wait_for_end(0).map(drop)
}

/// `grpc-timeout` counts, no longer than the route's own; as stock Envoy 1.40 with Istio's route configuration.
fn of_the_client() -> Result<(), String> {
    let stalls = Upstream::answering("", After::Stall)?;
    let routes = vec![route("/", "up", json!({})), route("/capped", "up", json!({"timeout": "0.1s"}))];
    let served = Served::start(routed(routes), vec![cluster("up", &[stalls.port], json!({}))])?;
    let message = Some("downstream duration timeout");
    let rows = [
        ("/", "100m", true, 200, Some("4"), message),
        ("/capped", "1H", true, 200, Some("4"), message),
        ("/", "100m", false, 504, None, None),
        ("/capped", "1x", true, 200, Some("14"), Some("upstream request timeout")),
    ];
    each(rows, |(path, timeout, grpc, status, number, message)| {
        let run = || {
            let kind = if *grpc { "content-type: application/grpc\r\n" } else { "" };
            let head = format!("GET {path} HTTP/1.1\r\nhost: a.test\r\ngrpc-timeout: {timeout}\r\n{kind}\r\n");
            let (answer, _) = ask(served.port, &head)?;
            equal("status", answer.status(), *status)?;
            equal("grpc-status", answer.header("grpc-status").as_deref(), *number)?;
            equal("grpc-message", answer.header("grpc-message").as_deref(), *message)?;
            let log = if *number == Some("14") { "UT response_timeout" } else { "- max_duration_timeout" };
            equal("log", served.logged()?, format!("{status} {log}"))
        };
        run().map_err(|fault| (format!("{path} {timeout}"), fault))
    })
}

/// An upstream that neither accepts nor refuses.
fn connecting() -> Result<(), String> {
    let hole = BlackHole::new()?;
    let routes = vec![route("/", "up", json!({"retries": {"attempts": 0}}))];
    let more = json!({"connectTimeout": "0.2s"});
    let served = Served::start(routed(routes), vec![cluster("up", &[hole.port()?], more)])?;
    let (answer, _) = ask(served.port, &get("/"))?;
    let body = "upstream connect error or disconnect/reset before headers. reset reason: connection timeout";
    equal("answer", (answer.status(), answer.text().as_str()), (503, body))?;
    equal("log", served.logged()?, "503 UF upstream_reset_before_response_started{connection_timeout}".to_owned())
}

/// What a client no longer waits for ends upstream as well.
fn the_upstream_is_let_go() -> Result<(), String> {
    let stalls = Upstream::answering("", After::Stall)?;
    let served = Served::start(json!({}), vec![cluster("up", &[stalls.port], json!({}))])?;
    let mut client = Socket::connect(served.port)?;
    client.send(get("/"))?;
    stalls.wait_for(1)?;
    drop(client);
    stalls.wait_for_end(0)?;
    equal("log", served.logged()?, "0 DC downstream_remote_disconnect".to_owned())?;
    let mut client = outrigger_tests::raw::Http2::connect(served.port)?;
    client.get(1, "/")?;
    stalls.wait_for(2)?;
    client.cancel(1)?;
    stalls.wait_for_end(1).map(drop)
}
