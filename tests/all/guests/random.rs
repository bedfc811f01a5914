//! No sequence of hostcalls makes the host panic, whatever their pointers, lengths and numbers: it answers, or the VM
//! ends. And whatever a guest has done to its stream, what comes out of it is a message or is cut.

use crate::wasm_driver::{Answer, Request, Worker, on_worker, settings};
use host::wasm::FailStrategy;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

const GUEST: &str = "random_hostcalls";

pub(super) fn random_hostcalls() {
    let succeeded = RefCell::new(BTreeSet::new());
    let mut runner = TestRunner::new(Config { cases: 4_000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(prop::collection::vec(any::<u8>(), 0..500), any::<bool>()), |(bytes, open)| {
        on_worker(async |worker| survive(worker, &bytes, open, &succeeded).await);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    // Calls that all fail would show nothing.
    let succeeded = succeeded.into_inner();
    assert!(succeeded.len() >= 20, "only these ever succeeded: {succeeded:?}");
}

/// Serves a stream with everything in it, and whatever the guest has made wait.
async fn survive(worker: &Worker, bytes: &[u8], open: bool, succeeded: &RefCell<BTreeSet<String>>) {
    let mut settings = settings(GUEST, "");
    settings.configuration = bytes.to_vec();
    settings.fail_strategy = if open { FailStrategy::Open } else { FailStrategy::Reload };
    settings.limits.pause = Duration::from_secs(1);
    settings.limits.callback = Duration::from_secs(1);
    // A guest may refuse its own configuration, by a hostcall that ends it.
    let Ok(plugin) = worker.try_start(GUEST, settings) else { return };
    let chain = std::rc::Rc::new(host::filter_chain::FilterChain::new(vec![plugin.clone(), plugin.clone()]));
    let request = Request::post(&["up", "load"]).trailers(&[("x-sum", "1")]);
    let outcome = worker.serve(&chain, request, Answer::ok(&["down", "load"]).trailers(&[("x-sum", "2")])).await;
    assert!(outcome.cut || (200..600).contains(&outcome.status));
    worker.get(&chain, "/").await;
    worker.pass(Duration::from_secs(1)).await;
    plugin.end();
    worker.pass(Duration::from_secs(100)).await;
    let lines = worker.services.take_lines();
    // A guest that writes over its own memory says strange things as well.
    let named =
        |name: &&str| name.starts_with("proxy_") && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    succeeded
        .borrow_mut()
        .extend(lines.iter().filter_map(|line| line.strip_prefix("ok ")).filter(named).map(str::to_owned));
}
