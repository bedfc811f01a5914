//! What VMs share across plugins and workers: shared data and queues, by `vm_id`. Not on the path of a request that
//! asks for neither.

use crate::wasm::abi::status::Status;
use crate::wasm::limits::Limits;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// A queue got an item: to be told to the VM that registered it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueReady {
    /// Which VM, of all that were ever made.
    pub vm: u64,
    /// Its root context.
    pub root: u32,
    /// The queue.
    pub queue: u32,
}

/// Shared data and queues of the process.
#[derive(Default)]
pub struct SharedState {
    data: Mutex<HashMap<Vec<u8>, Data>>,
    queues: Mutex<Queues>,
    // One sequence for all keys, as Envoy has it; 0 means "whatever is there" to a guest.
    sequence: AtomicU32,
}

#[derive(Default)]
struct Data {
    values: HashMap<Vec<u8>, (Arc<[u8]>, u32)>,
    bytes: usize,
    vms: usize,
}

#[derive(Default)]
struct Queues {
    by_vm_id: HashMap<Arc<[u8]>, Named>,
    queues: HashMap<u32, Queue>,
    last: u32,
}

/// What an item of a queue, or a queue, costs beside its bytes.
const OVERHEAD: usize = 64;

/// The queues of a `vm_id`.
#[derive(Default)]
struct Named {
    ids: HashMap<Vec<u8>, u32>,
    /// What names and items cost.
    bytes: usize,
}

struct Queue {
    vm_id: Arc<[u8]>,
    items: VecDeque<Vec<u8>>,
    owner: QueueReady,
    mailbox: UnboundedSender<QueueReady>,
}

impl SharedState {
    /// Says that a VM with this `vm_id` lives: shared data goes with the last one.
    pub(crate) fn join(&self, vm_id: &[u8]) {
        lock(&self.data).entry(vm_id.to_vec()).or_default().vms += 1;
    }

    /// Says that it lives no more.
    pub(crate) fn leave(&self, vm_id: &[u8]) {
        let mut data = lock(&self.data);
        let Some(entry) = data.get_mut(vm_id) else { return };
        entry.vms = entry.vms.saturating_sub(1);
        if entry.vms > 0 {
            return;
        }
        data.remove(vm_id);
        let mut queues = lock(&self.queues);
        let ids = queues.by_vm_id.remove(vm_id).map(|named| named.ids).unwrap_or_default();
        ids.values().for_each(|id| drop(queues.queues.remove(id)));
    }

    /// A value and its CAS number.
    pub(crate) fn get(&self, vm_id: &[u8], key: &[u8]) -> Option<(Arc<[u8]>, u32)> {
        lock(&self.data).get(vm_id)?.values.get(key).cloned()
    }

    /// Sets a value. `cas` 0, or a key that is absent: always; otherwise only if it is still the value's number.
    pub(crate) fn set(&self, vm_id: &[u8], key: &[u8], value: &[u8], cas: u32, limits: &Limits) -> Status {
        let mut data = lock(&self.data);
        let entry = data.entry(vm_id.to_vec()).or_default();
        let old = entry.values.get(key).map(|(value, cas)| (value.len() + key.len(), *cas));
        if old.is_some_and(|(_, current)| cas != 0 && cas != current) {
            return Status::CasMismatch;
        }
        let bytes = (entry.bytes - old.map_or(0, |(size, _)| size)).saturating_add(key.len() + value.len());
        let full = old.is_none() && entry.values.len() >= limits.shared_data_keys;
        if full || bytes > limits.shared_data_bytes {
            return Status::InternalFailure;
        }
        let number = self.sequence.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        entry.bytes = bytes;
        entry.values.insert(key.to_vec(), (value.into(), number.max(1)));
        Status::Ok
    }

    /// Makes a queue, or takes over the notifications of one that is there. `None`: too many.
    pub(crate) fn register(
        &self,
        vm_id: &[u8],
        name: &[u8],
        owner: QueueReady,
        mailbox: UnboundedSender<QueueReady>,
        limits: &Limits,
    ) -> Option<u32> {
        let queues = &mut *lock(&self.queues);
        let known = queues.by_vm_id.get(vm_id).and_then(|named| named.ids.get(name));
        if let Some(queue) = known.and_then(|id| queues.queues.get_mut(id)) {
            (queue.owner, queue.mailbox) = (QueueReady { queue: queue.owner.queue, ..owner }, mailbox);
            return Some(queue.owner.queue);
        }
        let vm_id: Arc<[u8]> = vm_id.into();
        let named = queues.by_vm_id.entry(vm_id.clone()).or_default();
        let bytes = named.bytes.saturating_add(name.len() + OVERHEAD);
        if named.ids.len() >= limits.queues || bytes > limits.queue_bytes {
            return None;
        }
        let id = queues.last.checked_add(1)?;
        (queues.last, named.bytes) = (id, bytes);
        named.ids.insert(name.to_vec(), id);
        let owner = QueueReady { queue: id, ..owner };
        queues.queues.insert(id, Queue { vm_id, items: VecDeque::new(), owner, mailbox });
        Some(id)
    }

    /// The queue of a name.
    pub(crate) fn resolve(&self, vm_id: &[u8], name: &[u8]) -> Option<u32> {
        lock(&self.queues).by_vm_id.get(vm_id)?.ids.get(name).copied()
    }

    /// Appends an item and wakes the owner.
    pub(crate) fn enqueue(&self, id: u32, item: &[u8], limits: &Limits) -> Status {
        let queues = &mut *lock(&self.queues);
        let Some(queue) = queues.queues.get_mut(&id) else {
            return Status::NotFound;
        };
        let Some(named) = queues.by_vm_id.get_mut(&queue.vm_id) else {
            return Status::NotFound;
        };
        let bytes = named.bytes.saturating_add(item.len() + OVERHEAD);
        if queue.items.len() >= limits.queue_items || item.len() > limits.body || bytes > limits.queue_bytes {
            return Status::InternalFailure;
        }
        named.bytes = bytes;
        queue.items.push_back(item.to_vec());
        // A worker that has ended is told nothing.
        let _ = queue.mailbox.send(queue.owner);
        Status::Ok
    }

    /// Takes the first item.
    pub(crate) fn dequeue(&self, id: u32) -> Result<Vec<u8>, Status> {
        let queues = &mut *lock(&self.queues);
        let queue = queues.queues.get_mut(&id).ok_or(Status::NotFound)?;
        let item = queue.items.pop_front().ok_or(Status::Empty)?;
        if let Some(named) = queues.by_vm_id.get_mut(&queue.vm_id) {
            named.bytes = named.bytes.saturating_sub(item.len() + OVERHEAD);
        }
        Ok(item)
    }
}

/// A panic elsewhere leaves every entry whole: nothing here panics between two writes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compare_and_set() {
        let (state, limits) = (SharedState::default(), Limits::default());
        state.join(b"a");
        assert_eq!(state.set(b"a", b"k", b"1", 7, &limits), Status::Ok, "the number of an absent key is ignored");
        let (value, cas) = state.get(b"a", b"k").unwrap();
        assert_eq!((&value[..], cas), (&b"1"[..], 1));
        assert_eq!(state.set(b"a", b"k", b"2", cas + 1, &limits), Status::CasMismatch);
        assert_eq!(state.set(b"a", b"k", b"2", cas, &limits), Status::Ok);
        assert_eq!(state.set(b"a", b"k", b"", 0, &limits), Status::Ok);
        assert_eq!(state.get(b"a", b"k").map(|(value, _)| value.len()), Some(0), "empty is a value");
        assert!(state.get(b"b", b"k").is_none());
        state.leave(b"a");
        assert!(state.get(b"a", b"k").is_none());
    }

    #[test]
    fn shared_data_is_bounded() {
        let limits = Limits { shared_data_bytes: 10, shared_data_keys: 2, ..Limits::default() };
        let state = SharedState::default();
        assert_eq!(state.set(b"", b"a", b"123456789", 0, &limits), Status::Ok);
        assert_eq!(state.set(b"", b"b", b"", 0, &limits), Status::InternalFailure);
        assert_eq!(state.set(b"", b"a", b"", 0, &limits), Status::Ok, "room is given back");
        assert_eq!(state.set(b"", b"b", b"", 0, &limits), Status::Ok);
        assert_eq!(state.set(b"", b"c", b"", 0, &limits), Status::InternalFailure);
    }

    #[test]
    fn the_last_registrant_is_told() {
        let (state, limits) = (SharedState::default(), Limits::default());
        let (first, mut told_first) = tokio::sync::mpsc::unbounded_channel();
        let (last, mut told_last) = tokio::sync::mpsc::unbounded_channel();
        let owner = |vm| QueueReady { vm, root: 1, queue: 0 };
        state.join(b"v");
        assert_eq!(state.register(b"v", b"q", owner(1), first, &limits), Some(1));
        assert_eq!(state.register(b"v", b"q", owner(2), last, &limits), Some(1));
        assert_eq!((state.resolve(b"v", b"q"), state.resolve(b"w", b"q")), (Some(1), None));
        assert_eq!(state.enqueue(1, b"x", &limits), Status::Ok);
        assert_eq!(told_last.try_recv().ok(), Some(QueueReady { vm: 2, root: 1, queue: 1 }));
        assert!(told_first.try_recv().is_err());
        assert_eq!(state.dequeue(1), Ok(b"x".to_vec()));
        assert_eq!((state.dequeue(1), state.dequeue(2)), (Err(Status::Empty), Err(Status::NotFound)));
        state.leave(b"v");
        assert_eq!((state.resolve(b"v", b"q"), state.dequeue(1)), (None, Err(Status::NotFound)));
    }

    #[test]
    fn queues_are_bounded() {
        let queue_bytes = 2 * (1 + OVERHEAD) + 2 * OVERHEAD + 10;
        let limits = Limits { queues: 2, queue_items: 2, queue_bytes, ..Limits::default() };
        let state = SharedState::default();
        let register = |vm_id: &[u8], name: &[u8]| {
            let (mailbox, _) = tokio::sync::mpsc::unbounded_channel();
            state.register(vm_id, name, QueueReady { vm: 1, root: 1, queue: 0 }, mailbox, &limits)
        };
        assert_eq!([register(b"v", b"a"), register(b"v", b"b"), register(b"v", b"c")], [Some(1), Some(2), None]);
        assert_eq!([register(b"w", b"a"), register(b"v", b"a")], [Some(3), Some(1)], "each vm_id has room of its own");
        assert_eq!(state.enqueue(1, b"123456789", &limits), Status::Ok);
        assert_eq!(state.enqueue(2, b"12", &limits), Status::InternalFailure, "bytes of both queues together");
        assert_eq!(state.enqueue(2, b"1", &limits), Status::Ok);
        assert_eq!(state.enqueue(3, b"123456789", &limits), Status::Ok);
        assert_eq!(state.dequeue(1), Ok(b"123456789".to_vec()));
        assert_eq!(state.enqueue(2, b"", &limits), Status::Ok, "room is given back");
        assert_eq!(state.enqueue(2, b"", &limits), Status::InternalFailure, "items of one queue");
    }
}
