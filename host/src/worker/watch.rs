//! Idle streams and connections: one coarse sweep finds them all, instead of a timer for each.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

/// How often at most, and at least, idle streams and connections are looked for.
const SWEEPS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How often they are looked for where this is the shortest time that something may be silent: what is noticed late is
/// late by half of it at most, or by two seconds.
pub(crate) fn sweep_every(shortest: Option<Duration>) -> Duration {
    shortest.map_or(SWEEPS.1, |shortest| (shortest / 4).clamp(SWEEPS.0, SWEEPS.1))
}

/// Everything that is watched on a worker.
pub(crate) struct Watches {
    /// As of the last sweep: coarse, but for nothing.
    now: Rc<Cell<Instant>>,
    watched: RefCell<Vec<Weak<Watched>>>,
}

/// Something that must not be silent for too long.
pub(crate) struct Watch(Rc<Watched>);

struct Watched {
    now: Rc<Cell<Instant>>,
    /// Or up to one sweep later.
    heard: Cell<Instant>,
    limit: Cell<Option<Duration>>,
    expired: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Default for Watches {
    fn default() -> Self {
        Self { now: Rc::new(Cell::new(Instant::now())), watched: RefCell::default() }
    }
}

impl Watches {
    pub(crate) fn watch(&self) -> Watch {
        let watched = Rc::new(Watched {
            now: self.now.clone(),
            heard: Cell::new(self.now.get()),
            limit: Cell::new(None),
            expired: Cell::new(false),
            waker: Cell::new(None),
        });
        self.watched.borrow_mut().push(Rc::downgrade(&watched));
        Watch(watched)
    }

    pub(crate) fn sweep(&self, now: Instant) {
        let passed = now.saturating_duration_since(self.now.replace(now));
        self.watched.borrow_mut().retain(|watched| {
            let Some(watched) = watched.upgrade() else { return false };
            let silent = now.saturating_duration_since(watched.heard.get());
            if watched.limit.get().is_some_and(|limit| silent >= limit + passed) && !watched.expired.replace(true) {
                watched.limit.set(None);
                if let Some(waker) = watched.waker.take() {
                    waker.wake();
                }
            }
            true
        });
    }
}

impl Watch {
    /// Sets how long it may be silent, from now on. `None`: for ever.
    pub(crate) fn arm(&self, limit: Option<Duration>) {
        self.0.limit.set(limit);
        self.0.expired.set(false);
        self.heard();
    }

    /// Something has happened.
    pub(crate) fn heard(&self) {
        self.0.heard.set(self.0.now.get());
    }

    /// Whether it has been silent for too long, which is said once. Otherwise the task is woken when it has.
    pub(crate) fn expired(&self, waker: &Waker) -> bool {
        if self.0.expired.replace(false) {
            return true;
        }
        let kept = self.0.waker.take().filter(|kept| kept.will_wake(waker));
        self.0.waker.set(Some(kept.unwrap_or_else(|| waker.clone())));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn silence_is_said_once() {
        let (watches, woken) = (Watches::default(), Arc::new(Woken::default()));
        let now = Cell::new(watches.now.get());
        let sweep = || {
            now.set(now.get() + Duration::from_millis(500));
            watches.sweep(now.get());
        };
        let (watch, waker) = (watches.watch(), Waker::from(woken.clone()));
        watch.arm(Some(Duration::from_millis(1500)));
        for _ in 0..3 {
            sweep();
            assert!(!watch.expired(&waker), "it may have been heard just before the first sweep");
        }
        watch.heard();
        (0..3).for_each(|_| sweep());
        assert!(!watch.expired(&waker));
        sweep();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(watch.expired(&waker));
        (0..9).for_each(|_| sweep());
        assert!(!watch.expired(&waker), "once");
    }

    #[test]
    fn what_is_gone_is_not_kept() {
        let watches = Watches::default();
        drop(watches.watch());
        let _kept = watches.watch();
        watches.sweep(Instant::now());
        assert_eq!(watches.watched.borrow().len(), 1);
    }

    #[test]
    fn short_limits_are_looked_after_more_often() {
        let milliseconds = Duration::from_millis;
        for (shortest, every) in [(None, 1000), (Some(10_000), 1000), (Some(1000), 250), (Some(100), 25), (Some(1), 10)]
        {
            assert_eq!(sweep_every(shortest.map(milliseconds)), milliseconds(every), "{shortest:?}");
        }
    }
}
