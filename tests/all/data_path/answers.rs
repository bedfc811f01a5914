//! What upstreams answer, whole or not, and what the client and the pool make of it.

use crate::data_path::{OK, ask, each, equal, trial};
use libtest_mimic::Trial;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::{After, Http2, Served, Socket, Upstream, cluster};
use serde_json::json;
use std::sync::mpsc::channel;
use std::time::Duration;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("answers::passed_on_or_refused", answers),
        trial("answers::cut_bodies_are_visibly_cut", cut_bodies),
        trial("answers::dirty_connections_are_not_pooled", dirty_connections),
        trial("answers::before_the_request_has_ended", early_answers),
        trial("answers::before_an_http2_request_has_ended", early_answers_over_http2),
        trial("answers::a_connection_that_ended_while_idle", stale_connections),
        trial("answers::connections_that_end_all_the_time", ending_connections),
    ]
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nhost: a.test\r\n\r\n";

/// Request, answer, and what the client sees: status, body, log.
type Row = (&'static str, &'static str, &'static str, (u16, &'static str, &'static str));

const PROTOCOL: &str = "upstream connect error or disconnect/reset before headers. reset reason: protocol error";
const PROTOCOL_LOG: &str = "UPE upstream_reset_before_response_started{protocol_error}";
const VIA: &str = "- via_upstream";

const ANSWERS: &[Row] = &[
    // Framing that two readers could take differently (RFC 9112 section 6.3).
    ("CL and TE", GET, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", REFUSED),
    ("two lengths", GET, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", REFUSED),
    ("a signed length", GET, "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", REFUSED),
    ("an odd coding", GET, "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", REFUSED),
    ("a coding twice", GET, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", REFUSED),
    // Grammar.
    ("no status line", GET, "hello\r\n\r\n", REFUSED),
    ("another protocol", GET, "SSH-2.0-OpenSSH_9\r\n", REFUSED),
    ("a status of five digits", GET, "HTTP/1.1 99999 x\r\n\r\n", REFUSED),
    ("a status of two digits", GET, "HTTP/1.1 20 x\r\n\r\n", REFUSED),
    ("status 000", GET, "HTTP/1.1 000 x\r\n\r\n", REFUSED),
    ("status 600", GET, "HTTP/1.1 600 x\r\n\r\n", REFUSED),
    ("a negative status", GET, "HTTP/1.1 -20 x\r\n\r\n", REFUSED),
    ("bare line feeds", GET, "HTTP/1.1 200 OK\ncontent-length: 2\n\nok", REFUSED),
    ("a folded value", GET, "HTTP/1.1 200 OK\r\nx: 1\r\n 2\r\n\r\n", REFUSED),
    ("NUL in a value", GET, "HTTP/1.1 200 OK\r\nx: \0\r\n\r\n", REFUSED),
    ("a space before the colon", GET, "HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok", REFUSED),
    ("HTTP/2.0 in text", GET, "HTTP/2.0 200 OK\r\n\r\n", REFUSED),
    // 101 for nobody who asked (reliability: a tunnel is opened for whoever asked for it alone).
    ("101 unasked", GET, "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n", REFUSED),
    // Interim responses are read over.
    (
        "interim responses",
        GET,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        (200, "ok", VIA),
    ),
    // Bodies by status and method (RFC 9110 sections 6.4.1, 9.3.2, 15.3.5, 15.4.5).
    ("204", GET, "HTTP/1.1 204 No Content\r\n\r\n", (204, "", VIA)),
    ("204 with a length", GET, "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", (204, "", VIA)),
    ("304 with a length", GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", (304, "", VIA)),
    ("HEAD", HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", (200, "", VIA)),
    ("HEAD with chunks to come", HEAD, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", (200, "", VIA)),
    (
        "chunks",
        GET,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
        (200, "ok", VIA),
    ),
    ("until the close", GET, "HTTP/1.1 200 OK\r\n\r\nok", (200, "ok", VIA)),
    ("HTTP/1.0 until the close", GET, "HTTP/1.0 200 OK\r\n\r\nok", (200, "ok", VIA)),
    ("an unknown status", GET, "HTTP/1.1 599\r\ncontent-length: 2\r\n\r\nok", (599, "ok", VIA)),
];

const REFUSED: (u16, &str, &str) = (502, PROTOCOL, PROTOCOL_LOG);

/// Each on an upstream that closes behind its answer. The next client is served all the same.
fn answers() -> Result<(), String> {
    let mut rows = ANSWERS.to_vec();
    let flood = format!("{}{}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), "HTTP/1.1 200 OK\r\n\r\n");
    rows.push(("a flood of interim responses", GET, flood.leak(), REFUSED));
    let many: String = (0..101).map(|i| format!("x-{i}: 1\r\n")).collect();
    rows.push(("many fields", GET, format!("HTTP/1.1 200 OK\r\n{many}\r\n").leak(), REFUSED));
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(61 << 10));
    rows.push(("a large head", GET, large.leak(), REFUSED));
    each(rows, |(name, request, reply, (status, body, log))| {
        let run = || {
            let upstream =
                Upstream::in_turn(vec![(reply.as_bytes().to_vec(), After::Close), (OK.to_vec(), After::Keep)])?;
            let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
            let (answer, _) = ask(served.port, request)?;
            equal("answer", (answer.status(), answer.text().as_str()), (*status, *body))?;
            equal("whole", answer.whole, true)?;
            equal("interim responses", answer.interim, Vec::new())?;
            equal("log", served.logged()?, format!("{status} {log}"))?;
            let (next, _) = ask(served.port, GET)?;
            equal("the next answer", (next.status(), next.text().as_str()), (200, "ok"))
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

/// A response that does not come to its end is cut at the client as well: no last chunk, fewer bytes than announced.
fn cut_bodies() -> Result<(), String> {
    let rows = [
        ("a length, closed", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", After::Close),
        ("a length, reset", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", After::Reset),
        ("chunks, closed", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", After::Close),
        ("chunks, reset", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", After::Reset),
        ("in a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok", After::Close),
        ("before the trailers", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", After::Close),
        ("lax chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokX\r\n0\r\n\r\n", After::Stall),
        ("a lax size", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n2 2\r\n", After::Stall),
    ];
    each(rows, |(name, reply, after)| {
        let run = || {
            let upstream = Upstream::answering(*reply, *after)?;
            let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
            let mut client = Socket::connect(served.port)?;
            client.send(GET)?;
            let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
            // A reset may overtake what came before it.
            let body = if *after == After::Reset && answer.body.is_empty() { "" } else { "ok" };
            equal("answer", (answer.status(), answer.whole, answer.text().as_str()), (200, false, body))?;
            equal("what follows", client.rest()?.0, Vec::new())?;
            equal("log", served.logged()?, "200 UPE upstream_reset_after_response_started{protocol_error}".to_owned())
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

/// Whatever an upstream says beyond its answer is nobody's: the next request goes on a connection of its own.
fn dirty_connections() -> Result<(), String> {
    let stale = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale";
    let extra = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{stale}");
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{stale}");
    let none = format!("HTTP/1.1 204 No Content\r\n\r\n{stale}");
    let chunks = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{stale}");
    let rows = [
        ("bytes behind a length", GET, extra, 2),
        ("a body to HEAD", HEAD, head, 2),
        ("a body of a 204", GET, none, 2),
        ("bytes behind chunks", GET, chunks, 2),
        ("close", GET, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".to_owned(), 2),
        ("HTTP/1.0", GET, "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(), 2),
        ("a clean one", GET, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(), 1),
    ];
    each(rows, |(name, request, reply, connections)| {
        let run = || {
            let upstream =
                Upstream::in_turn(vec![(reply.clone().into_bytes(), After::Keep), (OK.to_vec(), After::Keep)])?;
            let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
            ask(served.port, request)?;
            let (next, _) = ask(served.port, GET)?;
            equal("the next answer", (next.status(), next.text().as_str()), (200, "ok"))?;
            equal("connections", upstream.connections(), *connections)
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

/// An answer before the request has come: it is passed on at once, and neither connection is used again.
fn early_answers() -> Result<(), String> {
    let rows = [
        ("and goes on reading", After::Stall, "413 Content Too Large"),
        ("and closes", After::Close, "401 Unauthorized"),
        ("and resets", After::Reset, "403 Forbidden"),
    ];
    each(rows, |(name, after, status)| {
        let (after, line) = (*after, format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno"));
        let run = || {
            let upstream = Upstream::start(move |mut visit| {
                let Some(head) = visit.head()? else { return Ok(()) };
                if head.method() == "GET" {
                    return visit.socket.send(OK);
                }
                visit.socket.send(&line)?;
                visit.after(after)
            })?;
            let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
            let mut client = Socket::connect(served.port)?;
            client.send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 1000000\r\n\r\nsome")?;
            let answer = http1::read(&mut client, Kind::Response("POST"))?.ok_or("no answer")?;
            equal("answer", format!("{} {}", answer.status(), answer.text()), format!("{} no", &status[..3]))?;
            client.half_close();
            equal("what follows", client.rest()?.0, Vec::new())?;
            if after == After::Stall {
                upstream.wait_for_end(0)?;
            }
            let (next, _) = ask(served.port, GET)?;
            equal("the next answer", next.text().as_str(), "ok")?;
            equal("connections", upstream.connections(), 2)
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

/// The client sees all of it, and is told that the rest of its request has no reader (RFC 9113 section 8.1).
fn early_answers_over_http2() -> Result<(), String> {
    let upstream = Upstream::start(|mut visit| {
        visit.head()?;
        visit.socket.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno")?;
        visit.after(After::Stall)
    })?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    let mut client = Http2::connect(served.port)?;
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];
    client.headers(1, &fields, false)?;
    client.data(1, "some", false)?;
    let answer = client.answer(1)?;
    equal("answer", (answer.status(), answer.text().as_str(), answer.whole), (413, "no", true))?;
    upstream.wait_for_end(0)?;
    // The stream is of no more use, the connection is.
    client.get(3, "/")?;
    equal("the next answer", client.answer(3)?.status(), 413)
}

/// An upstream that closes behind each answer without a word: no client may notice.
fn ending_connections() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Close)?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    let mut client = Socket::connect(served.port)?;
    for number in 0..2000 {
        client.send(GET)?;
        let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
        equal(&format!("answer {number}"), answer.status(), 200)?;
    }
    Ok(())
}

/// A pooled connection that ended while it was idle says nothing of the endpoint: what may be sent twice is sent on a
/// new one, and anything that can still be seen beforehand is.
fn stale_connections() -> Result<(), String> {
    let rows = [
        ("closed while idle, GET", "GET", After::Close, 200, "ok"),
        ("closed while idle, POST", "POST", After::Close, 200, "ok"),
        ("closed as it is used, GET", "GET", After::Keep, 200, "ok"),
        ("closed as it is used, POST", "POST", After::Keep, 503, ""),
    ];
    each(rows, |(name, method, first, status, body)| {
        let first = *first;
        let run = || {
            let (ended, has_ended) = channel();
            let upstream = Upstream::start(move |mut visit| {
                if visit.request()?.is_none() {
                    return Ok(());
                }
                visit.socket.send(OK)?;
                if visit.connection == 0 && first == After::Close {
                    drop(visit);
                    return ended.send(()).map_err(|error| error.to_string());
                }
                if visit.connection == 0 && first == After::Keep {
                    // Reads the second request, and answers it with an end.
                    visit.request()?;
                }
                if visit.connection > 0 {
                    visit.request()?;
                }
                Ok(())
            })?;
            let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
            let (answer, mut client) = ask(served.port, GET)?;
            equal("the first answer", answer.status(), 200)?;
            if first == After::Close {
                // Whose end has not come yet when it is used is that of the rows below.
                has_ended.recv_timeout(Duration::from_secs(30)).map_err(|error| error.to_string())?;
            }
            client.send(format!("{method} / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nup"))?;
            let answer = http1::read(&mut client, Kind::Response(method))?.ok_or("no answer")?;
            equal("status", answer.status(), *status)?;
            equal("body", answer.status() != 200 || answer.text() == *body, true)
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}
