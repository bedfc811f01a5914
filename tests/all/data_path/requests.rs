//! HTTP/1.1 requests, as no client should send them and as some do: refused whole, or passed on in the one spelling
//! that policy has seen.

use crate::data_path::{OK, each, equal, trial};
use libtest_mimic::Trial;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::{After, Message, Served, Socket, Upstream, cluster};
use serde_json::json;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("requests::refused", refused),
        trial("requests::passed_on", passed_on),
        trial("requests::bodies_refused", bodies_refused),
        trial("requests::local_replies_take_their_body_with_them", local_replies),
    ]
}

/// Nothing of these reaches an upstream, the client gets this one answer, and the connection ends: where the request
/// would have ended is unknown. Statuses as Envoy's where it refuses too.
fn refused() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    each(refusals(), |(name, bytes, status, log)| {
        let run = || {
            let mut client = Socket::connect(served.port)?;
            // A second request, to be seen if the first one ends elsewhere than it should.
            client.send([bytes, &b"GET /smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n"[..]].concat())?;
            let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
            equal("status", answer.status(), *status)?;
            equal("log", served.logged()?, format!("{status} {log}"))?;
            equal("connection", answer.header("connection").as_deref(), Some("close"))?;
            equal("what follows", client.rest()?.0, Vec::new())?;
            equal("upstream", upstream.take().len(), 0)
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })?;
    equal("upstream connections", upstream.connections(), 0)
}

/// Requests to begin with, for those that change them: refused ones and others.
pub(super) fn samples() -> Vec<Vec<u8>> {
    let small = |bytes: &Vec<u8>| bytes.len() < 1000;
    let refused = refusals().into_iter().map(|(_, bytes, _, _)| bytes).filter(small);
    // As often as the others: most changes end in a refusal anyway.
    let passed = PASSAGES.iter().cycle().take(120).map(|(_, bytes, ..)| bytes.as_bytes().to_vec());
    refused.chain(passed).collect()
}

type Refusal = (&'static str, Vec<u8>, u16, &'static str);

fn refusals() -> Vec<Refusal> {
    let mut rows = Vec::new();
    let mut add = |name, bytes: &[u8], status, log| rows.push((name, bytes.to_vec(), status, log));
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n").into_bytes();
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n").into_bytes();
    const GRAMMAR: &str = "DPE http1.codec_error";
    const CODING: &str = "DPE http1.invalid_transfer_encoding";
    const CHARACTERS: &str = "DPE http1.invalid_characters";
    const AUTHORITY: &str = "- http.invalid_authority";
    const NOMINATED: &str = "- http1.connection_header_rejected";

    // Framing: RFC 9112 sections 6.1 and 6.3, without their allowances.
    let both = "DPE http1.content_length_and_chunked_not_allowed";
    add("CL and TE", &post("content-length: 5\r\ntransfer-encoding: chunked\r\n"), 400, both);
    add("TE and CL", &post("transfer-encoding: chunked\r\ncontent-length: 5\r\n"), 400, both);
    add("CL and TE by case", &post("Content-Length: 5\r\nTRANSFER-ENCODING: CHUNKED\r\n"), 400, both);
    add("two lengths", &post("content-length: 5\r\ncontent-length: 6\r\n"), 400, GRAMMAR);
    add("a length twice", &post("content-length: 5\r\ncontent-length: 5\r\n"), 400, GRAMMAR);
    for (name, length) in [
        ("a list of lengths", "5, 5"),
        ("a signed length", "+5"),
        ("a negative length", "-5"),
        ("a hexadecimal length", "0x5"),
        ("an empty length", ""),
        ("a length in pieces", "5 5"),
        ("a length beyond 64 bits", "18446744073709551616"),
        ("a length with a fraction", "5.0"),
    ] {
        add(name, &post(&format!("content-length: {length}\r\n")), 400, GRAMMAR);
    }
    for (name, coding, status) in [
        ("chunked twice", "chunked, chunked", 400),
        ("gzip and chunked", "gzip, chunked", 400),
        ("chunked and identity", "chunked, identity", 400),
        ("quoted chunked", "\"chunked\"", 400),
        ("chunked with a parameter", "chunked;a=b", 400),
        ("an empty coding", "", 400),
        ("another coding", "xchunked", 501),
        ("identity", "identity", 501),
    ] {
        add(name, &post(&format!("transfer-encoding: {coding}\r\n")), status, CODING);
    }
    add("two codings", &post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"), 400, CODING);
    add("a coding behind VT", &post("transfer-encoding:\x0bchunked\r\n"), 400, CHARACTERS);
    let old = b"POST / HTTP/1.0\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n";
    add("a coding in HTTP/1.0", old, 400, "DPE http1.transfer_encoding_not_allowed");

    // Grammar: RFC 9112 sections 2.2, 3, 5.1 and 5.2, RFC 9110 section 5.5.
    add("bare line feeds", b"GET / HTTP/1.1\nhost: a.test\n\n", 400, GRAMMAR);
    add("one bare line feed", b"GET / HTTP/1.1\r\nhost: a.test\nx: 1\r\n\r\n", 400, GRAMMAR);
    add("a head that ends bare", b"GET / HTTP/1.1\r\nhost: a.test\r\n\n", 400, GRAMMAR);
    add("a folded value", &get("x: 1\r\n 2\r\n"), 400, GRAMMAR);
    add("a folded first line", b"GET / HTTP/1.1\r\n host: a.test\r\n\r\n", 400, GRAMMAR);
    add("a space before the colon", &get("content-length : 5\r\n"), 400, GRAMMAR);
    add("a tab before the colon", &get("x\t: 5\r\n"), 400, GRAMMAR);
    add("no colon", &get("x\r\n"), 400, GRAMMAR);
    add("no name", &get(": 1\r\n"), 400, GRAMMAR);
    add("a name that is no token", &get("x(y): 1\r\n"), 400, GRAMMAR);
    add("NUL in a name", &get("x\0y: 1\r\n"), 400, GRAMMAR);
    add("NUL in a value", &get("x: 1\0\r\n"), 400, CHARACTERS);
    add("a bare CR in a value", &get("x: 1\r2\r\n"), 400, CHARACTERS);
    add("a control in a value", &get("x: \x1b[0m\r\n"), 400, CHARACTERS);
    add("DEL in a value", &get("x: \x7f\r\n"), 400, CHARACTERS);
    add("two spaces", b"GET  / HTTP/1.1\r\nhost: a.test\r\n\r\n", 400, GRAMMAR);
    add("a space in the target", b"GET /a b HTTP/1.1\r\nhost: a.test\r\n\r\n", 400, GRAMMAR);
    add("no version", b"GET /\r\nhost: a.test\r\n\r\n", 400, GRAMMAR);
    add("a version in lower case", b"GET / http/1.1\r\nhost: a.test\r\n\r\n", 400, GRAMMAR);
    add("no method", b" / HTTP/1.1\r\nhost: a.test\r\n\r\n", 400, GRAMMAR);
    add("a method that is no token", b"G(T / HTTP/1.1\r\nhost: a.test\r\n\r\n", 400, GRAMMAR);
    add("a method without an end", &[b'A'; 64], 400, GRAMMAR);
    add("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, GRAMMAR);
    add("HTTP/1.0", b"GET / HTTP/1.0\r\nhost: a.test\r\n\r\n", 426, "DPE low_version");
    add("HTTP/1.2", b"GET / HTTP/1.2\r\nhost: a.test\r\n\r\n", 505, GRAMMAR);
    add("HTTP/3", b"GET / HTTP/3.0\r\nhost: a.test\r\n\r\n", 505, GRAMMAR);

    // Authority and target: RFC 9112 section 3.2; Istio CVE-2021-39155, CVE-2021-39156.
    add("no Host", b"GET / HTTP/1.1\r\n\r\n", 400, "- missing_host_header");
    add("an empty Host", b"GET / HTTP/1.1\r\nhost:\r\n\r\n", 400, "- missing_host_header");
    add("two Hosts", &get("host: b.test\r\n"), 400, GRAMMAR);
    add("a Host twice", &get("host: a.test\r\n"), 400, GRAMMAR);
    for (name, host) in [
        ("a Host with user information", "u@a.test"),
        ("a Host with a path", "a.test/x"),
        ("a list of Hosts", "a.test, b.test"),
        ("a Host with a space", "a.test b.test"),
        ("a Host with port 0", "a.test:0"),
        ("a Host with too large a port", "a.test:65536"),
        ("a Host of dots", "a..test"),
    ] {
        add(name, format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes(), 400, AUTHORITY);
    }
    let path = "- path_normalization_failed";
    for (name, target, log) in [
        ("a fragment", "/a#b", path),
        ("an encoded NUL", "/a%00b", path),
        ("half an escape", "/a%4", path),
        ("no escape", "/a%zzb", path),
        ("bytes beyond ASCII", "/\u{e9}", "DPE http1.invalid_characters"),
        ("a target without a slash", "a", "DPE http1.invalid_url"),
        ("an asterisk without OPTIONS", "*", "DPE http1.invalid_url"),
        ("another scheme", "ftp://a.test/", "DPE http1.invalid_url"),
    ] {
        add(name, format!("GET {target} HTTP/1.1\r\nhost: a.test\r\n\r\n").as_bytes(), 400, log);
    }

    // What a client may not have removed: reliability of what the proxy adds itself.
    for (name, nominated) in [
        ("Connection names Host", "host"),
        ("Connection names the length", "content-length"),
        ("Connection names a forwarding header", "x-forwarded-for"),
        ("Connection names a control header", "close, X-Envoy-Retry-On"),
        ("Connection names a pseudo-header", ":path"),
        ("Connection is no list", "a b"),
    ] {
        add(name, &get(&format!("connection: {nominated}\r\n")), 400, NOMINATED);
    }
    add("an unknown expectation", &get("expect: 200-ok\r\n"), 417, GRAMMAR);
    add("an upgrade that is not allowed", &get("connection: upgrade\r\nupgrade: foo\r\n"), 403, "- upgrade_failed");
    let bodied = "connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 5\r\n";
    add("an upgrade with a body", &post(bodied), 403, "- upgrade_failed");
    add("CONNECT", b"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n", 403, "- upgrade_failed");

    // Limits: 16 KiB for the target, 60 KiB and 100 fields for the head.
    let long = "x".repeat(17 << 10);
    let target = format!("GET /{long} HTTP/1.1\r\nhost: a.test\r\n\r\n");
    add("a long target", target.as_bytes(), 414, "DPE http1.headers_too_large");
    let large: String = (0..61).map(|i| format!("x-{i}: {}\r\n", "x".repeat(1024))).collect();
    add("a large head", &get(&large), 431, "DPE http1.headers_too_large");
    let many: String = (0..101).map(|i| format!("x-{i}: 1\r\n")).collect();
    add("many fields", &get(&many), 431, "DPE http1.too_many_headers");
    rows
}

/// A request that is passed on: its bytes, the first line that the upstream sees, fields that it sees or does not,
/// and the body.
type Passage =
    (&'static str, &'static str, &'static str, &'static [(&'static str, Option<&'static str>)], &'static str);

const PASSAGES: &[Passage] = &[
    // Absolute form wins over Host (RFC 9112 section 3.2.2); the authority as the client spelt it.
    (
        "absolute form",
        "GET http://b.test/x HTTP/1.1\r\nhost: a.test\r\n\r\n",
        "GET /x",
        &[("host", Some("b.test"))],
        "",
    ),
    ("no path", "GET http://b.test?q HTTP/1.1\r\nhost: a.test\r\n\r\n", "GET /?q", &[("host", Some("b.test"))], ""),
    ("asterisk", "OPTIONS * HTTP/1.1\r\nhost: a.test\r\n\r\n", "OPTIONS *", &[("host", Some("a.test"))], ""),
    ("an empty line before", "\r\nGET /x HTTP/1.1\r\nhost: a.test\r\n\r\n", "GET /x", &[], ""),
    (
        "the authority as the client spelt it",
        "GET /x HTTP/1.1\r\nhost: A.Test.:80\r\n\r\n",
        "GET /x",
        &[("host", Some("A.Test.:80"))],
        "",
    ),
    // One spelling for each path (Istio's BASE: RFC 3986 section 5.2.4, unreserved characters, backslash).
    ("dot segments", "GET /a/./b/../c HTTP/1.1\r\nhost: a.test\r\n\r\n", "GET /a/c", &[], ""),
    ("encoded dot segments", "GET /a/%2e%2E/c HTTP/1.1\r\nhost: a.test\r\n\r\n", "GET /c", &[], ""),
    ("above the root", "GET /../../c HTTP/1.1\r\nhost: a.test\r\n\r\n", "GET /c", &[], ""),
    ("a backslash", "GET /a\\..\\c HTTP/1.1\r\nhost: a.test\r\n\r\n", "GET /c", &[], ""),
    ("an encoded letter", "GET /%61%2fb?%61 HTTP/1.1\r\nhost: a.test\r\n\r\n", "GET /a%2fb?%61", &[], ""),
    // What belongs to one connection (RFC 9110 section 7.6.1), and what only the proxy may say.
    (
        "hop by hop",
        "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: x-hop, keep-alive\r\nX-Hop: 1\r\nkeep-alive: 5\r\n\
         proxy-connection: close\r\nte: gzip\r\nx-end: 1\r\n\r\n",
        "GET /",
        &[
            ("x-hop", None),
            ("connection", None),
            ("keep-alive", None),
            ("proxy-connection", None),
            ("te", None),
            ("x-end", Some("1")),
        ],
        "",
    ),
    (
        "what only the proxy may say",
        "GET / HTTP/1.1\r\nhost: a.test\r\nX-Envoy-Retry-On: 5xx\r\nx-envoy-original-dst-host: 10.0.0.1:1\r\n\
         X-OUTRIGGER-cluster: other\r\nX-Forwarded-Client-Cert: By=spiffe://evil\r\nx-envoyage: 1\r\n\r\n",
        "GET /",
        &[
            ("x-envoy-retry-on", None),
            ("x-envoy-original-dst-host", None),
            ("x-outrigger-cluster", None),
            ("x-forwarded-client-cert", None),
            ("x-envoyage", Some("1")),
        ],
        "",
    ),
    (
        "forwarded addresses are kept, the peer's comes last",
        "GET / HTTP/1.1\r\nhost: a.test\r\nx-forwarded-for: 6.6.6.6\r\nx-forwarded-proto: https\r\n\r\n",
        "GET /",
        &[("x-forwarded-for", Some("6.6.6.6,127.0.0.1")), ("x-forwarded-proto", Some("http"))],
        "",
    ),
    (
        "h2c is not obeyed",
        "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
         http2-settings: AAA\r\n\r\n",
        "GET /",
        &[("upgrade", None), ("http2-settings", None), ("connection", None)],
        "",
    ),
    // The framing is the proxy's own.
    (
        "chunk extensions go nowhere",
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n5;a=b;c\r\nhello\r\n0;z\r\n\r\n",
        "POST /",
        &[("transfer-encoding", Some("chunked")), ("content-length", None)],
        "hello",
    ),
    (
        "a length is a length",
        "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0005\r\n\r\nhello",
        "POST /",
        &[("content-length", Some("5")), ("transfer-encoding", None)],
        "hello",
    ),
    (
        "GET with a body",
        "GET / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\n\r\nhello",
        "GET /",
        &[("content-length", Some("5"))],
        "hello",
    ),
    (
        "no framing is no body",
        "POST / HTTP/1.1\r\nhost: a.test\r\n\r\n",
        "POST /",
        &[("content-length", Some("0"))],
        "",
    ),
    (
        "trailers that say what heads say",
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nhost: evil\r\n\
         authorization: x\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\nX-Envoy-Retry-On: 5xx\r\n\
         x-outrigger-cluster: c\r\nx-forwarded-client-cert: By=x\r\nx-forwarded-for: 1.1.1.1\r\nx-sum: 9\r\n\r\n",
        "POST /",
        &[("trailers", Some("x-sum")), ("authorization", None), ("host", Some("a.test"))],
        "hello",
    ),
];

/// What is passed on is passed on in the proxy's own words, and the next request on the connection is the next one.
fn passed_on() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    each(PASSAGES, |(name, bytes, start, fields, body)| {
        let run = || {
            let mut client = Socket::connect(served.port)?;
            client.send([bytes, "GET /next HTTP/1.1\r\nhost: a.test\r\n\r\n"].concat())?;
            for _ in 0..2 {
                let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
                equal("answer", (answer.status(), answer.text()), (200, "ok".to_owned()))?;
            }
            let requests = upstream.take();
            let [first, next] = requests.as_slice() else { return Err(format!("{requests:?}")) };
            equal("the next request", next.target(), "/next")?;
            equal("first line", first.start.as_str(), format!("{start} HTTP/1.1").as_str())?;
            equal("body", (first.text(), first.whole), ((*body).to_owned(), true))?;
            fields.iter().try_for_each(|(name, value)| equal(name, seen(first, name).as_deref(), *value))
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })?;
    equal("faults", upstream.faults(), Vec::new())
}

/// A header, or the names of all trailers.
fn seen(request: &Message, name: &str) -> Option<String> {
    match name {
        "trailers" => Some(request.trailers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",")),
        _ => request.header(name),
    }
}

/// A body that is no body is noticed when its head is on its way already. The client is told, and the upstream must
/// not take what it has for a whole request (RFC 9112 section 7.1; chunk parsers of CVE-2021-32714, CVE-2023-39326).
fn bodies_refused() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(17 << 10));
    let trailers: String = (0..101).map(|i| format!("x-{i}: 1\r\n")).collect();
    let trailers = format!("5\r\nhello\r\n0\r\n{trailers}\r\n");
    let rows = [
        ("more than the chunk", "5\r\nhelloX\r\n0\r\n\r\n", 400),
        ("a size in pieces", "5 5\r\nhello\r\n0\r\n\r\n", 400),
        ("a size behind a space", " 5\r\nhello\r\n0\r\n\r\n", 400),
        ("a signed size", "+5\r\nhello\r\n0\r\n\r\n", 400),
        ("a size with its base", "0x5\r\nhello\r\n0\r\n\r\n", 400),
        ("no size", "\r\nhello\r\n0\r\n\r\n", 400),
        ("a size behind an underscore", "_5\r\nhello\r\n0\r\n\r\n", 400),
        ("a size before a bare LF", "5\nhello\r\n0\r\n\r\n", 400),
        ("an extension before a bare LF", "5;a\nhello\r\n0\r\n\r\n", 400),
        ("a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
        ("a chunk before a bare LF", "5\r\nhello\n0\r\n\r\n", 400),
        ("more digits than 64 bits have", "10000000000000005\r\nhello\r\n0\r\n\r\n", 400),
        ("a last chunk before a bare LF", "5\r\nhello\r\n0\n\n", 400),
        ("a folded trailer", "5\r\nhello\r\n0\r\nx: 1\r\n 2\r\n\r\n", 400),
        ("a trailer with a space before its colon", "5\r\nhello\r\n0\r\nx : 1\r\n\r\n", 400),
        ("a NUL in a trailer", "5\r\nhello\r\n0\r\nx: \0\r\n\r\n", 400),
        ("many trailers", trailers.as_str(), 431),
        ("long extensions", extension.as_str(), 400),
    ];
    each(rows, |(name, body, status)| {
        let run = || {
            let mut client = Socket::connect(served.port)?;
            client.send(b"POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n")?;
            client.send([body, "GET /smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n"].concat())?;
            let answer = http1::read(&mut client, Kind::Response("POST"))?.ok_or("no answer")?;
            equal("status", answer.status(), *status)?;
            equal("what follows", client.rest()?.0, Vec::new())?;
            let log = served.logged()?;
            equal("log", log.starts_with(&format!("{status} DPE http1.")), true).map_err(|_| log)?;
            let whole = upstream.take().into_iter().filter(|request| request.whole);
            equal("whole requests upstream", whole.map(|request| request.start).collect::<Vec<_>>(), Vec::new())
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

/// A request that is answered before its body is read: the body is never taken for the next request
/// (Pingora CVE-2025-4366).
fn local_replies() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let nowhere = json!({"destination": {"clusterHeader": {"name": "x-outrigger-cluster"}}});
    let served = Served::start(nowhere, vec![cluster("up", &[upstream.port], json!({}))])?;
    let hidden = "GET /smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n";
    let length = format!("content-length: {}\r\n\r\n{hidden}", hidden.len());
    let large = format!("content-length: {}\r\n\r\n{hidden}{}", 1 << 20, "x".repeat((1 << 20) - hidden.len()));
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let unfinished = format!("content-length: {}\r\n\r\n{hidden}", 1 << 20);
    let expecting = format!("content-length: {}\r\nexpect: 100-continue\r\n\r\n", hidden.len());
    let rows = [
        ("a length", length),
        ("a large body", large),
        ("chunks", chunked),
        ("an unfinished body", unfinished),
        ("a body that waits to be asked for", expecting),
    ];
    each(rows, |(name, rest)| {
        let run = || {
            let mut client = Socket::connect(served.port)?;
            // The proxy may close before all of it is sent.
            let _ = client.send(format!("POST / HTTP/1.1\r\nhost: a.test\r\n{rest}"));
            let answer = http1::read(&mut client, Kind::Response("POST"))?.ok_or("no answer")?;
            equal("status", answer.status(), 404)?;
            equal("interim responses", answer.interim, Vec::new())?;
            equal(
                "connection",
                answer.headers.iter().any(|(name, value)| name == "connection" && value == b"close"),
                true,
            )?;
            equal("what follows", client.rest()?.0, Vec::new())?;
            equal("log", served.logged()?, "404 NR route_not_found".to_owned())
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })?;
    equal("upstream connections", upstream.connections(), 0)
}
