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
        Self {
            places: Places { index: Index::new(), ids: Vec::new(), free: Vec::new() },
            values: Vec::new(),
            ids: PhantomData,
        }
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
        self.values.get(self.places.find(id.number())?)?.as_ref()
    }

    /// The value of an id, to be changed.
    pub fn get_mut(&mut self, id: K) -> Option<&mut V> {
        self.values.get_mut(self.places.find(id.number())?)?.as_mut()
    }

    /// Gives an id a value, in place of the one it had.
    pub fn insert(&mut self, id: K, value: V) {
        let place = self.places.take(id.number());
        match self.values.get_mut(place) {
            Some(slot) => *slot = Some(value),
            // A place is one that was free, or the next.
            None => self.values.push(Some(value)),
        }
    }

    /// The value of an id; the default, where it had none.
    pub fn get_or_default(&mut self, id: K) -> Option<&mut V>
    where
        V: Default,
    {
        if !self.contains(id) {
            self.insert(id, V::default());
        }
        self.get_mut(id)
    }

    /// Removes an id; the value it had.
    pub fn remove(&mut self, id: K) -> Option<V> {
        let place = self.places.free(id.number())?;
        self.values.get_mut(place)?.take()
    }
}

/// Which place in the vector of values each id has.
#[derive(Debug)]
struct Places {
    index: Index,
    /// The ids by place.
    ids: Vec<u64>,
    free: Vec<u32>,
}

impl Places {
    fn find(&self, id: u64) -> Option<usize> {
        let place = self.index.find(hash(id), &mut |place| self.ids.get(place as usize) == Some(&id))?;
        Some(place as usize)
    }

    #[inline(never)]
    fn take(&mut self, id: u64) -> usize {
        if let Some(place) = self.find(id) {
            return place;
        }
        let place = self.free.pop().unwrap_or_else(|| u32::try_from(self.ids.len()).unwrap_or(u32::MAX));
        match self.ids.get_mut(place as usize) {
            Some(known) => *known = id,
            None => self.ids.push(id),
        }
        self.index.insert(hash(id), place);
        place as usize
    }

    #[inline(never)]
    fn free(&mut self, id: u64) -> Option<usize> {
        let ids = &self.ids;
        let place = self.index.remove(hash(id), &mut |place| ids.get(place as usize) == Some(&id))?;
        self.free.push(place);
        Some(place as usize)
    }
}

/// Ids are consecutive, so their low bits are a good hash as they are.
fn hash(id: u64) -> u32 {
    u32::try_from((id ^ (id >> 32 << 31)) & u64::from(u32::MAX)).unwrap_or_default()
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
