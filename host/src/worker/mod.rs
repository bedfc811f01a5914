//! A worker: one thread with its own runtime, listeners, VMs and connections. What is made here never leaves it.

mod date;
mod generation;
mod task;
mod thread;
mod watch;

pub(crate) use generation::Workbench;
pub(crate) use task::spawn as spawn_guarded;
pub(crate) use thread::{Command, Setup, Sockets, WorkerHandle, spawn};
pub(crate) use watch::{Watch, Watches, sweep_every};

use crate::app::Lookup;
use crate::overload::Overload;
use crate::telemetry::{Counter, Registry};
use date::Date;
use http_match::HeaderList;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The size of [`Worker::buffer`].
const BUFFER: usize = 64 << 10;

/// What everything on a worker can reach.
pub(crate) struct Worker {
    random: RefCell<fastrand::Rng>,
    watches: Watches,
    /// Bytes on their way from one socket to another: one for all connections, as none keeps it while it waits.
    pub(crate) buffer: RefCell<Box<[u8]>>,
    /// How loaded the process is.
    pub(crate) overload: Arc<Overload>,
    connections: Cell<usize>,
    quiet: Notify,
    date: Date,
    /// Looks up names of hosts that no cluster knows.
    pub(crate) lookup: Lookup,
    /// Tasks that have panicked.
    panics: Counter,
}

/// A connection that counts as long as this lives.
pub(crate) struct Connected(Rc<Worker>);

impl Worker {
    /// A worker of a proxy of its own.
    #[cfg(test)]
    pub(crate) fn new(seed: u64) -> Rc<Self> {
        let registry = Registry::for_threads(1);
        Self::under(seed, Overload::new(&registry, None), &registry, Arc::new(|_| Ok(Vec::new())))
    }

    /// A worker of a proxy that is so loaded.
    pub(crate) fn under(seed: u64, overload: Arc<Overload>, registry: &Registry, lookup: Lookup) -> Rc<Self> {
        Rc::new(Self {
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            watches: Watches::default(),
            buffer: RefCell::new(vec![0; BUFFER].into()),
            overload,
            connections: Cell::new(0),
            quiet: Notify::new(),
            date: Date::default(),
            lookup,
            panics: registry.counter("outrigger_task_panics", &[]),
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

    /// Wakes what has been silent for too long; called every so often, see [`sweep_every`].
    pub(crate) fn sweep(&self, now: Instant) {
        self.watches.sweep(now);
    }

    /// Adds to a response's headers what every response has (RFC 9110 section 6.6.1): `date`, if it has none. `own`:
    /// and who says so, for a response of the proxy's own.
    pub(crate) fn sign(&self, headers: &mut HeaderList, own: bool) {
        if headers.get("date").is_none() {
            self.date.with(SystemTime::now(), |date| headers.add("date", date.as_bytes()));
        }
        if own && headers.get("server").is_none() {
            headers.add("server", b"outrigger");
        }
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
