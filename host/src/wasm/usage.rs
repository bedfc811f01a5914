//! What a plugin's VMs on one worker have been asked to do, how long it took them, and why the last one ended.

use std::cell::{Cell, RefCell};
use std::time::Duration;

/// One call in so many is timed: reading the clock twice for each would cost more than some take. Prime, so that
/// callbacks that follow each other in a pattern all have their turn.
const TIMED: u64 = 17;

/// Usage of a plugin on one worker, over all its VMs.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    calls: Cell<u64>,
    /// Of the calls that were timed: nanoseconds, and how many they were.
    time: Cell<u64>,
    timed: Cell<u64>,
    last_end: RefCell<Option<String>>,
}

/// Usage as it was read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UsageReport {
    /// Calls into the plugin.
    pub calls: u64,
    /// How long they took together; an estimate, as only some are timed.
    pub time: Duration,
    /// Why its last VM ended, or did not start.
    pub last_end: Option<String>,
}

impl Usage {
    /// Counts a call; whether it is to be timed.
    pub(crate) fn count(&self) -> bool {
        let before = self.calls.get();
        self.calls.set(before.saturating_add(1));
        before.is_multiple_of(TIMED)
    }

    /// How long a call took that was to be timed, in nanoseconds.
    pub(crate) fn took(&self, time: u64) {
        self.time.set(self.time.get().saturating_add(time));
        self.timed.set(self.timed.get().saturating_add(1));
    }

    /// Why a VM ended, or did not start.
    pub(crate) fn ended(&self, reason: &str) {
        *self.last_end.borrow_mut() = Some(reason.to_owned());
    }

    pub(crate) fn report(&self) -> UsageReport {
        let (calls, timed) = (u128::from(self.calls.get()), u128::from(self.timed.get()));
        let nanoseconds = (u128::from(self.time.get()) * calls).checked_div(timed).unwrap_or(0);
        UsageReport {
            calls: self.calls.get(),
            time: Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)),
            last_end: self.last_end.borrow().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter_chain::FilteredStream;
    use crate::filter_chain::test_plugin::{GuestText, TestHost, chain_and_stream, run};
    use crate::wasm::Direction;
    use http_match::HeaderList;

    #[test]
    fn the_time_of_all_is_estimated_from_some() {
        let usage = Usage::default();
        assert_eq!(usage.report(), UsageReport::default());
        // A pattern of four calls, the last of which takes longer.
        for call in 0..17 * 40 {
            if usage.count() {
                usage.took(if call % 4 == 3 { 500 } else { 100 });
            }
        }
        let report = usage.report();
        assert_eq!((report.calls, report.time), (680, Duration::from_nanos(680 * 200)));
    }

    #[test]
    fn calls_and_ends_are_those_of_the_plugin() {
        run(true, async {
            let host = TestHost::new();
            let guest = GuestText::logging().on("request_headers", "(unreachable)");
            let plugins = vec![host.plugin("traps", &guest), host.plugin("fine", &GuestText::logging())];
            let start = plugins[1].usage();
            let (chain, stream) = chain_and_stream(plugins.clone(), HeaderList::new());
            let mut filtered = FilteredStream::new(chain, stream);
            filtered.headers(Direction::Request, true);
            filtered.finish();
            let reports = [plugins[0].usage(), plugins[1].usage()];
            let reason = reports[0].last_end.as_deref().unwrap_or_default();
            assert!(reason.contains("unreachable"), "{reason}");
            // It never saw the request; it logs the stream all the same: created, logged, done, deleted.
            assert_eq!((start.calls, reports[1].calls - start.calls, &reports[1].last_end), (0, 4, &None));
            assert!(reports[0].calls >= 2);
        });
    }
}
