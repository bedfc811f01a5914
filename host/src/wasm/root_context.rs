//! A root context: one plugin in one VM, with what it owns there: calls in flight, metrics, its timer.

use crate::telemetry::{Counter, Gauge, Histogram};
use crate::wasm::plugin::PluginSettings;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// A plugin's root context.
pub(crate) struct RootContext {
    pub(crate) id: u32,
    pub(crate) settings: Arc<PluginSettings>,
    /// Zero: no timer.
    pub(crate) tick_period: Cell<Duration>,
    /// Tells the timer that its period has changed.
    pub(crate) tick_changed: Notify,
    pub(crate) calls: RefCell<HashMap<u32, Call>>,
    /// What `proxy_get_status` answers: code, text.
    pub(crate) last_status: RefCell<(u32, Vec<u8>)>,
    pub(crate) log: LogBudget,
    /// `on_done` said false; `proxy_done` is awaited.
    pub(crate) done_pending: Cell<bool>,
    pub(crate) defined_metrics: Cell<usize>,
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
    pub(crate) fn new(id: u32, settings: Arc<PluginSettings>) -> Self {
        Self {
            id,
            settings,
            tick_period: Cell::new(Duration::ZERO),
            tick_changed: Notify::new(),
            calls: RefCell::default(),
            last_status: RefCell::default(),
            log: LogBudget::default(),
            done_pending: Cell::new(false),
            defined_metrics: Cell::new(0),
        }
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
