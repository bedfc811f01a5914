//! Acts on a request: holds it, answers it, or lets it pass.

use crate::config::Config;
use crate::draws::{self, Draws};
use crate::fault::{Answer, Draw, Fault, Faults};
use crate::held::Held;
use filter_api::{
    Action, Filter, HostError, LocalReply, Metric, PolicyTable, Reach, Root, Stream, StreamId, configure_one,
};
use plugin_config::At;
use std::time::Duration;

/// What an aborted request is told, as Envoy's fault filter words it.
const BODY: &str = "fault filter abort";
const DETAILS: &str = "fault_filter_abort";

/// The property by which the access log knows of a delay: our proxy says `DI`, as Envoy does of its own filter's.
const DELAY_INJECTED: &str = "outrigger.delay_injected";

/// Held requests are not looked at more often: the most a delay comes late, and a bound on what many of them cost.
const TICK: Duration = Duration::from_millis(5);

/// Makes the filter from a plugin configuration.
///
/// # Errors
/// Every fault of the configuration.
pub fn configure(configuration: &[u8], root: &mut Root<'_>) -> Result<Vec<Box<dyn Filter>>, plugin_config::Faults> {
    configure_one(configuration, root, build)
}

/// Compiles a configuration; every fault is recorded in `at`.
pub fn build(config: &Config, at: &mut At, root: &mut Root<'_>) -> Option<Box<dyn Filter>> {
    let table = PolicyTable::compile(&config.routes, &config.rules, at, Fault::compile)?;
    Some(Box::new(FaultInjection {
        reach: Reach::of(table.policies().map(Fault::shares)),
        table,
        seed: config.seed.as_ref().map(draws::number),
        most: config.max_active_faults,
        held: Held::new(),
        armed: None,
        delays: root.counter("outrigger.fault_injection.delays"),
        aborts: root.counter("outrigger.fault_injection.aborts"),
        overflows: root.counter("outrigger.fault_injection.overflow"),
        active: root.gauge("outrigger.fault_injection.active"),
    }))
}

struct FaultInjection {
    table: PolicyTable<Fault>,
    reach: Reach<Draw>,
    seed: Option<u64>,
    most: Option<u32>,
    /// Held streams, with the answer that follows the wait.
    held: Held<Option<Answer>>,
    /// When the next tick comes; `None`: nothing waits and there is none.
    armed: Option<Duration>,
    delays: Metric,
    aborts: Metric,
    overflows: Metric,
    active: Metric,
}

impl Filter for FaultInjection {
    fn on_request_headers(&mut self, stream: &mut Stream<'_>) -> Action {
        let faults = match self.decide(stream) {
            Ok(faults) => faults,
            Err(error) => {
                log::warn!("no fault is injected: the request cannot be read ({error})");
                return Action::Continue;
            }
        };
        match (faults.delay, faults.abort) {
            (None, None) => Action::Continue,
            _ if self.is_full() => {
                stream.root().add(self.overflows, 1);
                Action::Continue
            }
            (Some(delay), then) => self.hold(delay, then, stream),
            (None, Some(answer)) => self.abort(answer, stream),
        }
    }

    fn on_wake(&mut self, stream: &mut Stream<'_>) -> Action {
        let then = self.forget(stream.id(), stream.root());
        match then {
            Some(Some(answer)) => self.abort(answer, stream),
            Some(None) | None => Action::Continue,
        }
    }

    fn on_tick(&mut self, root: &mut Root<'_>) {
        let Ok(now) = root.now() else {
            return;
        };
        while let Some(stream) = self.held.pop_due(now) {
            root.wake(stream);
        }
        self.arm(now, root);
    }

    fn on_stream_end(&mut self, stream: StreamId, root: &mut Root<'_>) {
        self.forget(stream, root);
    }
}

impl FaultInjection {
    fn decide(&self, stream: &mut Stream<'_>) -> Result<Faults, HostError> {
        let mut draws = Draws::new(self.seed);
        if !self.reach.may_hit(|which| draws.take(which, stream))? {
            return Ok(Faults::default());
        }
        match self.table.find(stream)? {
            Some((_, fault)) => fault.decide(|which| draws.take(which, stream)),
            None => Ok(Faults::default()),
        }
    }

    fn is_full(&self) -> bool {
        self.most.is_some_and(|most| self.held.len() >= most as usize)
    }

    fn hold(&mut self, delay: Duration, then: Option<Answer>, stream: &mut Stream<'_>) -> Action {
        let id = stream.id();
        let root = stream.root();
        let now = match root.now() {
            Ok(now) => now,
            Err(error) => {
                log::warn!("a request is not held: the host has no clock ({error})");
                return Action::Continue;
            }
        };
        let due = now.saturating_add(delay);
        self.held.insert(id, due, then);
        root.add(self.delays, 1);
        root.add(self.active, 1);
        if self.armed.is_none_or(|armed| due < armed) {
            self.arm(now, root);
        }
        if let Err(error) = stream.set_property(DELAY_INJECTED, b"true") {
            log::debug!("the access log will not tell of a delay ({error})");
        }
        Action::Pause
    }

    /// Has the next tick come when the first held request is due, and none when nothing waits.
    fn arm(&mut self, now: Duration, root: &mut Root<'_>) {
        let wait = self.held.next_due().map(|due| whole_millis(due.saturating_sub(now)).max(TICK));
        self.armed = wait.map(|wait| now.saturating_add(wait));
        root.set_tick(wait);
    }

    fn abort(&mut self, answer: Answer, stream: &mut Stream<'_>) -> Action {
        let reply = match answer {
            Answer::Http(status) => LocalReply::new(status, DETAILS),
            Answer::Grpc(code) => LocalReply { grpc_status: Some(code), ..LocalReply::new(200, DETAILS) },
        };
        stream.root().add(self.aborts, 1);
        stream.reply(&reply.body(BODY));
        Action::Pause
    }

    /// Frees what a held stream took; what was to follow its wait.
    fn forget(&mut self, stream: StreamId, root: &mut Root<'_>) -> Option<Option<Answer>> {
        let then = self.held.remove(stream)?;
        root.add(self.active, -1);
        // Those that still wait may be due later than the one that was forgotten: a tick too early does no harm.
        if self.held.len() == 0 {
            self.armed = None;
            root.set_tick(None);
        }
        Some(then)
    }
}

/// Rounded up: the timers of hosts know whole milliseconds, and one that is early would have to be set again.
fn whole_millis(wait: Duration) -> Duration {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
