//! What is remembered about streams and calls, by the numbers a host gave them.

use crate::{CallId, StreamId};
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
        Self { places: Places { slots: Vec::new(), used: 0, free: Vec::new() }, values: Vec::new(), ids: PhantomData }
    }
}

impl<K: Id, V> IdMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.places.used as usize
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.places.used == 0
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

    /// Gives an id a value, in place of the one it had; the value, where it stands now.
    pub fn insert(&mut self, id: K, value: V) -> Option<&mut V> {
        let place = self.places.take(id.number());
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
        self.values.get_mut(place)?.take()
    }
}

/// Which place in the vector of values each id has: a hash table that looks at one slot after the other. As a module
/// asks it several times in every callback, it is written for this alone.
#[derive(Debug)]
struct Places {
    /// Id and place, from the slot on that the id says; a power of two of them, of which half at least are free.
    slots: Vec<(u64, u32)>,
    used: u32,
    /// Places whose ids are gone.
    free: Vec<u32>,
}

/// The place of a free slot.
const FREE: u32 = u32::MAX;

impl Places {
    fn find(&self, id: u64) -> Option<usize> {
        if self.used == 0 { None } else { self.slots.get(self.slot(id)?).map(|(_, place)| *place as usize) }
    }

    /// Where an id stands.
    #[inline(never)]
    fn slot(&self, id: u64) -> Option<usize> {
        let mut slot = self.home(id);
        while let Some(&(other, place)) = self.slots.get(slot)
            && place != FREE
        {
            if other == id {
                return Some(slot);
            }
            slot = self.after(slot);
        }
        None
    }

    #[inline(never)]
    fn take(&mut self, id: u64) -> usize {
        if let Some(place) = self.find(id) {
            return place;
        }
        // Of `used` ids each has one of the first places, or what is free is among them.
        let place = self.free.pop().unwrap_or(self.used);
        if self.used as usize >= self.slots.len() / 2 {
            self.grow();
        }
        self.used += 1;
        self.put(id, place);
        place as usize
    }

    fn put(&mut self, id: u64, place: u32) {
        let mut slot = self.home(id);
        while self.slots.get(slot).is_some_and(|(_, place)| *place != FREE) {
            slot = self.after(slot);
        }
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = (id, place);
        }
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(8);
        let slots = std::mem::replace(&mut self.slots, vec![(0, FREE); size]);
        slots.into_iter().filter(|(_, place)| *place != FREE).for_each(|(id, place)| self.put(id, place));
    }

    fn free(&mut self, id: u64) -> Option<usize> {
        if self.used == 0 { None } else { self.remove(id) }
    }

    #[inline(never)]
    fn remove(&mut self, id: u64) -> Option<usize> {
        let mut hole = self.slot(id)?;
        let (_, place) = *self.slots.get(hole)?;
        self.used -= 1;
        self.free.push(place);
        // What stands behind the hole, up to the next free slot, and was displaced by what is gone, moves up.
        let (mut next, mask) = (self.after(hole), self.slots.len().wrapping_sub(1));
        while let Some(&(other, taken)) = self.slots.get(next)
            && taken != FREE
        {
            if (next.wrapping_sub(self.home(other)) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.slots.swap(hole, next);
                hole = next;
            }
            next = self.after(next);
        }
        if let Some(slot) = self.slots.get_mut(hole) {
            *slot = (0, FREE);
        }
        Some(place as usize)
    }

    /// Ids are consecutive: their low bits are spread as they are.
    fn home(&self, id: u64) -> usize {
        usize::try_from((id ^ (id >> 27)) & 0x7FFF_FFFF).unwrap_or_default() & self.slots.len().wrapping_sub(1)
    }

    fn after(&self, slot: usize) -> usize {
        slot.wrapping_add(1) & self.slots.len().wrapping_sub(1)
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
