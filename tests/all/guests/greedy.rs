//! Guests that take whatever they can get: memory, log lines, metrics, calls, what VMs share, room in their stream.

use crate::wasm_driver::{Answer, Answered, Outcome, Request, Worker, on_worker, settings};
use host::wasm::{FailStrategy, PluginSettings};
use std::time::Duration;

/// Settings with time enough for a flood in an unoptimised build.
fn patient(guest: &str, vm_configuration: &str) -> PluginSettings {
    let mut settings = settings(guest, vm_configuration);
    settings.limits.callback = Duration::from_secs(60);
    settings.limits.callback_warning = Duration::from_secs(60);
    settings
}

/// What a guest says, in one line, of the statuses that it got.
fn statuses(worker: &Worker) -> String {
    worker.services.take_lines().into_iter().find(|line| line.contains('{')).expect("a line of statuses")
}

async fn flood(worker: &Worker, guest: &str, what: &str) -> (Outcome, String) {
    let (chain, plugin) = worker.chain(guest, patient(guest, what));
    let outcome = worker.serve(&chain, Request::post(&["up"]), Answer::ok(&["ok"])).await;
    assert_eq!(plugin.health().2, 0, "{guest} {what}: the VM lives");
    (outcome, statuses(worker))
}

/// Up to its limit, and then a trap: everything is given back.
pub(super) fn memory_growth() {
    on_worker(async |worker| {
        let (chain, plugin) = worker.chain("memory_growth", settings("memory_growth", "10"));
        let mut largest = 0;
        for round in 1..=3 {
            for _ in 0..6 {
                assert_eq!(worker.get(&chain, "/").await.status, 200);
                largest = largest.max(plugin.health().1);
            }
            assert_eq!(worker.get(&chain, "/").await.seen(), (503, ""));
            assert_eq!(plugin.health(), (false, 0, round));
            assert!(worker.services.said("bytes of memory in vain"));
        }
        assert!((60 << 20..64 << 20).contains(&largest), "{largest}");
    });
    on_worker(async |worker| {
        let (chain, plugin) = worker.chain("memory_growth", settings("memory_growth", "2000"));
        assert_eq!(worker.get(&chain, "/").await.seen(), (503, ""));
        assert_eq!(plugin.health(), (false, 0, 1));
    });
    on_worker(async |worker| {
        let mut settings = settings("memory_growth", "2000");
        settings.fail_strategy = FailStrategy::Open;
        let (chain, _) = worker.chain("memory_growth", settings);
        assert_eq!(worker.get(&chain, "/").await.seen(), (200, "ok"));
    });
    on_worker(async |worker| many_vms(worker).await);
}

/// A VM for each stream is no way around the bound: all of a plugin's together have one.
async fn many_vms(worker: &Worker) {
    let mut settings = settings("pause_or_trap", "");
    settings.vm_per_request = true;
    settings.limits.memory_in_all = 16 << 20;
    let (chain, plugin) = worker.chain("pause_or_trap", settings);
    let (_, one, _) = plugin.health();
    let room = (16 << 20) / one - 1;
    let held = || worker.serve(&chain, Request::get("/").header("x-hold", b"request_headers"), Answer::ok(&[]));
    let mut streams: Vec<_> = (0..room + 3).map(|_| Box::pin(held())).collect();
    let mut outcomes = Vec::new();
    for stream in &mut streams {
        outcomes.push(tokio::time::timeout(Duration::from_millis(1), stream).await.map(|outcome| outcome.status).ok());
    }
    assert_eq!(outcomes.iter().filter(|status| status.is_none()).count(), room, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|status| **status == Some(503)).count(), 3, "{outcomes:?}");
    for stream in streams.into_iter().take(room) {
        assert_eq!(stream.await.status, 504);
    }
    assert_eq!(worker.get(&chain, "/").await.status, 200, "their memory is there for others");
}

pub(super) fn large_tables() {
    on_worker(async |worker| {
        let (chain, plugin) = worker.chain("large_tables", patient("large_tables", ""));
        assert_eq!(worker.get(&chain, "/").await.status, 200);
        assert_eq!(plugin.health().2, 0);
    });
}

/// One instruction is not interrupted, but it is short: memory is bounded.
pub(super) fn bulk_fill() {
    on_worker(async |worker| {
        let mut settings = settings("bulk_fill", "");
        settings.limits.callback = Duration::from_millis(100);
        let (chain, plugin) = worker.chain("bulk_fill", settings);
        let began = std::time::Instant::now();
        assert_eq!(worker.get(&chain, "/").await.seen(), (503, ""));
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(plugin.health(), (false, 0, 1));
        assert!(worker.services.said("computed for more than 100 ms"));
    });
}

/// Whatever is called without end: it is ended in time, and what it left behind is bounded.
pub(super) fn hostcall_storm() {
    for hostcall in [
        "proxy_log",
        "proxy_get_current_time_nanoseconds",
        "proxy_set_tick_period_milliseconds",
        "proxy_set_effective_context",
        "proxy_done",
        "proxy_get_property",
        "proxy_set_property",
        "proxy_set_buffer_bytes",
        "proxy_get_header_map_pairs",
        "proxy_set_header_map_pairs",
        "proxy_add_header_map_value",
        "proxy_replace_header_map_value",
        "proxy_continue_stream",
        "proxy_send_local_response",
        "proxy_http_call",
        "proxy_set_shared_data",
        "proxy_register_shared_queue",
        "proxy_define_metric",
        "proxy_call_foreign_function",
    ] {
        on_worker(async |worker| {
            let mut settings = settings("hostcall_storm", hostcall);
            settings.limits.callback = Duration::from_millis(30);
            let (chain, plugin) = worker.chain("hostcall_storm", settings);
            let began = cpu_time();
            assert_eq!(worker.get(&chain, "/").await.seen(), (503, ""), "{hostcall}");
            let took = cpu_time() - began;
            assert!(took < Duration::from_secs(2), "{hostcall} took {took:?}");
            assert_eq!(plugin.health(), (false, 0, 1), "{hostcall}");
            let lines = worker.services.lines.borrow();
            assert!(lines.len() < 1100 && lines.iter().all(|(_, _, line)| line.len() < 5000), "{hostcall}");
        });
    }
}

/// CPU time of this thread: another test may be using the machine.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the times of this thread");
    Duration::from_nanos(stat.split(' ').next().and_then(|time| time.parse().ok()).expect("nanoseconds"))
}

/// A thousand lines a second, cut, escaped; and how many were not written.
pub(super) fn log_flood() {
    on_worker(async |worker| {
        let (chain, _) = worker.chain("log_flood", patient("log_flood", ""));
        assert_eq!(worker.get(&chain, "/").await.status, 200);
        let lines = worker.services.take_lines();
        assert_eq!(lines.len(), 1000);
        let (long, short) = (&lines[0], &lines[1]);
        assert_eq!((long.len(), long.chars().last()), (4096 + '…'.len_utf8(), Some('…')));
        assert_eq!(short, "line\\r\\u{1b}[31m forged");
        worker.pass(Duration::from_secs(1)).await;
        assert_eq!(worker.get(&chain, "/").await.status, 200);
        let lines = worker.services.take_lines();
        assert_eq!((lines.len(), lines[0].as_str()), (1001, "9000 more lines in one second were suppressed"));
    });
    on_worker(async |worker| {
        let mut settings = patient("log_flood", "");
        settings.allowed.extend(["proxy_on_request_headers".to_owned(), "proxy_get_buffer_bytes".to_owned()]);
        let (chain, _) = worker.chain("log_flood", settings);
        assert_eq!(worker.get(&chain, "/").await.status, 200);
        let lines = worker.services.take_lines();
        assert_eq!(lines.len(), 1000, "what is not allowed is said, and counted");
        assert!(lines.iter().all(|line| line == "proxy_log is not among the allowed capabilities"));
    });
}

pub(super) fn metric_flood() {
    on_worker(async |worker| {
        let (outcome, said) = flood(worker, "metric_flood", "").await;
        assert_eq!((outcome.status, said.as_str()), (200, "{0: 1000, 10: 9000}"));
    });
}

/// Eight of a stream, a hundred of a plugin; more are refused, and those end with the VM.
pub(super) fn http_call_flood() {
    on_worker(async |worker| {
        worker.services.answer("other", Answered::Never);
        let (outcome, said) = flood(worker, "http_call_flood", "").await;
        assert_eq!((outcome.status, said.as_str()), (200, "request_headers: {0: 8, 10: 992}"));
        assert_eq!(worker.services.in_flight(), 8, "calls outlive their stream");
    });
    on_worker(async |worker| {
        worker.services.answer("other", Answered::Never);
        let (chain, plugin) = worker.chain("http_call_flood", patient("http_call_flood", "tick"));
        worker.pass(Duration::from_secs(1)).await;
        assert_eq!(statuses(worker), "tick: {0: 100, 10: 900}");
        assert_eq!(worker.get(&chain, "/").await.status, 200);
        assert_eq!(statuses(worker), "request_headers: {10: 1000}");
        assert_eq!(worker.services.in_flight(), 100);
        plugin.end();
        drop((chain, plugin));
        worker.settle().await;
        assert_eq!(worker.services.in_flight(), 0, "calls end with their plugin");
    });
    on_worker(async |worker| {
        let (outcome, _) = flood(worker, "http_call_flood", "").await;
        assert_eq!(outcome.status, 200);
        worker.pass(Duration::from_secs(1)).await;
        assert_eq!(worker.services.in_flight(), 0, "answered");
    });
}

/// By `vm_id`: another's shared data is not touched by it.
pub(super) fn shared_data_flood() {
    let room = |what: &'static str, expected: &'static str| {
        on_worker(async |worker| {
            let (outcome, said) = flood(worker, "shared_data_flood", what).await;
            assert_eq!((outcome.status, said.as_str()), (200, expected), "{what}");
        });
    };
    room("values", "{0: 15, 10: 19985}");
    room("keys", "{0: 10000, 10: 10000}");
    room("items", "{0: 10000, 10: 10000}");
    room("queues", "{0: 1000, 10: 19000}");
    room("large items", "{0: 15, 10: 19985}");
    on_worker(async |worker| {
        flood(worker, "shared_data_flood", "keys").await;
        let mut other = patient("shared_data_flood", "keys");
        other.vm_id = "another".to_owned();
        let (chain, _) = worker.chain("shared_data_flood", other);
        worker.get(&chain, "/").await;
        assert_eq!(statuses(worker), "{0: 10000, 10: 10000}", "its room is its own");
    });
}

/// A stream has room for so much and no more; what does not fit is refused, and what is left can be sent.
pub(super) fn stream_flood() {
    for (what, status, said) in [
        ("many headers", 200, "{0: 195, 10: 1805}"),
        ("long headers", 200, "{0: 1, 10: 1999}"),
        ("one header", 200, "{0: 2000}"),
        ("properties", 200, "{0: 31, 10: 1969}"),
    ] {
        on_worker(async |worker| {
            let (outcome, found) = flood(worker, "stream_flood", what).await;
            assert_eq!((outcome.status, found.as_str()), (status, said), "{what}");
        });
    }
    on_worker(async |worker| {
        let (outcome, found) = flood(worker, "stream_flood", "body").await;
        assert_eq!((outcome.status, found.as_str()), (200, "{0: 15, 10: 1985}"));
        let sent = outcome.upstream.expect("it goes on").body.len();
        assert!(sent <= 2 * (1 << 20), "{sent}");
    });
}
