//! HTTP/1.1 and HTTP/2 on either side: the same exchange, whatever is spoken.

use crate::data_path::{each, equal, trial};
use libtest_mimic::Trial;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::http2::{Answer, PREFACE};
use outrigger_tests::raw::{Http2, Message, Served, Socket, Upstream, Visit, cluster};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn trials() -> Vec<Trial> {
    vec![trial("combinations::exchanges", exchanges), trial("combinations::resets_are_seen_on_the_other_side", resets)]
}

const LARGE: usize = 3 << 20;

/// An upstream of both protocols that says in `x-seen` what it got, and sends the body and the trailer `x-sum` back.
fn echo() -> Result<Upstream, String> {
    Upstream::start(|mut visit| {
        while visit.socket.read.len() < 4 {
            if !visit.socket.fill()? {
                return Ok(());
            }
        }
        if PREFACE.starts_with(&visit.socket.read[..4]) { echo_http2(visit) } else { echo_http1(visit) }
    })
}

fn echo_http1(mut visit: Visit) -> Result<(), String> {
    while let Some(request) = visit.request()? {
        let host = request.header("host").unwrap_or_default();
        let seen = format!("{} {host}{} {}", request.method(), request.target(), request.body.len());
        let (target, body) = (request.target().to_owned(), request.body.clone());
        let head = format!("HTTP/1.1 200 OK\r\nx-seen: {seen}\r\n");
        let bytes = match target.as_str() {
            "/none" => format!("HTTP/1.1 204 No Content\r\nx-seen: {seen}\r\n\r\n").into_bytes(),
            "/early" => format!("HTTP/1.1 103 Early Hints\r\n\r\n{head}content-length: 0\r\n\r\n").into_bytes(),
            "/reset" => {
                visit.socket.send(format!("{head}content-length: 9\r\n\r\nok"))?;
                visit.socket.reset();
                return Ok(());
            }
            _ if request.method() == "HEAD" => format!("{head}content-length: 7\r\n\r\n").into_bytes(),
            "/length" => [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat(),
            _ => {
                let sum = request.trailer("x-sum").map_or_else(String::new, |sum| format!("x-sum: {sum}\r\n"));
                let chunk = if body.is_empty() { Vec::new() } else { chunk(&body) };
                let head = format!("{head}transfer-encoding: chunked\r\n\r\n");
                [head.as_bytes(), &chunk, b"0\r\n", sum.as_bytes(), b"grpc-status: 0\r\n\r\n"].concat()
            }
        };
        visit.socket.send(bytes)?;
    }
    Ok(())
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn echo_http2(visit: Visit) -> Result<(), String> {
    let mut server = Http2::accept(visit.socket, &[])?;
    while let Some((stream, request)) = server.request()? {
        let of = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
        let seen = format!("{} {}{} {}", of(":method"), of(":authority"), of(":path"), request.body.len());
        let ok = [(":status", "200"), ("x-seen", &seen)];
        match of(":path").as_str() {
            "/none" => server.headers(stream, &[(":status", "204"), ("x-seen", &seen)], true)?,
            "/early" => {
                server.headers(stream, &[(":status", "103")], false)?;
                server.headers(stream, &ok, true)?;
            }
            "/reset" => {
                server.headers(stream, &ok, false)?;
                server.data(stream, "ok", false)?;
                server.cancel(stream)?;
            }
            _ if of(":method") == "HEAD" => {
                server.headers(stream, &[&ok[..], &[("content-length", "7")]].concat(), true)?;
            }
            "/length" => {
                let length = request.body.len().to_string();
                server.headers(stream, &[&ok[..], &[("content-length", &length)]].concat(), false)?;
                server.send_body(stream, &request.body, true)?;
            }
            _ => {
                server.headers(stream, &ok, false)?;
                server.send_body(stream, &request.body, false)?;
                let sum = request.trailers.get("x-sum").map(|sum| ("x-sum", sum.as_str()));
                let trailers: Vec<_> = sum.into_iter().chain([("grpc-status", "0")]).collect();
                server.headers(stream, &trailers, true)?;
            }
        }
    }
    Ok(())
}

/// A request: method, path, body if it has one, whether a trailer follows.
#[derive(Clone, Copy)]
struct Request<'r> {
    method: &'r str,
    path: &'r str,
    body: Option<&'r [u8]>,
    trailer: bool,
}

fn over_http1(port: u16, request: Request<'_>) -> Result<Answer, String> {
    let mut client = Socket::connect(port)?;
    let head = format!("{} {} HTTP/1.1\r\nhost: a.test\r\n", request.method, request.path);
    let rest = match request.body {
        None => b"\r\n".to_vec(),
        Some(body) if request.trailer => {
            let chunk = if body.is_empty() { Vec::new() } else { chunk(body) };
            [&b"transfer-encoding: chunked\r\n\r\n"[..], &chunk, b"0\r\nx-sum: 9\r\n\r\n"].concat()
        }
        Some(body) => [format!("content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat(),
    };
    client.send([head.as_bytes(), &rest].concat())?;
    let answer = http1::read(&mut client, Kind::Response(request.method))?.ok_or("no answer")?;
    Ok(as_answer(answer))
}

fn as_answer(message: Message) -> Answer {
    let text = |fields: Vec<(String, Vec<u8>)>| -> BTreeMap<String, String> {
        fields.into_iter().map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned())).collect()
    };
    let status = message.status();
    let mut headers = text(message.headers);
    headers.insert(":status".into(), status.to_string());
    let reset = (!message.whole).then_some(0);
    Answer { headers, body: message.body, trailers: text(message.trailers), whole: message.whole, reset }
}

fn over_http2(port: u16, request: Request<'_>) -> Result<Answer, String> {
    let mut client = Http2::connect(port)?;
    let fields = [(":method", request.method), (":scheme", "http"), (":authority", "a.test"), (":path", request.path)];
    client.headers(1, &fields, request.body.is_none())?;
    if let Some(body) = request.body {
        client.send_body(1, body, !request.trailer)?;
        if request.trailer {
            client.headers(1, &[("x-sum", "9")], true)?;
        }
    }
    client.answer(1)
}

type Over = fn(u16, Request<'_>) -> Result<Answer, String>;

const CLIENTS: [(&str, Over); 2] = [("HTTP/1.1", over_http1), ("HTTP/2", over_http2)];

fn exchanges() -> Result<(), String> {
    let upstream = echo()?;
    let large: Vec<u8> = (0..LARGE).map(|place| (place % 251) as u8).collect();
    let request = |method, path, body, trailer| Request { method, path, body, trailer };
    let rows = [
        ("GET", request("GET", "/", None, false), 200),
        ("HEAD", request("HEAD", "/", None, false), 200),
        ("204", request("GET", "/none", None, false), 204),
        ("an interim response", request("GET", "/early", None, false), 200),
        ("POST", request("POST", "/", Some(&b"hello"[..]), false), 200),
        ("POST with a trailer", request("POST", "/", Some(b"hello"), true), 200),
        ("an empty body and a trailer", request("POST", "/", Some(b""), true), 200),
        ("a body with a length", request("PUT", "/length", Some(b"hello"), false), 200),
        ("a large body", request("POST", "/", Some(&large), false), 200),
        ("a large body with a length", request("POST", "/length", Some(&large), false), 200),
        ("a large body and a trailer", request("POST", "/", Some(&large), true), 200),
    ];
    for upstream_protocol in ["http1", "http2"] {
        let protocol = json!({"protocol": upstream_protocol});
        let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], protocol)])?;
        for (client, over) in CLIENTS {
            each(&rows, |(name, request, status)| {
                let run = || {
                    let answer = over(served.port, *request)?;
                    equal("status", (answer.status(), answer.whole), (*status, true))?;
                    let size = request.body.map_or(0, <[u8]>::len);
                    let seen = format!("{} a.test{} {size}", request.method, request.path);
                    equal("what the upstream saw", answer.headers.get("x-seen"), Some(&seen))?;
                    let echoed = !matches!(request.path, "/none" | "/early") && request.method != "HEAD";
                    let body = request.body.filter(|_| echoed).unwrap_or_default();
                    equal("body", answer.body == body, true)?;
                    let sum = answer.trailers.get("x-sum").map(String::as_str);
                    equal("trailer", sum, request.trailer.then_some("9"))?;
                    let grpc = request.method != "HEAD" && request.path == "/";
                    let status = answer.trailers.get("grpc-status").map(String::as_str);
                    equal("grpc-status", status, grpc.then_some("0"))?;
                    let length = match (request.method, request.path) {
                        ("HEAD", _) => Some("7".to_owned()),
                        (_, "/length") => Some(size.to_string()),
                        _ => answer.headers.get("content-length").cloned(),
                    };
                    equal("content-length", answer.headers.get("content-length").cloned(), length)
                };
                run().map_err(|fault| (format!("{client} to {upstream_protocol}, {name}"), fault))
            })?;
        }
    }
    equal("faults", upstream.faults(), Vec::new())
}

/// A response that is reset in its middle is cut in the client's own way, after what had come of it.
fn resets() -> Result<(), String> {
    let upstream = echo()?;
    for upstream_protocol in ["http1", "http2"] {
        let protocol = json!({"protocol": upstream_protocol});
        let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], protocol)])?;
        for (client, over) in CLIENTS {
            let request = Request { method: "GET", path: "/reset", body: None, trailer: false };
            let answer = over(served.port, request)?;
            let seen = (answer.status(), answer.whole, answer.reset.is_some());
            equal(&format!("{client} to {upstream_protocol}"), seen, (200, false, true))?;
            let log = served.logged()?;
            let flag = if upstream_protocol == "http2" { "UR" } else { "UPE" };
            let expected = format!("200 {flag} upstream_reset_after_response_started");
            equal("log", log.starts_with(&expected), true).map_err(|fault| format!("{fault}: {log}"))?;
        }
    }
    Ok(())
}
