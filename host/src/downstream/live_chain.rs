//! A filter chain as connections hold it: what serves it now, and whether it is to end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::sync::Notify;

/// A filter chain of a listener on one worker. A reload changes what serves it: the next request on a connection that
/// is open already is served by the new configuration, requests under way end with the old one.
pub(crate) struct LiveChain<M> {
    current: RefCell<Rc<M>>,
    /// Whether its connections are to end.
    pub(crate) draining: Draining,
}

/// Whether connections are to end when their streams do.
#[derive(Default)]
pub(crate) struct Draining {
    begun: Cell<bool>,
    pub(crate) changed: Notify,
}

impl<M> LiveChain<M> {
    pub(crate) fn new(manager: M) -> Rc<Self> {
        Rc::new(Self { current: RefCell::new(Rc::new(manager)), draining: Draining::default() })
    }

    /// What serves it now.
    pub(crate) fn current(&self) -> Rc<M> {
        self.current.borrow().clone()
    }

    /// Serves it with something else from now on.
    pub(crate) fn replace(&self, manager: M) {
        let old = self.current.replace(Rc::new(manager));
        drop(old);
    }
}

impl Draining {
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.get()
    }

    pub(crate) fn begin(&self) {
        self.begun.set(true);
        self.changed.notify_waiters();
    }
}
