//! Idle streams and connections: one coarse sweep finds them all, instead of a timer for each.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Duration;

/// How often idle streams and connections are looked for.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);

/// Everything that is watched on a worker.
#[derive(Default)]
pub(crate) struct Watches {
    tick: Rc<Cell<u64>>,
    watched: RefCell<Vec<Weak<Watched>>>,
}

/// Something that must not be silent for too long.
pub(crate) struct Watch(Rc<Watched>);

struct Watched {
    now: Rc<Cell<u64>>,
    heard: Cell<u64>,
    /// In sweeps; 0: none.
    limit: Cell<u64>,
    expired: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Watches {
    pub(crate) fn watch(&self) -> Watch {
        let watched = Rc::new(Watched {
            now: self.tick.clone(),
            heard: Cell::new(self.tick.get()),
            limit: Cell::new(0),
            expired: Cell::new(false),
            waker: Cell::new(None),
        });
        self.watched.borrow_mut().push(Rc::downgrade(&watched));
        Watch(watched)
    }

    pub(crate) fn sweep(&self) {
        let now = self.tick.get() + 1;
        self.tick.set(now);
        self.watched.borrow_mut().retain(|watched| {
            let Some(watched) = watched.upgrade() else { return false };
            let limit = watched.limit.get();
            if limit > 0 && now.saturating_sub(watched.heard.get()) > limit && !watched.expired.replace(true) {
                watched.limit.set(0);
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
        let sweeps = limit.map_or(0, |limit| limit.as_secs().saturating_add(u64::from(limit.subsec_nanos() > 0)));
        self.0.limit.set(sweeps);
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
        let (watch, waker) = (watches.watch(), Waker::from(woken.clone()));
        watch.arm(Some(Duration::from_millis(1500)));
        for _ in 0..2 {
            watches.sweep();
            assert!(!watch.expired(&waker));
        }
        watch.heard();
        (0..2).for_each(|_| watches.sweep());
        assert!(!watch.expired(&waker));
        watches.sweep();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(watch.expired(&waker));
        (0..9).for_each(|_| watches.sweep());
        assert!(!watch.expired(&waker), "once");
    }

    #[test]
    fn what_is_gone_is_not_kept() {
        let watches = Watches::default();
        drop(watches.watch());
        let _kept = watches.watch();
        watches.sweep();
        assert_eq!(watches.watched.borrow().len(), 1);
    }
}
