//! Guests that ask for things at the wrong time: twice, too late, without having waited.

use crate::wasm_driver::{Answer, Request, on_worker, settings};
use host::filter_chain::FilterChain;
use std::rc::Rc;

/// Resuming what is not held, or twice, does nothing more: Envoy sends the request twice.
pub(super) fn resume_twice() {
    for phase in ["request_headers", "request_body", "request_trailers", "response_headers", "response_body"] {
        for continues in ["", " continue"] {
            on_worker(async |worker| {
                let script = format!("{phase}{continues}");
                let (chain, plugin) = worker.chain("resume_twice", settings("resume_twice", &script));
                let request = Request::post(&["up", "load"]).trailers(&[("x-sum", "1")]);
                let answer = Answer::ok(&["down", "load"]).trailers(&[("x-sum", "2")]);
                let outcome = worker.serve(&chain, request, answer).await;
                assert_eq!((outcome.seen(), outcome.cut), ((200, "download"), false), "{script}");
                assert_eq!(outcome.response.trailers.get("x-sum"), Some(&b"2"[..]), "{script}");
                let upstream = outcome.upstream.expect("it goes on");
                assert_eq!((&upstream.body[..], upstream.whole), (&b"upload"[..], true), "{script}");
                assert_eq!(upstream.trailers.get("x-sum"), Some(&b"1"[..]), "{script}");
                assert!(outcome.held.is_zero(), "{script}");
                assert_eq!(plugin.health().2, 0, "{script}");
            });
        }
    }
}

/// The first answer counts, whatever the callback returns; one from its own response headers replaces it.
pub(super) fn reply_twice() {
    for (configuration, expected) in [("", (403, "forbidden")), ("again", (401, "again"))] {
        on_worker(async |worker| {
            let (chain, plugin) = worker.chain("reply_twice", settings("reply_twice", configuration));
            let outcome = worker.serve(&chain, Request::post(&["up"]), Answer::ok(&["down"])).await;
            assert_eq!((outcome.seen(), outcome.cut), (expected, false));
            assert!(outcome.upstream.is_none(), "nothing upstream");
            assert_eq!(plugin.health().2, 0);
        });
    }
    // Between others: the plugin nearer to the client edits the answer that counts.
    on_worker(async |worker| {
        let nearer = worker.start("forge_headers", settings("forge_headers", "response_headers 2 add x-nearer 1"));
        let plugin = worker.start("reply_twice", settings("reply_twice", ""));
        let chain = Rc::new(FilterChain::new(vec![nearer, plugin]));
        let outcome = worker.get(&chain, "/").await;
        assert_eq!(outcome.seen(), (403, "forbidden"));
        assert_eq!(outcome.response.headers.get("x-nearer"), Some(&b"1"[..]));
    });
}

/// Nothing happens: Envoy crashes.
pub(super) fn reply_at_the_end() {
    for callback in ["log", "done", "delete"] {
        on_worker(async |worker| {
            let (chain, plugin) = worker.chain("reply_at_the_end", settings("reply_at_the_end", callback));
            for _ in 0..2 {
                assert_eq!(worker.get(&chain, "/").await.seen(), (200, "ok"), "{callback}");
            }
            assert_eq!(worker.services.take_lines(), ["0 [0, 0, 0]", "0 [0, 0, 0]"], "{callback}");
            assert_eq!(plugin.health().2, 0);
        });
    }
}

/// A response that is on its way is cut: the client must not take it for whole.
pub(super) fn reply_after_headers() {
    for callback in ["response_body", "response_trailers"] {
        on_worker(async |worker| {
            let (chain, plugin) = worker.chain("reply_after_headers", settings("reply_after_headers", callback));
            let answer = Answer::ok(&["down", "load"]).trailers(&[("x-sum", "1")]);
            let outcome = worker.serve(&chain, Request::get("/"), answer).await;
            assert_eq!((outcome.status, outcome.cut, outcome.response.whole), (200, true, false), "{callback}");
            assert_eq!(plugin.health().2, 0);
        });
    }
    // Where a plugin edits bodies, headers that promise a length wait for the first part: they are not on their way yet.
    on_worker(async |worker| {
        let replies = worker.start("reply_after_headers", settings("reply_after_headers", "response_body"));
        let edits = worker.start("edit_body", settings("edit_body", ""));
        let chain = Rc::new(FilterChain::new(vec![replies, edits]));
        let outcome = worker.serve(&chain, Request::get("/"), Answer::ok(&["down"])).await;
        assert_eq!((outcome.seen(), outcome.cut), ((500, "instead"), false));
    });
}
