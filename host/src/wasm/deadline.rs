//! How long a guest may compute: CPU time of the worker thread, so that a busy machine ends no innocent filter.

use crate::wasm::engine::TICK;
use crate::wasm::limits::Limits;
use std::time::Duration;

/// The budget of the guest call under way.
///
/// Reading the CPU clock is a system call, so nothing reads it until an epoch tick finds the call still running: the
/// budget counts from that tick on. A call can therefore run one tick longer than its bound.
pub(crate) struct Deadline {
    warning: Duration,
    trap: Duration,
    first: Option<Duration>,
    warned: bool,
    overrun: Option<Duration>,
}

/// What to do about a guest that is still running.
pub(crate) enum Verdict {
    /// Let it go on for so many ticks.
    Extend(u64),
    /// As `Extend`, and say that it is slow: CPU time so far.
    Warn(u64, Duration),
    /// End it.
    Interrupt,
}

impl Deadline {
    pub(crate) fn new() -> Self {
        Self { warning: Duration::ZERO, trap: Duration::ZERO, first: None, warned: false, overrun: None }
    }

    /// Sets the bounds of a callback.
    pub(crate) fn callback(&mut self, limits: &Limits) {
        (self.warning, self.trap) = (limits.callback_warning, limits.callback);
        (self.first, self.warned) = (None, false);
    }

    /// Sets the bounds of start-up.
    pub(crate) fn start(&mut self, limits: &Limits) {
        (self.warning, self.trap) = (limits.start, limits.start);
        (self.first, self.warned) = (None, false);
    }

    /// The bound that the last call was ended for, if it was.
    pub(crate) fn overrun(&self) -> Option<Duration> {
        self.overrun
    }

    /// Judges a call that an epoch tick found running.
    pub(crate) fn judge(&mut self) -> Verdict {
        let now = thread_cpu_time();
        let used = match self.first {
            None => {
                self.first = Some(now);
                TICK
            }
            Some(first) => now.saturating_sub(first) + TICK,
        };
        if used >= self.trap {
            self.overrun = Some(self.trap);
            return Verdict::Interrupt;
        }
        if used >= self.warning && !self.warned {
            self.warned = true;
            return Verdict::Warn(1, used);
        }
        Verdict::Extend(1)
    }
}

/// CPU time that this thread has used. Not by rustix, which reads the clock in a way that ends a process under valgrind.
fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to the place it is given, which is one of its kind. Of a clock that every Linux has it does not
    // fail; the time would be 0 then, and no guest be ended for what is not known.
    #[expect(unsafe_code, reason = "a system call that the standard library does not have")]
    unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
