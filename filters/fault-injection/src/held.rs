//! Requests that wait, by the time they are due.

use filter_api::{IdMap, StreamId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Held requests: one heap of deadlines for all of them.
///
/// A client that leaves frees its entry at once; its deadline stays in the heap until it falls due or until the dead
/// ones are the majority.
#[derive(Debug)]
pub(crate) struct Held<T> {
    deadlines: BinaryHeap<Reverse<(Duration, StreamId)>>,
    waiting: IdMap<StreamId, T>,
}

impl<T> Held<T> {
    pub(crate) fn new() -> Self {
        Self { deadlines: BinaryHeap::new(), waiting: IdMap::new() }
    }

    /// Holds a stream until `deadline`.
    pub(crate) fn insert(&mut self, stream: StreamId, deadline: Duration, value: T) {
        self.waiting.insert(stream, value);
        self.deadlines.push(Reverse((deadline, stream)));
    }

    /// Forgets a stream; what was kept for it, if it was held.
    pub(crate) fn remove(&mut self, stream: StreamId) -> Option<T> {
        let removed = self.waiting.remove(stream);
        if self.deadlines.len() > 2 * self.waiting.len() + 16 {
            let waiting = &self.waiting;
            self.deadlines.retain(|Reverse((_, stream))| waiting.contains(*stream));
        }
        removed
    }

    /// When the first of those that wait is due.
    pub(crate) fn next_due(&mut self) -> Option<Duration> {
        loop {
            let Reverse((deadline, stream)) = self.deadlines.peek()?;
            if self.waiting.contains(*stream) {
                return Some(*deadline);
            }
            self.deadlines.pop();
        }
    }

    /// The next stream that is due. It counts as held until it is removed.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<StreamId> {
        self.next_due().filter(|due| *due <= now)?;
        self.deadlines.pop().map(|Reverse((_, stream))| stream)
    }

    /// How many streams wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_in_order_and_only_those_still_waiting() {
        let mut held = Held::new();
        let at = Duration::from_millis;
        for (id, due) in [(1, 30), (2, 10), (3, 20)] {
            held.insert(StreamId(id), at(due), ());
        }
        held.remove(StreamId(3));
        assert_eq!((held.next_due(), held.pop_due(at(9))), (Some(at(10)), None));
        assert_eq!(held.pop_due(at(30)), Some(StreamId(2)));
        assert_eq!(held.next_due(), Some(at(30)));
        assert_eq!(held.pop_due(at(30)), Some(StreamId(1)));
        assert_eq!((held.next_due(), held.pop_due(at(30))), (None, None));
    }

    #[test]
    fn clients_that_leave_do_not_pile_up() {
        let mut held = Held::new();
        for id in 0..100_000 {
            held.insert(StreamId(id), Duration::from_secs(3600), ());
            held.remove(StreamId(id));
        }
        assert!(held.deadlines.len() <= 16 && held.len() == 0);
    }
}
