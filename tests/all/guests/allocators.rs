//! Guests whose allocator is not to be trusted: it is asked for the value of `:path`, which the guest writes to `x-seen`.

use crate::wasm_driver::{on_worker, settings};
use std::time::Duration;

/// The stream is refused, the VM ends, the log says why.
fn ends(guest: &'static str, reason: &str) {
    on_worker(async |worker| {
        let mut settings = settings(guest, "");
        settings.limits.callback = Duration::from_millis(20);
        let (chain, plugin) = worker.chain(guest, settings);
        let outcome = worker.get(&chain, "/some/path").await;
        assert_eq!((outcome.seen(), outcome.details.as_str()), ((503, ""), "wasm_fail_stream"));
        assert!(worker.services.said(reason), "{:?}", worker.services.lines);
        assert_eq!(plugin.health(), (false, 0, 1));
    });
}

/// The guest is given what it asked for.
fn serves(guest: &'static str, seen: &[u8]) {
    on_worker(async |worker| {
        let (chain, plugin) = worker.chain(guest, settings(guest, ""));
        for _ in 0..3 {
            let upstream = worker.get(&chain, "/some/path").await.upstream.expect("served");
            assert_eq!(upstream.headers.get("x-seen"), Some(seen));
        }
        assert_eq!(plugin.health().2, 0);
    });
}

pub(super) fn allocator_gives_null() {
    ends("allocator_gives_null", "the allocator has no place for 10 bytes: 0x0");
}

pub(super) fn allocator_out_of_range() {
    ends("allocator_out_of_range", "the allocator has no place for 10 bytes: 0xfffffff0");
}

pub(super) fn allocator_past_the_end() {
    ends("allocator_past_the_end", "the allocator has no place for 10 bytes: 0xfff7");
}

pub(super) fn allocator_traps() {
    ends("allocator_traps", "unreachable");
}

pub(super) fn allocator_loops() {
    ends("allocator_loops", "computed for more than 20 ms");
}

pub(super) fn allocator_calls_back() {
    ends("allocator_calls_back", "the allocator makes hostcalls other than proxy_log");
}

/// What was found would no longer be there.
pub(super) fn allocator_edits() {
    ends("allocator_edits", "the allocator makes hostcalls other than proxy_log");
}

/// Bytes have no alignment.
pub(super) fn allocator_misaligned() {
    serves("allocator_misaligned", b"/some/path");
}

/// Memory that moved or grew in between is looked up again.
pub(super) fn allocator_grows() {
    serves("allocator_grows", b"/some/path");
}

/// The pointer and the length are written last, over the value: the guest has what it asked for, and writes bytes to a
/// header that none may have.
pub(super) fn allocator_overwrites_the_question() {
    on_worker(async |worker| {
        let guest = "allocator_overwrites_the_question";
        let (chain, plugin) = worker.chain(guest, settings(guest, ""));
        let outcome = worker.get(&chain, "/some/path").await;
        assert_eq!((outcome.seen(), outcome.details.as_str()), ((503, ""), "invalid_request_after_filters"));
        assert!(outcome.upstream.is_none());
        assert_eq!(plugin.health().2, 0);
    });
}
