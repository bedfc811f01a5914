//! A worker: one thread with its own runtime, listeners, VMs and connections. What is made here never leaves it.

mod generation;
mod thread;
mod watch;

pub(crate) use thread::{Command, PluginReport, Setup, Sockets, WorkerHandle, spawn};
pub(crate) use watch::{SWEEP, Watch, Watches};

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::sync::Notify;

/// The size of [`Worker::buffer`].
const BUFFER: usize = 64 << 10;

/// What everything on a worker can reach.
pub(crate) struct Worker {
    random: RefCell<fastrand::Rng>,
    watches: Watches,
    /// Bytes on their way from one socket to another: one for all connections, as none keeps it while it waits.
    pub(crate) buffer: RefCell<Box<[u8]>>,
    connections: Cell<usize>,
    quiet: Notify,
}

/// A connection that counts as long as this lives.
pub(crate) struct Connected(Rc<Worker>);

impl Worker {
    pub(crate) fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            watches: Watches::default(),
            buffer: RefCell::new(vec![0; BUFFER].into()),
            connections: Cell::new(0),
            quiet: Notify::new(),
        })
    }

    /// A random number, for choices that nobody must be kept from guessing.
    pub(crate) fn draw(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// Watches something new.
    pub(crate) fn watch(&self) -> Watch {
        self.watches.watch()
    }

    /// Wakes what has been silent for too long; called every [`SWEEP`].
    pub(crate) fn sweep(&self) {
        self.watches.sweep();
    }

    /// Counts a connection.
    pub(crate) fn connected(self: &Rc<Self>) -> Connected {
        self.connections.set(self.connections.get() + 1);
        Connected(self.clone())
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Ready when no connection is open.
    pub(crate) async fn quiet(&self) {
        while self.connections.get() > 0 {
            self.quiet.notified().await;
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let left = self.0.connections.get().saturating_sub(1);
        self.0.connections.set(left);
        if left == 0 {
            self.0.quiet.notify_one();
        }
    }
}
