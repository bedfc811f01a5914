//! The one hash table of a module.

use hashbrown::HashTable;

/// Numbers by hash. What they number, and how it compares, only the user knows: so the table is the same code whatever
/// it is an index of, and a module holds that code once.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// Hash and number.
    table: HashTable<(u32, u32)>,
}

impl Index {
    /// Without numbers.
    pub const fn new() -> Self {
        Self { table: HashTable::new() }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no number.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The number of this hash that is the `same`.
    #[inline(never)]
    pub fn find(&self, hash: u32, same: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        if self.table.is_empty() {
            return None;
        }
        let found = self.table.find(spread(hash), |&(other, number)| other == hash && same(number));
        found.map(|&(_, number)| number)
    }

    /// Adds a number, which must not be there yet.
    #[inline(never)]
    pub fn insert(&mut self, hash: u32, number: u32) {
        self.table.insert_unique(spread(hash), (hash, number), |&(hash, _)| spread(hash));
    }

    /// Removes the number of this hash that is the `same`.
    #[inline(never)]
    pub fn remove(&mut self, hash: u32, same: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        if self.table.is_empty() {
            return None;
        }
        let entry = self.table.find_entry(spread(hash), |&(other, number)| other == hash && same(number));
        let ((_, number), _) = entry.ok()?.remove();
        Some(number)
    }
}

/// The table looks at a hash's first and last bits, of 32 or of 64.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
