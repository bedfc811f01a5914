//! Guests that write what no message may have. What they leave never reaches a wire: the driver reads every message
//! again with a strict reader, to its last byte.

use crate::wasm_driver::{Answer, Outcome, Request, Worker, on_worker, settings};
use host::wasm::Plugin;
use std::rc::Rc;

/// What becomes of a request of a guest that forges headers.
fn forged(script: &str, request: Request, answer: Answer, check: impl FnOnce(&Outcome, &Worker, &Rc<Plugin>)) {
    on_worker(async |worker| {
        let (chain, plugin) = worker.chain("forge_headers", settings("forge_headers", script));
        let outcome = worker.serve(&chain, request, answer).await;
        check(&outcome, worker, &plugin);
        assert_eq!(plugin.health().2, 0, "{script}: the VM lives");
    });
}

pub(super) fn forge_headers() {
    hop_by_hop();
    requests_that_cannot_be_written();
    responses_that_cannot_be_written();
    framing();
    trailers();
}

/// Fields of one connection are accepted by the hostcall, and are not the guest's to send.
fn hop_by_hop() {
    let names = [
        ("connection", "x-victim"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("keep-alive", "timeout=1000"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
    ];
    let lines =
        |callback: &str, map: u32| names.map(|(name, value)| format!("{callback} {map} add {name} {value}")).join("\n");
    let script = format!("{}\n{}", lines("request_headers", 0), lines("response_headers", 2));
    let request = Request::get("/").header("x-victim", b"stays");
    forged(&script, request, Answer::ok(&["ok"]).header("x-victim", "stays"), |outcome, worker, _| {
        assert_eq!(outcome.seen(), (200, "ok"));
        let upstream = outcome.upstream.as_ref().expect("it goes on");
        for (name, _) in names {
            assert_eq!(upstream.headers.get(name), None, "{name}");
            assert_eq!(outcome.response.headers.get(name), None, "{name}");
            assert!(worker.services.said(&format!("0 add {name}")) && !worker.services.said(": 2"), "{name}");
        }
        assert_eq!(upstream.headers.get("x-victim"), Some(&b"stays"[..]));
        assert_eq!(outcome.response.headers.get("x-victim"), Some(&b"stays"[..]));
    });
}

fn requests_that_cannot_be_written() {
    for edit in [
        "add x-a a%0D%0Ax-evil:%201",
        "add x-a a%0Ax-evil:%201",
        "add x-a a%00b",
        "add x-a a%7Fb",
        "add x-a%0D%0Ax-evil: 1",
        "add x%20a 1",
        "add %FF 1",
        "set  1",
        "add :status 200",
        "add :protocol websocket",
        "add host second.test",
        "set :path /a%20b",
        "set :path /%0D%0Ax-evil:%201",
        "set :path no-slash",
        "set :path",
        "set :method",
        "set :method GET%20/%20HTTP/1.1%0D%0A",
        "remove :method",
        "remove :authority",
        "set :authority a%20b",
        "set host a%0D%0Ab",
        "set :scheme file",
        "set content-length -1",
        "set content-length 5,5",
    ] {
        let script = format!("request_headers 0 {edit}");
        let request = if edit.contains("length") { Request::post(&["12345"]) } else { Request::get("/") };
        forged(&script, request, Answer::ok(&["ok"]), |outcome, _, _| {
            assert_eq!(outcome.seen(), (503, ""), "{edit}");
            assert_eq!(outcome.details, "invalid_request_after_filters", "{edit}");
            assert!(outcome.upstream.is_none(), "{edit}: nothing upstream");
        });
    }
}

fn responses_that_cannot_be_written() {
    for edit in [
        "add x-a a%0D%0Aset-cookie:%20evil=1",
        "add x-a a%0Ab",
        "add x-a a%00b",
        "add x%20a 1",
        "set  1",
        "add :path /",
        "set :status 99",
        "set :status 1000",
        "set :status 100",
        "set :status 103",
        "set :status 2e2",
        "set :status",
        "remove :status",
        "add :status 200",
        "set content-length x",
    ] {
        let script = format!("response_headers 2 {edit}");
        forged(&script, Request::get("/"), Answer::ok(&["ok"]), |outcome, _, _| {
            assert_eq!(outcome.seen(), (502, ""), "{edit}");
            assert_eq!(outcome.details, "invalid_response_after_filters", "{edit}");
            assert!(outcome.response.headers.get("set-cookie").is_none(), "{edit}");
        });
    }
}

/// A length is a promise that is kept or not made.
fn framing() {
    let edit = |script: &'static str, request: Request, check: fn(&Outcome)| {
        forged(script, request, Answer::ok(&["ok"]), |outcome, _, _| check(outcome));
    };
    // Of a body that is not there.
    edit("request_headers 0 set content-length 5", Request::get("/"), |outcome| {
        let upstream = outcome.upstream.as_ref().expect("it goes on");
        assert_eq!((outcome.status, upstream.whole, upstream.headers.get("content-length")), (200, true, None));
    });
    // Longer and shorter than the body that comes.
    for script in ["request_headers 0 set content-length 9", "request_headers 0 set content-length 2"] {
        edit(script, Request::post(&["12345"]), |outcome| {
            assert_eq!(outcome.seen(), (503, ""));
            assert!(outcome.upstream.as_ref().is_none_or(|upstream| !upstream.whole));
        });
    }
    edit("request_headers 0 remove content-length ", Request::post(&["12345"]), |outcome| {
        let upstream = outcome.upstream.as_ref().expect("it goes on");
        assert_eq!((outcome.status, &upstream.body[..], upstream.whole), (200, &b"12345"[..], true));
    });
    for script in ["response_headers 2 set content-length 9", "response_headers 2 set content-length 1"] {
        edit(script, Request::get("/"), |outcome| {
            assert!(outcome.cut && !outcome.response.whole, "a client must see that it is cut");
        });
    }
    edit("response_headers 2 set :status 204", Request::get("/"), |outcome| {
        assert_eq!((outcome.seen(), outcome.response.whole), ((204, ""), true));
    });
    edit("request_headers 0 set :method PUT", Request::get("/"), |outcome| {
        let upstream = outcome.upstream.as_ref().expect("it goes on");
        assert_eq!(upstream.headers.get("content-length"), Some(&b"0"[..]));
    });
}

/// Trailers carry nothing that would be read as part of a head.
fn trailers() {
    let script = "request_trailers 1 add host evil.test\nrequest_trailers 1 add content-length 3\n\
                  request_trailers 1 add authorization forged\nrequest_trailers 1 add x-fine 1\n\
                  response_trailers 3 add set-cookie evil=1\nresponse_trailers 3 add x-fine 2";
    let request = Request::post(&["12345"]).trailers(&[("x-sum", "1")]);
    let answer = Answer::ok(&["ok"]).trailers(&[("x-sum", "2")]);
    forged(script, request, answer, |outcome, _, _| {
        let upstream = outcome.upstream.as_ref().expect("it goes on");
        assert_eq!(upstream.trailers, [("x-sum", "1"), ("x-fine", "1")].into_iter().collect());
        assert_eq!(outcome.response.trailers, [("x-sum", "2"), ("x-fine", "2")].into_iter().collect());
    });
    for edit in ["add :path /", "add x-a 1%0D%0A2", "add x%20a 1"] {
        let request = Request::post(&["12345"]).trailers(&[("x-sum", "1")]);
        forged(&format!("request_trailers 1 {edit}"), request, Answer::ok(&["ok"]), |outcome, _, _| {
            // Pseudo-headers are stripped; what cannot be written ends the request.
            let expected = if edit.starts_with("add :") { 200 } else { 503 };
            assert_eq!(outcome.status, expected, "{edit}");
            assert!(outcome.upstream.as_ref().is_none_or(|upstream| upstream.trailers.get("x-a").is_none()), "{edit}");
        });
    }
}

/// A body that was edited has the length that it has.
pub(super) fn edit_body() {
    for (script, expected) in [
        ("request_body 0 0 pre", "preup"),
        ("request_body 0 4294967295 all", "all"),
        ("request_body 99 0 post", "uppost"),
        ("request_body 0 1 X", "Xp"),
        ("request_body 0 4294967295 shorter hold", "shorter"),
    ] {
        on_worker(async |worker| {
            let (chain, plugin) = worker.chain("edit_body", settings("edit_body", script));
            let outcome = worker.serve(&chain, Request::post(&["up"]), Answer::ok(&["down"])).await;
            let upstream = outcome.upstream.as_ref().expect("it goes on");
            let body = String::from_utf8_lossy(&upstream.body).into_owned();
            assert!(upstream.whole && body.starts_with(expected), "{script}: {body}");
            assert!(worker.services.said("set 0"));
            assert_eq!((outcome.seen(), plugin.health().2), ((200, "down"), 0), "{script}");
        });
        let script = script.replace("request", "response");
        on_worker(async |worker| {
            let (chain, _) = worker.chain("edit_body", settings("edit_body", &script));
            let outcome = worker.serve(&chain, Request::post(&["12"]), Answer::ok(&["up"])).await;
            let body = String::from_utf8_lossy(&outcome.response.body).into_owned();
            assert!(outcome.response.whole && body.starts_with(expected), "{script}: {body}");
        });
    }
    // The middle of a body cannot be edited, and nothing is.
    on_worker(async |worker| {
        let (chain, _) = worker.chain("edit_body", settings("edit_body", "request_body 1 1 X"));
        let outcome = worker.serve(&chain, Request::post(&["up"]), Answer::ok(&["down"])).await;
        let upstream = outcome.upstream.expect("it goes on");
        assert_eq!((&upstream.body[..], upstream.headers.get("content-length")), (&b"up"[..], Some(&b"2"[..])));
        assert!(worker.services.said("set 2"));
    });
    on_worker(async |worker| edits_late(worker).await);
}

/// A length that has been promised is kept: an edit of a later part cuts the message.
async fn edits_late(worker: &Worker) {
    let late = |worker: &Worker| worker.chain("edit_body", settings("edit_body", "response_body 0 0 more")).0;
    let chain = late(worker);
    let first = worker.serve(&chain, Request::get("/"), Answer::ok(&["a", "b"])).await;
    assert!(first.response.whole, "the head waits for the first part");
    assert_eq!(first.response.headers.get("content-length"), None);
}

/// Bytes beyond ASCII are what clients send as well.
pub(super) fn echo_bytes() {
    on_worker(async |worker| {
        let (chain, plugin) = worker.chain("echo_bytes", settings("echo_bytes", ""));
        let raw: Vec<u8> = (0x80..=0xff).chain([b'\t', b' ', b'x']).collect();
        let outcome = worker.serve(&chain, Request::get("/").header("x-raw", &raw), Answer::ok(&["ok"])).await;
        assert_eq!(outcome.response.headers.get("x-raw"), Some(&raw[..]));
        assert_eq!((outcome.status, plugin.health().2), (200, 0));
    });
}
