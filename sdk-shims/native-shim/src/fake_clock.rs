//! Time that only moves when told to.

use std::time::Duration;

/// A clock that a test moves.
#[derive(Clone, Debug)]
pub struct FakeClock {
    now: Duration,
}

impl Default for FakeClock {
    /// Some morning in 2026: far from zero, so that differences and absolute times cannot be mixed up unseen.
    fn default() -> Self {
        Self { now: Duration::from_secs(1_782_000_000) }
    }
}

impl FakeClock {
    /// One that shows this time since the Unix epoch.
    pub fn at(now: Duration) -> Self {
        Self { now }
    }

    /// Time since the Unix epoch.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Moves the clock on.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now.saturating_add(by);
    }
}
