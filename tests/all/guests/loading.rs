//! Guests that cannot be loaded or do not start: each is refused with the reason, and nothing of it stays.

use crate::wasm_driver::{load, load_bytes, on_worker, settings};
use host::wasm::{LoadError, StartError};
use std::time::Duration;

/// Why a guest cannot be loaded.
fn refusal(guest: &str) -> LoadError {
    load(guest).map(|_| ()).expect_err(guest)
}

pub(super) fn no_version() {
    assert_eq!(refusal("no_version"), LoadError::NoVersion);
    for bytes in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0\x01", b"not a module at all", &[0xff; 1000]] {
        let refused = load_bytes(bytes).map(|_| ()).expect_err("not a module");
        assert!(matches!(refused, LoadError::NotCompiled(_)), "{bytes:?}: {refused}");
    }
    let empty = load_bytes(b"\0asm\x01\0\0\0").map(|_| ()).expect_err("nothing in it");
    assert_eq!(empty, LoadError::NoVersion);
}

pub(super) fn unknown_version() {
    assert_eq!(refusal("unknown_version"), LoadError::NoVersion);
}

pub(super) fn missing_memory() {
    assert_eq!(refusal("missing_memory"), LoadError::MissingExport("memory"));
}

pub(super) fn missing_allocator() {
    assert_eq!(refusal("missing_allocator"), LoadError::MissingExport("malloc or proxy_on_memory_allocate"));
}

/// Every unknown import is named at once.
pub(super) fn unknown_import() {
    let unknown = "env.proxy_launch_rockets, wasi_snapshot_preview1.fd_teleport, host.anything";
    assert_eq!(refusal("unknown_import"), LoadError::UnknownImports(unknown.to_owned()));
}

pub(super) fn mistyped_import() {
    let LoadError::NotLinked(why) = refusal("mistyped_import") else { panic!("not linked") };
    assert!(why.contains("proxy_log"), "{why}");
}

/// Callbacks are looked up when a VM starts: all that are wrong are named.
pub(super) fn mistyped_exports() {
    on_worker(async |worker| {
        let refused = worker.try_start("mistyped_exports", settings("mistyped_exports", "")).map(|_| ());
        let why = refused.expect_err("not the ABI's signatures").to_string();
        assert!(why.contains("proxy_on_request_headers") && why.contains("proxy_on_log"), "{why}");
    });
}

pub(super) fn mistyped_allocator() {
    on_worker(async |worker| {
        let refused = worker.try_start("mistyped_allocator", settings("mistyped_allocator", "")).map(|_| ());
        assert!(matches!(refused, Err(StartError::Failed { .. })), "{refused:?}");
    });
}

pub(super) fn refuses() {
    refuses_in("refuses", "on_configure");
}

pub(super) fn refuses_start() {
    refuses_in("refuses_start", "on_vm_start");
}

fn refuses_in(guest: &str, callback: &'static str) {
    on_worker(async |worker| {
        let refused = worker.try_start(guest, settings(guest, "")).map(|_| ());
        assert_eq!(refused, Err(StartError::Refused { plugin: guest.to_owned(), callback }));
    });
}

/// The bound on start-up holds for the instantiation too.
pub(super) fn loops_in_start() {
    on_worker(async |worker| {
        let mut settings = settings("loops_in_start", "");
        settings.limits.start = Duration::from_millis(20);
        let why = worker.try_start("loops_in_start", settings).map(|_| ()).expect_err("it never ends").to_string();
        assert!(why.contains("computed for more than 20 ms"), "{why}");
    });
}

pub(super) fn calls_before_start() {
    on_worker(async |worker| {
        let refused = worker.try_start("calls_before_start", settings("calls_before_start", "")).map(|_| ());
        let why = refused.expect_err("too early").to_string();
        assert!(why.contains("before the VM was started"), "{why}");
    });
}

/// There is no root context yet whose budget lines would be counted against: the VM has one of its own.
pub(super) fn logs_before_start() {
    on_worker(async |worker| {
        let plugin = worker.start("logs_before_start", settings("logs_before_start", ""));
        assert!(plugin.health().0);
        assert_eq!(worker.services.take_lines().len(), 1000);
    });
}

pub(super) fn large_memory() {
    on_worker(async |worker| {
        let refused = worker.try_start("large_memory", settings("large_memory", "")).map(|_| ());
        let why = refused.expect_err("more than a VM may have").to_string();
        assert!(why.contains("memory"), "{why}");
    });
}

/// What is not counted must not be there.
pub(super) fn many_memories() {
    assert!(matches!(refusal("many_memories"), LoadError::NotCompiled(_)));
}

pub(super) fn memory_64() {
    assert!(matches!(refusal("memory_64"), LoadError::NotCompiled(_)));
}
