//! HTTP/2 requests that text could not say, or says otherwise (RFC 9113 section 8): refused on their own stream, or passed
//! on as one message. The upstream speaks HTTP/1.1, where a line feed in a value would be a header.

use crate::data_path::{OK, each, equal, trial};
use libtest_mimic::Trial;
use outrigger_tests::host_engine::module_file;
use outrigger_tests::raw::http2::{Answer, Frame, flag, kind};
use outrigger_tests::raw::{After, Http2, Served, Upstream, cluster};
use serde_json::json;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("http2_requests::refused", refused),
        trial("http2_requests::bodies_of_another_length", bodies),
        trial("http2_requests::trailers", trailers),
        trial("http2_requests::passed_on", passed_on),
        trial("http2_requests::lengths_that_a_plugin_may_edit", edited),
    ]
}

type Fields = Vec<(&'static str, &'static str)>;

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "a.test");
const PATH: (&str, &str) = (":path", "/");

/// A request with these beside what every request has.
fn with(fields: &[(&'static str, &'static str)]) -> Fields {
    [&[METHOD, SCHEME, AUTHORITY, PATH], fields].concat()
}

/// Not taken: reset, or answered with a refusal, or the end of the whole connection.
fn is_refused(client: &Http2, answer: &Answer) -> bool {
    answer.reset.is_some() || matches!(answer.status(), 400..=499 | 501) || client.goaway == Some(PROTOCOL_ERROR)
}

/// What ends a connection whose frames cannot be read, and of which a field's bytes could not be in any message.
const PROTOCOL_ERROR: u32 = 1;

fn refused() -> Result<(), String> {
    let long: &'static str = format!("/{}", "x".repeat(17 << 10)).leak();
    let rows: Vec<(&str, Fields)> = vec![
        ("a name in upper case", with(&[("X-Upper", "1")])),
        ("a line feed in a value", with(&[("x", "1\r\nevil: 1")])),
        ("a bare line feed in a value", with(&[("x", "1\nevil: 1")])),
        ("a bare CR in a value", with(&[("x", "1\revil: 1")])),
        ("NUL in a value", with(&[("x", "1\0")])),
        ("a control in a value", with(&[("x", "1\x1b")])),
        ("a line feed in a name", with(&[("x\r\nevil", "1")])),
        ("a colon in a name", with(&[("x: 1", "1")])),
        ("a space in a name", with(&[("x y", "1")])),
        ("an empty name", with(&[("", "1")])),
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "1")])),
        ("proxy-connection", with(&[("proxy-connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te other than trailers", with(&[("te", "gzip")])),
        ("another host", with(&[("host", "b.test")])),
        ("two hosts", with(&[("host", "a.test"), ("host", "b.test")])),
        ("two lengths", with(&[("content-length", "1"), ("content-length", "2")])),
        ("a signed length", with(&[("content-length", "+1")])),
        ("an unknown expectation", with(&[("expect", "x")])),
        ("no method", vec![SCHEME, AUTHORITY, PATH]),
        ("an empty method", vec![(":method", ""), SCHEME, AUTHORITY, PATH]),
        ("a method with a space", vec![(":method", "GET /evil HTTP/1.1"), SCHEME, AUTHORITY, PATH]),
        ("a method with a line feed", vec![(":method", "GET\r\n"), SCHEME, AUTHORITY, PATH]),
        ("two methods", vec![METHOD, METHOD, SCHEME, AUTHORITY, PATH]),
        ("no path", vec![METHOD, SCHEME, AUTHORITY]),
        ("an empty path", vec![METHOD, SCHEME, AUTHORITY, (":path", "")]),
        ("a path without a slash", vec![METHOD, SCHEME, AUTHORITY, (":path", "evil")]),
        ("a path with a space", vec![METHOD, SCHEME, AUTHORITY, (":path", "/a b")]),
        ("a path with a request in it", vec![METHOD, SCHEME, AUTHORITY, (":path", "/ HTTP/1.1\r\nevil: 1\r\n\r\n")]),
        ("a path with NUL", vec![METHOD, SCHEME, AUTHORITY, (":path", "/\0")]),
        ("an encoded NUL", vec![METHOD, SCHEME, AUTHORITY, (":path", "/%00")]),
        ("half an escape", vec![METHOD, SCHEME, AUTHORITY, (":path", "/%4")]),
        ("two paths", vec![METHOD, SCHEME, AUTHORITY, PATH, (":path", "/evil")]),
        ("a long path", vec![METHOD, SCHEME, AUTHORITY, (":path", long)]),
        ("no authority", vec![METHOD, SCHEME, PATH]),
        ("an authority with a path", vec![METHOD, SCHEME, (":authority", "a.test/evil"), PATH]),
        ("an authority with user information", vec![METHOD, SCHEME, (":authority", "u@a.test"), PATH]),
        ("an authority with a space", vec![METHOD, SCHEME, (":authority", "a.test evil"), PATH]),
        ("an authority with a line feed", vec![METHOD, SCHEME, (":authority", "a.test\r\nevil: 1"), PATH]),
        ("two authorities", vec![METHOD, SCHEME, AUTHORITY, (":authority", "b.test"), PATH]),
        ("a pseudo-header behind fields", vec![METHOD, SCHEME, AUTHORITY, ("x", "1"), PATH]),
        ("a status", with(&[(":status", "200")])),
        ("an unknown pseudo-header", vec![METHOD, SCHEME, AUTHORITY, PATH, (":evil", "1")]),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "a.test:443")]),
        ("extended CONNECT", vec![(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, AUTHORITY, PATH]),
    ];
    let upstream = Upstream::answering(OK, After::Keep)?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    each(rows, |(name, fields)| {
        let run = || {
            let mut client = Http2::connect(served.port)?;
            client.headers(1, fields, true)?;
            let answer = client.answer(1)?;
            equal("refused", is_refused(&client, &answer), true).map_err(|fault| format!("{fault}: {answer:?}"))?;
            let seen = upstream.take();
            equal("requests upstream", seen.len(), 0).map_err(|fault| format!("{fault}: {seen:?}"))?;
            if client.goaway.is_some() {
                return Ok(());
            }
            client.get(3, "/next")?;
            let next = client.answer(3)?;
            equal("the next answer", next.status(), 200).map_err(|fault| format!("{fault}: {:?}", client.goaway))?;
            equal("the next request", upstream.take().len(), 1)
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })?;
    equal("faults", upstream.faults(), Vec::new())
}

/// A length that DATA does not keep: the stream is refused, and the upstream does not take what came for a request.
fn bodies() -> Result<(), String> {
    let rows = [
        ("less than announced", "9", "hello", true),
        ("more than announced", "3", "hello", true),
        ("none of what was announced", "3", "", true),
        ("more than announced, to be continued", "3", "hello", false),
    ];
    let upstream = Upstream::answering(OK, After::Keep)?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    each(rows, |(name, length, body, end)| {
        let run = || {
            let mut client = Http2::connect(served.port)?;
            let fields = [(":method", "POST"), SCHEME, AUTHORITY, PATH, ("content-length", *length)];
            client.headers(1, &fields, body.is_empty())?;
            if !body.is_empty() {
                client.data(1, *body, *end)?;
            }
            let answer = client.answer(1)?;
            equal("refused", is_refused(&client, &answer), true).map_err(|fault| format!("{fault}: {answer:?}"))?;
            client.get(3, "/next")?;
            equal("the next answer", client.answer(3)?.status(), 200)?;
            let whole = upstream.take().into_iter().filter(|request| request.whole);
            equal(
                "whole requests",
                whole.map(|request| request.target().to_owned()).collect::<Vec<_>>(),
                vec!["/next".to_owned()],
            )
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

fn trailers() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    let rows: [(&str, Fields, bool, bool); 5] = [
        (
            "trailers",
            vec![("x-sum", "9"), ("authorization", "x"), ("x-envoy-retry-on", "5xx"), ("host", "b")],
            true,
            true,
        ),
        ("a pseudo-header", vec![(":path", "/evil"), ("x-sum", "9")], true, true),
        ("a line feed", vec![("x", "1\r\nevil: 1")], true, false),
        ("a connection field", vec![("transfer-encoding", "chunked")], true, false),
        // CVE-2026-73513: a second block that does not end the stream.
        ("no end", vec![("x-sum", "9")], false, false),
    ];
    each(rows, |(name, fields, end, passes)| {
        let run = || {
            let mut client = Http2::connect(served.port)?;
            client.headers(1, &[(":method", "POST"), SCHEME, AUTHORITY, PATH], false)?;
            client.data(1, "hello", false)?;
            client.headers(1, fields, *end)?;
            let answer = client.answer(1)?;
            let whole: Vec<_> = upstream.take().into_iter().filter(|request| request.whole).collect();
            if !passes {
                equal("refused", is_refused(&client, &answer), true).map_err(|fault| format!("{fault}: {answer:?}"))?;
                return equal("whole requests", whole.len(), 0);
            }
            equal("status", answer.status(), 200)?;
            let [request] = whole.as_slice() else { return Err(format!("{whole:?}")) };
            let names: Vec<_> = request.trailers.iter().map(|(name, _)| name.as_str()).collect();
            equal("trailers", names, vec!["x-sum"])
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

/// As HTTP/1.1 has it: cookies are one field, framing is the proxy's own, the authority is Host.
fn passed_on() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    let mut client = Http2::connect(served.port)?;
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "A.Test:80"),
        (":path", "/a/../b?c"),
        ("cookie", "a=1"),
        ("host", "a.test:80"),
        ("cookie", "b=2"),
        ("te", "trailers"),
        ("x-envoy-max-retries", "9"),
        ("x-forwarded-client-cert", "By=x"),
        ("x", "1"),
        ("x", "2"),
    ];
    // A block in pieces.
    let block = client.block(&fields);
    let (first, rest) = block.split_at(block.len() / 2);
    client.send(&[
        Frame::new(kind::HEADERS, 0, 1, first),
        Frame::new(kind::CONTINUATION, flag::END_HEADERS, 1, rest),
        Frame::new(kind::DATA, 0, 1, "hel"),
        Frame::new(kind::DATA, flag::END_STREAM, 1, "lo"),
    ])?;
    let answer = client.answer(1)?;
    equal("answer", (answer.status(), answer.text().as_str()), (200, "ok"))?;
    let requests = upstream.take();
    let [request] = requests.as_slice() else { return Err(format!("{requests:?}")) };
    equal("first line", request.start.as_str(), "POST /b?c HTTP/1.1")?;
    equal("body", (request.text().as_str(), request.whole), ("hello", true))?;
    let expected = [
        ("host", Some("A.Test:80")),
        ("cookie", Some("a=1; b=2")),
        ("transfer-encoding", Some("chunked")),
        ("content-length", None),
        ("x-envoy-max-retries", None),
        ("x-forwarded-client-cert", None),
        ("x-forwarded-proto", Some("http")),
        ("te", Some("trailers")),
        ("x", Some("1,2")),
    ];
    expected.into_iter().try_for_each(|(name, value)| equal(name, request.header(name).as_deref(), value))
}

/// A plugin that may edit bodies holds back what headers say of their length, and nothing else.
fn edited() -> Result<(), String> {
    let guest = guests::find("edit_body").ok_or("there is no such guest")?;
    let file = module_file(guest.name, guest.bytes)?;
    let upstream = Upstream::answering(OK, After::Keep)?;
    let rows = [
        ("nothing is edited", "response_body 1 1 x", "ok"),
        ("more before it", "response_body 0 0 more", "moreok"),
        ("another", "response_body 0 4294967295 another hold", "another"),
    ];
    each(rows, |(what, script, body)| {
        let run = || {
            let plugin = json!({"name": "edit", "module": "edit", "vmConfiguration": script});
            let modules = json!({"edit": {"file": file}});
            let clusters = vec![cluster("up", &[upstream.port], json!({}))];
            let manager = json!({"plugins": [plugin]});
            let served = Served::start_with(manager, clusters, json!({"modules": modules}))?;
            let mut client = Http2::connect(served.port)?;
            client.get(1, "/")?;
            let answer = client.answer(1)?;
            equal("answer", (answer.status(), answer.text().as_str()), (200, *body))?;
            // A length that is told is the body's.
            let told = answer.headers.get("content-length").map_or(body.len().to_string(), String::clone);
            equal("content-length", told, body.len().to_string())
        };
        run().map_err(|fault| ((*what).to_owned(), fault))
    })
}
