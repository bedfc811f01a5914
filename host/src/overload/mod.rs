//! Shedding before memory or file descriptors run out: how near that is, and who is let in all the same.
//!
//! | memory in use, of what the process may have | what happens |
//! | --- | --- |
//! | below 90 % | nothing |
//! | 90 % | new requests are answered with 503, connections end with their streams |
//! | 95 % | and no connection is accepted: those that come wait in the kernel |
//!
//! What the process may have is the least of: the snapshot's `overload.maxMemory`, the limits of its cgroups, and what
//! the machine has left. Connections from clients are counted over all listeners; those beyond
//! `overload.maxConnections` are closed as they are accepted.

mod memory;

use crate::app::MemoryUse;
use crate::telemetry::{Counter, Gauge, Registry};
use compiler::snapshot;
use memory::Memory;
use rustix::process::{Resource, getrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The share of memory from which requests are shed, and the one from which connections are.
const NO_REQUESTS: f64 = 0.90;
const NO_CONNECTIONS: f64 = 0.95;

/// How often memory is looked at. Three or four files of the kernel are read each time, some 0.1 ms.
pub(crate) const LOOKED_AT: Duration = Duration::from_millis(250);

/// Connections from clients, where nothing is configured and the limit of file descriptors is no lower.
const MAX_CONNECTIONS: usize = 20_000;

/// How near the end of its memory the process is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Pressure {
    /// Far.
    None,
    /// New requests are shed.
    Requests,
    /// And new connections.
    Connections,
}

impl Pressure {
    /// At this share of memory.
    fn at(share: f64) -> Self {
        match share {
            share if share >= NO_CONNECTIONS => Self::Connections,
            share if share >= NO_REQUESTS => Self::Requests,
            _ => Self::None,
        }
    }
}

/// What all workers of a proxy know of its load. Reading it is a load of an atomic.
pub(crate) struct Overload {
    pressure: AtomicU8,
    connections: AtomicUsize,
    max_connections: AtomicUsize,
    /// Bytes; 0: no bound of the snapshot's.
    max_memory: AtomicU64,
    refused_connections: Counter,
    shed_requests: Counter,
    share: Gauge,
    memory_use: MemoryUse,
}

/// A client's connection that counts as long as this lives.
pub(crate) struct Room(Arc<Overload>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Overload {
    /// `memory_use`: tells the share of memory in use; none: the system is asked.
    pub(crate) fn new(registry: &Registry, memory_use: Option<MemoryUse>) -> Arc<Self> {
        Arc::new(Self {
            pressure: AtomicU8::new(Pressure::None as u8),
            connections: AtomicUsize::new(0),
            max_connections: AtomicUsize::new(MAX_CONNECTIONS),
            max_memory: AtomicU64::new(0),
            refused_connections: registry.counter("outrigger_overload_connections_refused", &[]),
            shed_requests: registry.counter("outrigger_overload_requests_shed", &[]),
            share: registry.gauge("outrigger_overload_memory_percent", &[]),
            memory_use: memory_use.unwrap_or_else(of_this_process),
        })
    }

    /// Takes the bounds of a snapshot.
    pub(crate) fn configure(&self, bounds: &snapshot::Overload) {
        self.max_connections.store(bounds.max_connections.unwrap_or_else(default_connections), Ordering::Relaxed);
        self.max_memory.store(bounds.max_memory.unwrap_or(0), Ordering::Relaxed);
    }

    /// Looks at memory, and says what changes. Called every [`LOOKED_AT`], by a thread that no request can keep busy.
    pub(crate) fn look(&self) {
        let bound = Some(self.max_memory.load(Ordering::Relaxed)).filter(|bound| *bound > 0);
        let share = (self.memory_use)(bound);
        let percent = share * 100.0;
        match self.observe(share) {
            None => {}
            Some(Pressure::None) => tracing::info!("memory is at {percent:.0} %: everybody is served again"),
            Some(Pressure::Requests) => {
                tracing::warn!("memory is at {percent:.0} %: new requests are answered with 503")
            }
            Some(Pressure::Connections) => tracing::warn!("memory is at {percent:.0} %: no connection is accepted"),
        }
    }

    /// Takes note of the share of memory in use; what has changed, if anything.
    fn observe(&self, share: f64) -> Option<Pressure> {
        let pressure = Pressure::at(share);
        // Percents; the conversion saturates.
        self.share.set((share.clamp(0.0, 100.0) * 100.0) as u64);
        let before = self.pressure.swap(pressure as u8, Ordering::Relaxed);
        (before != pressure as u8).then_some(pressure)
    }

    /// Whether a new request is answered with 503, and connections end with their streams.
    pub(crate) fn sheds_requests(&self) -> bool {
        self.pressure.load(Ordering::Relaxed) >= Pressure::Requests as u8
    }

    /// Whether nothing is accepted.
    pub(crate) fn sheds_connections(&self) -> bool {
        self.pressure.load(Ordering::Relaxed) >= Pressure::Connections as u8
    }

    /// Counts a request that was shed.
    pub(crate) fn shed(&self) {
        self.shed_requests.add(1);
    }

    /// Lets a connection in. `None`: there are as many as may be.
    pub(crate) fn let_in(self: &Arc<Self>) -> Option<Room> {
        let most = self.max_connections.load(Ordering::Relaxed);
        let one_more = |open: usize| (open < most).then_some(open + 1);
        match self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Some(Room(self.clone())),
            Err(_) => {
                self.refused_connections.add(1);
                None
            }
        }
    }
}

fn of_this_process() -> MemoryUse {
    let memory = Memory::of_this_process();
    Arc::new(move |bound| memory.share(bound))
}

/// Half of the file descriptors: each connection may need another to an upstream.
fn default_connections() -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(MAX_CONNECTIONS, |limit| (limit / 2).clamp(1, MAX_CONNECTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_what_they_mean() {
        let overload = Overload::new(&Registry::for_threads(1), None);
        for (share, requests, connections, changed) in [
            (0.0, false, false, None),
            (0.899, false, false, None),
            (0.9, true, false, Some(Pressure::Requests)),
            (0.94, true, false, None),
            (0.95, true, true, Some(Pressure::Connections)),
            (7.0, true, true, None),
            (0.5, false, false, Some(Pressure::None)),
            (f64::NAN, false, false, None),
        ] {
            assert_eq!(overload.observe(share), changed, "{share}");
            assert_eq!((overload.sheds_requests(), overload.sheds_connections()), (requests, connections), "{share}");
        }
    }

    #[test]
    fn connections_are_counted_while_they_live() {
        let overload = Overload::new(&Registry::for_threads(1), None);
        overload.configure(&snapshot::Overload { max_connections: Some(2), max_memory: None });
        let (first, second) = (overload.let_in(), overload.let_in());
        assert!(first.is_some() && second.is_some() && overload.let_in().is_none());
        drop(first);
        assert!(overload.let_in().is_some());
        assert_eq!(overload.refused_connections.value(), 1);
    }

    #[test]
    fn defaults_leave_room_for_upstreams() {
        let overload = Overload::new(&Registry::for_threads(1), None);
        overload.configure(&snapshot::Overload::default());
        let most = overload.max_connections.load(Ordering::Relaxed);
        assert!(most == default_connections() && (1..=MAX_CONNECTIONS).contains(&most));
        assert_eq!(overload.max_memory.load(Ordering::Relaxed), 0);
    }
}
