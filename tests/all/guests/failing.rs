//! Guests that do not return: they loop, panic, overflow their stack, leave. Each in every callback, under each fail
//! strategy.

use crate::wasm_driver::{Answer, Outcome, Request, Worker, on_worker, settings};
use host::filter_chain::FilterChain;
use host::wasm::{FailStrategy, Plugin, StartError};
use std::rc::Rc;
use std::time::Duration;

pub(super) fn endless_loop() {
    fails_everywhere("endless_loop", "a callback computed for more than 20 ms");
}

pub(super) fn panic() {
    fails_everywhere("panic", "unreachable");
}

pub(super) fn stack_overflow() {
    fails_everywhere("stack_overflow", "call stack exhausted");
}

pub(super) fn exit() {
    fails_everywhere("exit", "the guest called proc_exit(3)");
}

/// What a stream gets whose filter fails in a callback.
enum Expected {
    /// 503, and nothing of the filter upstream.
    Refused,
    /// The upstream's answer, cut off: its headers were on their way.
    Cut,
    /// What it would have got without the filter.
    Unharmed,
}

use Expected::{Cut, Refused, Unharmed};

/// By callback: what its stream gets under FAIL_RELOAD and FAIL_CLOSE. Under FAIL_OPEN each is unharmed.
const CALLBACKS: [(&str, Expected); 11] = [
    ("stream_create", Refused),
    ("request_headers", Refused),
    ("request_body", Refused),
    ("request_trailers", Refused),
    ("http_call_response", Refused),
    ("response_headers", Refused),
    ("response_body", Cut),
    ("response_trailers", Cut),
    ("log", Unharmed),
    ("done", Unharmed),
    ("delete", Unharmed),
];

fn fails_everywhere(guest: &'static str, reason: &'static str) {
    for (callback, expected) in &CALLBACKS {
        on_worker(async |worker| fails(worker, guest, callback, expected, reason).await);
        on_worker(async |worker| opens(worker, guest, callback, reason).await);
    }
    for callback in ["context_create", "vm_start", "configure"] {
        on_worker(async |worker| does_not_start(worker, guest, callback, reason));
    }
    on_worker(async |worker| fails_by_its_timer(worker, guest, reason).await);
    on_worker(async |worker| fails_by_its_queue(worker, guest, reason).await);
    on_worker(async |worker| fails_while_others_wait(worker, guest).await);
}

/// A plugin of the guest, quick to be ended, and one that counts what it has served: a VM of its own, on the same
/// worker.
struct Bed {
    chain: Rc<FilterChain>,
    plugin: Rc<Plugin>,
    bystander: Rc<FilterChain>,
    served: std::cell::Cell<u32>,
}

impl Bed {
    fn new(worker: &Worker, guest: &str, callback: &str, strategy: FailStrategy) -> Self {
        let mut settings = settings(guest, callback);
        settings.limits.callback_warning = Duration::from_millis(10);
        settings.limits.callback = Duration::from_millis(20);
        settings.limits.start = Duration::from_millis(20);
        settings.fail_strategy = strategy;
        let (chain, plugin) = worker.chain(guest, settings);
        let (bystander, _) = worker.chain("trap_on_nth_request", self::settings("trap_on_nth_request", ""));
        Self { chain, plugin, bystander, served: std::cell::Cell::new(0) }
    }

    /// A request with everything in it, answered with everything.
    async fn serve(&self, worker: &Worker) -> Outcome {
        let request = Request::post(&["up", "load"]).trailers(&[("x-sum", "1")]);
        worker.serve(&self.chain, request, Answer::ok(&["down", "load"]).trailers(&[("x-sum", "2")])).await
    }

    /// The other plugin's VM is the one that it was, and serves.
    async fn others_are_served(&self, worker: &Worker) {
        self.served.set(self.served.get() + 1);
        let outcome = worker.get(&self.bystander, "/").await;
        let count = self.served.get().to_string();
        let upstream = outcome.upstream.expect("the request goes through");
        assert_eq!(upstream.headers.get("x-served"), Some(count.as_bytes()));
    }
}

async fn fails(worker: &Worker, guest: &str, callback: &str, expected: &Expected, reason: &str) {
    let bed = Bed::new(worker, guest, callback, FailStrategy::Reload);
    bed.others_are_served(worker).await;
    let outcome = bed.serve(worker).await;
    check(&outcome, expected, callback);
    assert!(worker.services.said(&format!("the VM ends: {reason}")) || worker.services.said(reason), "{callback}");
    assert_eq!(bed.plugin.health(), (false, 0, 1), "{callback}: its memory is given back");
    bed.others_are_served(worker).await;
    for again in 2..=6 {
        check(&bed.serve(worker).await, expected, callback);
        assert_eq!(bed.plugin.health(), (false, 0, again), "{callback}: a new VM, which failed as well");
    }
    // That has helped nobody: the next has to wait.
    check(&bed.serve(worker).await, &Refused, callback);
    assert_eq!(bed.plugin.health().2, 6, "{callback}: backs off");
    worker.pass(Duration::from_secs(2)).await;
    check(&bed.serve(worker).await, expected, callback);
    assert_eq!(bed.plugin.health().2, 7, "{callback}");
    bed.others_are_served(worker).await;
}

async fn opens(worker: &Worker, guest: &str, callback: &str, reason: &str) {
    let bed = Bed::new(worker, guest, callback, FailStrategy::Open);
    check(&bed.serve(worker).await, &Unharmed, callback);
    assert!(worker.services.said(reason), "{callback}");
    assert_eq!(bed.plugin.health(), (false, 0, 1), "{callback}");
    for _ in 2..=7 {
        check(&bed.serve(worker).await, &Unharmed, callback);
    }
    assert_eq!(bed.plugin.health().2, 6, "{callback}: passes by while it backs off");
    worker.pass(Duration::from_secs(2)).await;
    check(&bed.serve(worker).await, &Unharmed, callback);
    assert_eq!(bed.plugin.health().2, 7, "{callback}: is asked again");
    bed.others_are_served(worker).await;
}

fn check(outcome: &Outcome, expected: &Expected, callback: &str) {
    let upstream = outcome.upstream.as_ref();
    match expected {
        Refused => {
            assert_eq!(outcome.seen(), (503, ""), "{callback}");
            assert_eq!(outcome.details, "wasm_fail_stream", "{callback}");
            assert!(!outcome.cut, "{callback}");
            assert!(!callback.starts_with("request") || upstream.is_none_or(|read| !read.whole), "{callback}");
            assert!(outcome.held < Duration::from_secs(1), "{callback}: answered at once");
        }
        Cut => {
            assert_eq!((outcome.status, outcome.cut), (200, true), "{callback}");
            assert!(!outcome.response.whole, "{callback}: a client must see that it is cut");
        }
        Unharmed => {
            assert_eq!(outcome.seen(), (200, "download"), "{callback}");
            assert_eq!(outcome.response.trailers, [("x-sum", "2")].into_iter().collect(), "{callback}");
            let upstream = upstream.expect("it goes through");
            assert_eq!((&upstream.body[..], upstream.whole), (&b"upload"[..], true), "{callback}");
            assert_eq!(upstream.trailers, [("x-sum", "1")].into_iter().collect(), "{callback}");
        }
    }
}

fn does_not_start(worker: &Worker, guest: &str, callback: &str, reason: &str) {
    let mut settings = settings(guest, callback);
    settings.limits.start = Duration::from_millis(20);
    let failed = worker.try_start(guest, settings).map(|_| ());
    let Err(StartError::Failed { plugin, reason: why, .. }) = &failed else { panic!("{callback}: {failed:?}") };
    assert_eq!(plugin, guest);
    assert!(why.contains(reason), "{callback}: {why}");
}

/// Three VMs in a row that their timer ends are enough: the plugin is left alone then.
async fn fails_by_its_timer(worker: &Worker, guest: &str, reason: &str) {
    let bed = Bed::new(worker, guest, "tick", FailStrategy::Reload);
    check(&bed.serve(worker).await, &Unharmed, "tick");
    for strike in 1..=3 {
        worker.pass(Duration::from_secs(10)).await;
        assert!(worker.services.said(reason));
        assert_eq!(bed.plugin.health(), (false, 0, strike), "its memory is given back");
        bed.others_are_served(worker).await;
        let expected = if strike < 3 { &Unharmed } else { &Refused };
        check(&bed.serve(worker).await, expected, "tick");
    }
    worker.pass(Duration::from_secs(3600)).await;
    check(&bed.serve(worker).await, &Refused, "tick");
    assert_eq!(bed.plugin.health().2, 3, "it is not started again");
    assert!(worker.services.said("disabled"));
    bed.others_are_served(worker).await;
}

async fn fails_by_its_queue(worker: &Worker, guest: &str, reason: &str) {
    let bed = Bed::new(worker, guest, "queue_ready", FailStrategy::Reload);
    for ended in 1..=3 {
        check(&bed.serve(worker).await, &Unharmed, "queue_ready");
        worker.settle().await;
        assert!(worker.services.said(reason));
        assert_eq!(bed.plugin.health(), (false, 0, ended));
        bed.others_are_served(worker).await;
    }
}

/// A stream that waits when its guest ends has nobody left to let it go on: it is answered at once.
async fn fails_while_others_wait(worker: &Worker, guest: &str) {
    let bed = Bed::new(worker, guest, "http_call_response", FailStrategy::Reload);
    let waits = async {
        let outcome = bed.serve(worker).await;
        check(&outcome, &Refused, "http_call_response");
        outcome.held
    };
    // The second comes a little later, and its own answer would be: both end with the VM.
    let later = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        waits_too(worker, &bed).await
    };
    let (first, second) = tokio::join!(waits, later);
    assert_eq!((first, second), (Duration::from_millis(50), Duration::from_millis(30)));
    assert_eq!(bed.plugin.health(), (false, 0, 1));
    assert_eq!(worker.services.in_flight(), 0, "its calls are cancelled");
}

async fn waits_too(worker: &Worker, bed: &Bed) -> Duration {
    let outcome = bed.serve(worker).await;
    check(&outcome, &Refused, "http_call_response");
    outcome.held
}

/// Serves well until it does not: the next stream has a new VM at once.
pub(super) fn trap_on_nth_request() {
    on_worker(async |worker| {
        let (chain, plugin) = worker.chain("trap_on_nth_request", settings("trap_on_nth_request", "3"));
        let mut served = Vec::new();
        for _ in 0..9 {
            let outcome = worker.get(&chain, "/").await;
            let count = outcome.upstream.and_then(|upstream| upstream.headers.get("x-served").map(<[u8]>::to_vec));
            served.push((outcome.status, count.map_or(0, |count| count[0] - b'0')));
        }
        let round = [(200, 1), (200, 2), (503, 0)];
        assert_eq!(served, [round, round, round].concat());
        assert_eq!(plugin.health(), (false, 0, 3));
    });
    on_worker(async |worker| never_shares_a_fate(worker).await);
    on_worker(async |worker| gives_everything_back(worker).await);
}

/// Under `vm_per_request` not even the streams of one plugin harm each other.
async fn never_shares_a_fate(worker: &Worker) {
    let mut settings = settings("trap_on_nth_request", "2");
    settings.vm_per_request = true;
    let (chain, plugin) = worker.chain("trap_on_nth_request", settings);
    for _ in 0..5 {
        let outcome = worker.get(&chain, "/").await;
        assert_eq!(outcome.upstream.expect("served").headers.get("x-served"), Some(&b"1"[..]));
    }
    assert_eq!(plugin.health().2, 0);
}

/// Each VM reserves gigabytes of address space: a thousand that were kept would be seen.
async fn gives_everything_back(worker: &Worker) {
    let (chain, plugin) = worker.chain("trap_on_nth_request", settings("trap_on_nth_request", "2"));
    let reserved = || {
        let pages = std::fs::read_to_string("/proc/self/statm").expect("the size of this process");
        pages.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages") * 4096
    };
    let before = reserved();
    for _ in 0..1000 {
        worker.get(&chain, "/").await;
        worker.get(&chain, "/").await;
    }
    assert_eq!(plugin.health().2, 1000);
    let grown = reserved().saturating_sub(before);
    assert!(grown < 1 << 40, "{grown} bytes of address space for VMs that have ended");
}

/// What a guest holds when its VM ends is answered, in whatever phase it is held, and whoever made it end.
pub(super) fn pause_or_trap() {
    for phase in ["request_headers", "request_body", "request_trailers", "response_headers", "response_body"] {
        on_worker(async |worker| {
            let (chain, plugin) = worker.chain("pause_or_trap", settings("pause_or_trap", ""));
            let held = async {
                let request = Request::post(&["up"]).header("x-hold", phase.as_bytes());
                let whole = if phase.ends_with("trailers") { request.trailers(&[("x-sum", "1")]) } else { request };
                worker.serve(&chain, whole, Answer::ok(&["down"])).await
            };
            let trap = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                worker.get(&chain, "/trap").await
            };
            let (held, trapped) = tokio::join!(held, trap);
            // Headers that are on their way cannot be taken back.
            let expected = if phase == "response_body" { (200, true) } else { (503, false) };
            assert_eq!(((held.status, held.cut), held.held), (expected, Duration::from_secs(1)), "{phase}");
            assert_eq!((trapped.seen(), trapped.details.as_str()), ((503, ""), "wasm_fail_stream"), "{phase}");
            assert_eq!(plugin.health().2, 1, "{phase}");
            assert_eq!(worker.get(&chain, "/").await.status, 200, "a new VM");
        });
    }
    // Held for ever: for as long as a plugin may.
    on_worker(async |worker| {
        let (chain, plugin) = worker.chain("pause_or_trap", settings("pause_or_trap", ""));
        let outcome =
            worker.serve(&chain, Request::get("/").header("x-hold", b"request_headers"), Answer::ok(&[])).await;
        assert_eq!((outcome.seen(), outcome.held), ((504, "stream timeout"), Duration::from_secs(15)));
        assert_eq!(outcome.details, "filter_held_stream_too_long");
        assert_eq!(worker.get(&chain, "/").await.status, 200);
        assert_eq!(plugin.health().2, 0);
    });
    on_worker(async |worker| shared_vm_ends_for_all(worker).await);
}

/// Two plugins of one VM: when one makes it end, the other's streams are answered, and both have a new one together.
async fn shared_vm_ends_for_all(worker: &Worker) {
    let (first, _) = worker.chain("pause_or_trap", settings("pause_or_trap", ""));
    let mut other = settings("pause_or_trap", "");
    other.name = "other".to_owned();
    let (second, plugin) = worker.chain("pause_or_trap", other);
    assert_eq!(worker.get(&second, "/").await.status, 200);
    let held = worker.serve(&second, Request::get("/").header("x-hold", b"request_headers"), Answer::ok(&[]));
    let (held, trapped) = tokio::join!(held, worker.get(&first, "/trap"));
    assert_eq!((held.seen(), trapped.seen()), ((503, ""), (503, "")));
    assert_eq!(worker.get(&second, "/").await.status, 200, "a VM that has served is made anew at once");
    assert_eq!(plugin.health().2, 1);
}
