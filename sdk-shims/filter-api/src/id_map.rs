//! What is remembered about streams and calls, by the numbers a host gave them.

use crate::{CallId, StreamId};
use plugin_config::Index;
use std::marker::PhantomData;

/// A number that a host gave.
pub trait Id: Copy {
    /// Different for different ids.
    fn number(self) -> u64;
}

impl Id for StreamId {
    fn number(self) -> u64 {
        self.0.into()
    }
}

impl Id for CallId {
    fn number(self) -> u64 {
        match self {
            CallId::Http(id) => id.into(),
            CallId::Grpc(id) => u64::from(id) | 1 << 32,
        }
    }
}

/// A map by ids. Everything but the vector of values is the same code for every type of value, so that a module holds
/// it once.
#[derive(Debug)]
pub struct IdMap<K, V> {
    places: Places,
    values: Vec<Option<V>>,
    ids: PhantomData<K>,
}

impl<K, V> Default for IdMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> IdMap<K, V> {
    /// Without entries.
    pub const fn new() -> Self {
        Self { places: Places { index: Index::new(), free: Vec::new() }, values: Vec::new(), ids: PhantomData }
    }
}

impl<K: Id, V> IdMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.places.index.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.places.index.is_empty()
    }

    /// Whether there is an entry for an id.
    pub fn contains(&self, id: K) -> bool {
        self.places.find(id.number()).is_some()
    }

    /// The value of an id.
    pub fn get(&self, id: K) -> Option<&V> {
        self.values.get(self.places.find(id.number())? as usize)?.as_ref()
    }

    /// The value of an id, to be changed.
    pub fn get_mut(&mut self, id: K) -> Option<&mut V> {
        self.values.get_mut(self.places.find(id.number())? as usize)?.as_mut()
    }

    /// Gives an id a value, in place of the one it had; the value, where it stands now.
    pub fn insert(&mut self, id: K, value: V) -> Option<&mut V> {
        let place = self.places.take(id.number()) as usize;
        match self.values.get_mut(place) {
            Some(slot) => *slot = Some(value),
            // A place is one that was free, or the next.
            None => self.values.push(Some(value)),
        }
        self.values.get_mut(place)?.as_mut()
    }

    /// The value of an id; the default, where it had none.
    pub fn get_or_default(&mut self, id: K) -> Option<&mut V>
    where
        V: Default,
    {
        if self.contains(id) { self.get_mut(id) } else { self.insert(id, V::default()) }
    }

    /// Removes an id; the value it had.
    pub fn remove(&mut self, id: K) -> Option<V> {
        let place = self.places.free(id.number())?;
        self.values.get_mut(place as usize)?.take()
    }
}

/// Which place in the vector of values each id has. An id is its own hash: no two have the same.
#[derive(Debug)]
struct Places {
    index: Index,
    /// Places whose ids are gone.
    free: Vec<u32>,
}

impl Places {
    fn find(&self, id: u64) -> Option<u32> {
        self.index.find(id, |_| true)
    }

    #[inline(never)]
    fn take(&mut self, id: u64) -> u32 {
        if let Some(place) = self.find(id) {
            return place;
        }
        // As many ids as there are each have one of the first places, or what is free is among them.
        let next = || u32::try_from(self.index.len()).unwrap_or(u32::MAX);
        let place = self.free.pop().unwrap_or_else(next);
        self.index.insert(id, place);
        place
    }

    fn free(&mut self, id: u64) -> Option<u32> {
        let place = self.index.remove(id, |_| true)?;
        self.free.push(place);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_and_forgets() {
        let mut map = IdMap::new();
        for id in 0..1_000 {
            map.insert(StreamId(id), id);
        }
        map.insert(StreamId(7), 70);
        assert_eq!((map.get(StreamId(7)), map.len()), (Some(&70), 1_000));
        for id in (0..1_000).step_by(2) {
            assert_eq!(map.remove(StreamId(id)), Some(id));
        }
        assert_eq!((map.remove(StreamId(0)), map.contains(StreamId(1)), map.len()), (None, true, 500));
        for id in 1_000..1_500 {
            *map.get_or_default(StreamId(id)).unwrap() += id;
        }
        assert_eq!((map.len(), map.values.len()), (1_000, 1_000), "places are used again");
        assert!((1_000..1_500).all(|id| map.get_mut(StreamId(id)) == Some(&mut { id })));
    }

    #[test]
    fn calls_of_both_kinds_are_apart() {
        let mut map = IdMap::new();
        map.insert(CallId::Http(1), "http");
        map.insert(CallId::Grpc(1), "grpc");
        assert_eq!((map.remove(CallId::Http(1)), map.remove(CallId::Grpc(1))), (Some("http"), Some("grpc")));
        assert!(map.is_empty());
    }
}
