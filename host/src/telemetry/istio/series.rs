//! The series that one worker has reported to, found by key without a lock and without an allocation.

use crate::telemetry::istio::labels::{Key, Rest};
use hashbrown::HashTable;
use rustc_hash::FxHasher;
use std::cell::{OnceCell, RefCell};
use std::hash::{Hash, Hasher};

/// Most series of a metric in the process, and keys of a worker: what clients and upstreams can vary (statuses, flags,
/// identities) must not fill the memory. Beyond it one series, whose labels are unknown, counts the rest.
pub(super) const MAX_SERIES: usize = 2000;

/// Handles by key.
pub(super) struct SeriesTable<H> {
    known: RefCell<HashTable<Entry<H>>>,
    rest: OnceCell<H>,
}

struct Entry<H> {
    hash: u64,
    cluster: Box<str>,
    peer: Box<str>,
    rest: Rest,
    handles: H,
}

impl<H: Clone> SeriesTable<H> {
    pub(super) fn new() -> Self {
        Self { known: RefCell::default(), rest: OnceCell::new() }
    }

    /// Uses the handles of a key. `define` makes them; of no key: those of the rest.
    pub(super) fn with<R>(
        &self,
        key: &Key<'_>,
        define: impl Fn(Option<&Key<'_>>) -> Option<H>,
        used: impl FnOnce(&H) -> R,
    ) -> Option<R> {
        let hash = hash(key);
        let mut known = self.known.borrow_mut();
        if let Some(entry) = known.find(hash, |entry| entry.is(key)) {
            return Some(used(&entry.handles));
        }
        if known.len() >= MAX_SERIES {
            return self.rest(&define).map(used);
        }
        let handles = match define(Some(key)) {
            Some(handles) => handles,
            None => self.rest(&define)?.clone(),
        };
        let result = used(&handles);
        let (cluster, peer) = (key.cluster.into(), key.peer.into());
        known.insert_unique(hash, Entry { hash, cluster, peer, rest: key.rest, handles }, |entry| entry.hash);
        Some(result)
    }

    fn rest(&self, define: impl Fn(Option<&Key<'_>>) -> Option<H>) -> Option<&H> {
        if self.rest.get().is_none() {
            // Nobody else can have set it meanwhile.
            let _ = self.rest.set(define(None)?);
        }
        self.rest.get()
    }
}

impl<H> Entry<H> {
    fn is(&self, key: &Key<'_>) -> bool {
        self.rest == key.rest && *self.cluster == *key.cluster && *self.peer == *key.peer
    }
}

fn hash(key: &Key<'_>) -> u64 {
    let mut hasher = FxHasher::default();
    (key.cluster, key.peer, key.rest).hash(&mut hasher);
    hasher.finish()
}
