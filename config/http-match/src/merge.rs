//! Sorted lists of rules, gone through in order.

use std::ops::ControlFlow;

/// How many posting lists a lookup can hold without allocating.
const INLINE: usize = 4;

/// Sorted id lists, gone through in ascending order together.
pub(crate) struct Merge<'i> {
    inline: [&'i [u32]; INLINE],
    used: usize,
    /// The rules of all further lists. A set, because asking a thousand lists which comes next would let a request of a
    /// thousand values cost a thousand times as much for each rule.
    spilled: BitSet,
}

impl<'i> Merge<'i> {
    pub(crate) fn new(first: &'i [u32]) -> Self {
        let mut merge = Self { inline: [&[]; INLINE], used: 0, spilled: BitSet::default() };
        merge.push(first);
        merge
    }

    pub(crate) fn push(&mut self, list: &'i [u32]) {
        if list.is_empty() {
            return;
        }
        match self.inline.get_mut(self.used) {
            Some(place) => {
                *place = list;
                self.used += 1;
            }
            None => self.spilled.insert(list),
        }
    }

    pub(crate) fn visit(mut self, visit: &mut dyn FnMut(u32) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut least = Some(0);
        while let Some(next) = least.and_then(|least| self.next(least)) {
            visit(next)?;
            for list in self.inline.iter_mut().take(self.used) {
                if let Some((first, rest)) = list.split_first()
                    && *first == next
                {
                    *list = rest;
                }
            }
            least = next.checked_add(1);
        }
        ControlFlow::Continue(())
    }

    /// The smallest rule from `least` on; the lists hold none before it any more.
    fn next(&self, least: u32) -> Option<u32> {
        let listed = self.inline.iter().take(self.used).filter_map(|list| list.first()).min().copied();
        listed.into_iter().chain(self.spilled.next(least)).min()
    }
}

/// A set of small numbers.
#[derive(Default)]
struct BitSet(Vec<u64>);

impl BitSet {
    fn insert(&mut self, members: &[u32]) {
        for member in members {
            let place = *member as usize / 64;
            if self.0.len() <= place {
                self.0.resize(place + 1, 0);
            }
            if let Some(word) = self.0.get_mut(place) {
                *word |= 1 << (member % 64);
            }
        }
    }

    /// The smallest member from `least` on.
    fn next(&self, least: u32) -> Option<u32> {
        let start = least as usize / 64;
        let mut words = self.0.iter().enumerate().skip(start);
        words.find_map(|(place, word)| {
            let word = if place == start { word & (u64::MAX << (least % 64)) } else { *word };
            let base = u32::try_from(place * 64).ok()?;
            (word != 0).then(|| base + word.trailing_zeros())
        })
    }
}
