//! The one hash table of a module.

/// Numbers by hash. What they number, and how it compares, only the user knows: so whatever it is an index of, texts or
/// the ids of streams, all but the comparing is the same code, and a module holds that code once.
///
/// Written here and not taken from a library: those look at many places at a time, which pays with vector instructions.
/// A module has none, and then they are several times the code, and the time, of looking at one place after the other.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// Hash and number, from the place that the hash says on; a power of two of them, of which a quarter at least is
    /// free.
    slots: Vec<(u64, u32)>,
    used: usize,
}

/// The number of a free slot. No number is so large: there would be no memory for what it numbers.
const FREE: u32 = u32::MAX;

/// The fewest slots of a table that has any.
const LEAST: usize = 8;

impl Index {
    /// Without numbers.
    pub const fn new() -> Self {
        Self { slots: Vec::new(), used: 0 }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no number.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The number of this hash that is the `same`.
    pub fn find(&self, hash: u64, same: impl FnMut(u32) -> bool) -> Option<u32> {
        // Most tables of streams are empty most of the time.
        if self.is_empty() { None } else { Some(self.slots.get(self.place(hash, same)?)?.1) }
    }

    /// Adds a number, which must not be there yet, and which is less than `u32::MAX`.
    #[inline(never)]
    pub fn insert(&mut self, hash: u64, number: u32) {
        if self.used >= self.slots.len() / 4 * 3 {
            self.grow();
        }
        self.used += 1;
        self.put(hash, number);
    }

    /// Removes the number of this hash that is the `same`.
    pub fn remove(&mut self, hash: u64, same: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.is_empty() { None } else { self.clear(self.place(hash, same)?) }
    }

    /// Frees a slot; the number that stood there.
    #[inline(never)]
    fn clear(&mut self, mut hole: usize) -> Option<u32> {
        let (_, number) = *self.slots.get(hole)?;
        self.used -= 1;
        // What stands behind the hole, up to the next free slot, and was displaced by what is gone, moves up.
        let mut next = self.after(hole);
        while let Some(&(hash, other)) = self.slots.get(next)
            && other != FREE
        {
            let (home, mask) = (self.home(hash), self.slots.len() - 1);
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.slots.swap(hole, next);
                hole = next;
            }
            next = self.after(next);
        }
        if let Some(slot) = self.slots.get_mut(hole) {
            *slot = (0, FREE);
        }
        Some(number)
    }

    /// Where the number of this hash stands that is the `same`.
    #[inline(never)]
    fn place(&self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<usize> {
        let mut place = self.home(hash);
        while let Some(&(other, number)) = self.slots.get(place)
            && number != FREE
        {
            if other == hash && same(number) {
                return Some(place);
            }
            place = self.after(place);
        }
        None
    }

    /// Puts a number in the first free slot from its home on.
    fn put(&mut self, hash: u64, number: u32) {
        let mut place = self.home(hash);
        while self.slots.get(place).is_some_and(|(_, number)| *number != FREE) {
            place = self.after(place);
        }
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = (hash, number);
        }
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(LEAST);
        let slots = std::mem::replace(&mut self.slots, vec![(0, FREE); size]);
        slots.into_iter().filter(|(_, number)| *number != FREE).for_each(|(hash, number)| self.put(hash, number));
    }

    /// Where a hash belongs: by its upper bits, once a multiplication has made them depend on all.
    fn home(&self, hash: u64) -> usize {
        let spread = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(self.slots.len().trailing_zeros());
        usize::try_from(spread & 0x7FFF_FFFF).unwrap_or_default() & self.slots.len().wrapping_sub(1)
    }

    fn after(&self, place: usize) -> usize {
        place.wrapping_add(1) & self.slots.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Against a map, with few hashes for many numbers, so that they stand in each other's way.
    #[test]
    fn finds_what_was_inserted_and_not_removed() {
        let hash = |number: u32| u64::from(number % 7) * 0x1234_5678_9ABC;
        let (mut index, mut known) = (Index::new(), BTreeMap::new());
        let mut state = 1u32;
        for _ in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = state >> 24;
            let expected = known.get(&number).copied();
            assert_eq!(index.find(hash(number), |other| other == number), expected);
            if expected.is_none() {
                index.insert(hash(number), number);
                known.insert(number, number);
            } else if state & 0x100 != 0 {
                assert_eq!(index.remove(hash(number), |other| other == number), expected);
                known.remove(&number);
            }
            assert_eq!((index.len(), index.is_empty()), (known.len(), known.is_empty()));
        }
        assert!(known.len() > 100 && known.keys().all(|number| index.find(hash(*number), |o| o == *number).is_some()));
    }

    #[test]
    fn consecutive_hashes_are_apart() {
        let mut index = Index::new();
        (0..3_000).for_each(|number| index.insert(number.into(), number));
        assert_eq!(index.slots.len(), 4_096);
        let displaced = (0..).zip(&index.slots).filter(|(place, (hash, number))| {
            *number != FREE && (*place as usize).wrapping_sub(index.home(*hash)) & 4_095 > 3
        });
        assert_eq!(displaced.count(), 0);
        assert_eq!(Index::new().find(0, |_| true), None);
        assert_eq!(Index::new().remove(0, |_| true), None);
    }
}
