//! A root context: one plugin in one VM, with what it owns there: calls in flight, metrics, its timer.

use crate::telemetry::{Counter, Gauge, Histogram};
use crate::wasm::plugin::PluginSettings;
use crate::wasm::usage::Usage;
use crate::wasm::vm::Vm;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// A plugin's root context.
pub(crate) struct RootContext {
    pub(crate) id: u32,
    pub(crate) settings: Arc<PluginSettings>,
    pub(crate) usage: Rc<Usage>,
    pub(crate) timer: Rc<Timer>,
    pub(crate) calls: RefCell<HashMap<u32, Call>>,
    /// What `proxy_get_status` answers: code, text.
    pub(crate) last_status: RefCell<(u32, Vec<u8>)>,
    pub(crate) log: LogBudget,
    /// `on_done` said false; `proxy_done` is awaited.
    pub(crate) done_pending: Cell<bool>,
    /// It has come.
    pub(crate) done: Notify,
    pub(crate) defined_metrics: Cell<usize>,
}

/// The timer of a root context.
#[derive(Default)]
pub(crate) struct Timer {
    /// Zero: it does not run.
    period: Cell<Duration>,
    changed: Notify,
    /// The task that calls the guest; there once a period was set.
    task: RefCell<Option<AbortHandle>>,
    /// Callbacks that have returned, and whether one did not: the VM ended with it.
    pub(crate) returned: Cell<u32>,
    pub(crate) trapped: Cell<bool>,
}

/// A call in flight. Ends with its root context, that is with its VM.
pub(crate) struct Call {
    pub(crate) task: AbortHandle,
    /// For gRPC: messages to send, and whether each is the last.
    pub(crate) messages: Option<tokio::sync::mpsc::UnboundedSender<(bytes::Bytes, bool)>>,
    /// The stream that began it, and its place in the chain.
    pub(crate) stream: Option<(std::rc::Weak<crate::wasm::Stream>, usize)>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.task.abort();
        if let Some((stream, slot)) = self.stream.take()
            && let Some(stream) = stream.upgrade()
            && let Ok(mut state) = stream.state.try_borrow_mut()
            && let Some(slot) = state.slots.get_mut(slot)
        {
            slot.calls = slot.calls.saturating_sub(1);
        }
    }
}

/// A metric that a guest defined.
pub(crate) enum Metric {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// How many log lines are left this second.
#[derive(Default)]
pub(crate) struct LogBudget {
    second: Cell<u64>,
    used: Cell<u32>,
}

/// What to do with a line.
pub(crate) enum Line {
    /// Write it; so many before it were suppressed.
    Write {
        suppressed: u32,
    },
    Suppress,
}

impl LogBudget {
    /// Counts a line at a monotonic time in seconds.
    pub(crate) fn take(&self, second: u64, limit: u32) -> Line {
        let mut suppressed = 0;
        if self.second.replace(second) != second {
            suppressed = self.used.replace(0).saturating_sub(limit);
        }
        self.used.set(self.used.get().saturating_add(1));
        if self.used.get() > limit { Line::Suppress } else { Line::Write { suppressed } }
    }
}

impl RootContext {
    /// Sets the timer's period; zero stops it.
    pub(crate) fn set_period(self: &Rc<Self>, vm: &Weak<Vm>, period: Duration) {
        let timer = &self.timer;
        timer.period.set(period);
        timer.changed.notify_one();
        if timer.task.borrow().is_none() && !period.is_zero() {
            let ticking = tick(vm.clone(), self.id, timer.clone());
            *timer.task.borrow_mut() = Some(tokio::task::spawn_local(ticking).abort_handle());
        }
    }

    /// Ends what goes on beside the guest's callbacks: its timer and its calls.
    pub(crate) fn stop(&self) {
        if let Some(task) = self.timer.task.take() {
            task.abort();
        }
        drop(self.calls.take());
    }

    pub(crate) fn new(id: u32, settings: Arc<PluginSettings>, usage: Rc<Usage>) -> Self {
        Self {
            id,
            settings,
            usage,
            timer: Rc::default(),
            calls: RefCell::default(),
            last_status: RefCell::default(),
            log: LogBudget::default(),
            done_pending: Cell::new(false),
            done: Notify::new(),
            defined_metrics: Cell::new(0),
        }
    }
}

impl Drop for RootContext {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Calls the timer of a root context as often as it wants, until its VM ends. The next period starts when the
/// callback has returned.
async fn tick(vm: Weak<Vm>, root: u32, timer: Rc<Timer>) {
    loop {
        let period = timer.period.get();
        if period.is_zero() {
            timer.changed.notified().await;
            continue;
        }
        tokio::select! {
            () = timer.changed.notified() => continue,
            () = tokio::time::sleep(period) => {}
        }
        let Some(vm) = vm.upgrade() else { return };
        let ticked = vm.enter(root, |store, callbacks| match &callbacks.tick {
            Some(call) => call.call(store, root),
            None => Ok(()),
        });
        if ticked.is_err() {
            return timer.trapped.set(true);
        }
        timer.returned.set(timer.returned.get().saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_budget_are_counted() {
        let budget = LogBudget::default();
        let written = (0..5).filter(|_| matches!(budget.take(7, 3), Line::Write { suppressed: 0 })).count();
        assert_eq!(written, 3);
        assert!(matches!(budget.take(8, 3), Line::Write { suppressed: 2 }));
        assert!(matches!(budget.take(9, 3), Line::Write { suppressed: 0 }));
    }
}
