//! Idle streams and connections: one coarse sweep finds them all, instead of a timer for each.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
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
pub(crate) struct Watches(Rc<All>);

struct All {
    /// As of the last sweep: coarse, but for nothing.
    now: Cell<Instant>,
    watched: RefCell<Vec<Rc<Watched>>>,
    /// Those of them that nobody uses: streams come and go too fast for each to have new memory.
    free: RefCell<Vec<Rc<Watched>>>,
}

/// Something that must not be silent for too long.
pub(crate) struct Watch {
    watched: Rc<Watched>,
    of: Rc<All>,
}

#[derive(Default)]
struct Watched {
    /// Or up to one sweep later.
    heard: Cell<Option<Instant>>,
    limit: Cell<Option<Duration>>,
    expired: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Default for Watches {
    fn default() -> Self {
        let (watched, free) = Default::default();
        Self(Rc::new(All { now: Cell::new(Instant::now()), watched, free }))
    }
}

impl Watches {
    pub(crate) fn watch(&self) -> Watch {
        let free = self.0.free.borrow_mut().pop();
        let watched = free.unwrap_or_else(|| {
            let new = Rc::<Watched>::default();
            self.0.watched.borrow_mut().push(new.clone());
            new
        });
        Watch { watched, of: self.0.clone() }
    }

    pub(crate) fn sweep(&self, now: Instant) {
        let passed = now.saturating_duration_since(self.0.now.replace(now));
        let (mut watched, mut free) = (self.0.watched.borrow_mut(), self.0.free.borrow_mut());
        let used = watched.len() - free.len();
        free.truncate(used);
        let mut silent_ones = Vec::new();
        watched.retain(|watched| {
            if Rc::strong_count(watched) == 1 {
                return false;
            }
            let silent = watched.heard.get().map_or(Duration::ZERO, |heard| now.saturating_duration_since(heard));
            if watched.limit.get().is_some_and(|limit| silent >= limit + passed) && !watched.expired.replace(true) {
                watched.limit.set(None);
                silent_ones.extend(watched.waker.take());
            }
            true
        });
        drop((watched, free));
        silent_ones.into_iter().for_each(Waker::wake);
    }
}

impl Watch {
    /// Sets how long it may be silent, from now on. `None`: for ever.
    pub(crate) fn arm(&self, limit: Option<Duration>) {
        self.watched.limit.set(limit);
        self.watched.expired.set(false);
        self.heard();
    }

    /// Something has happened.
    pub(crate) fn heard(&self) {
        self.watched.heard.set(Some(self.of.now.get()));
    }

    /// Whether it has been silent for too long, which is said once. Otherwise the task is woken when it has.
    pub(crate) fn expired(&self, waker: &Waker) -> bool {
        if self.watched.expired.replace(false) {
            return true;
        }
        let kept = self.watched.waker.take().filter(|kept| kept.will_wake(waker));
        self.watched.waker.set(Some(kept.unwrap_or_else(|| waker.clone())));
        false
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watched.limit.set(None);
        self.watched.expired.set(false);
        self.watched.waker.set(None);
        self.of.free.borrow_mut().push(self.watched.clone());
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
        let now = Cell::new(watches.0.now.get());
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
        let _kept = watches.watch();
        drop([watches.watch(), watches.watch(), watches.watch()]);
        watches.sweep(Instant::now());
        assert_eq!(watches.0.watched.borrow().len(), 2, "one is kept for the next");
        let next = watches.watch();
        next.arm(Some(Duration::ZERO));
        assert_eq!(watches.0.watched.borrow().len(), 2);
        drop(next);
        let again = watches.watch();
        watches.sweep(Instant::now());
        assert!(!again.expired(Waker::noop()), "what was before it does not matter");
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
