//! Which of many rules a request can match at all: the index behind route tables and authorization policies.

use rustc_hash::FxHashMap;
use std::hash::Hash;
use std::ops::ControlFlow;

/// What a value must look like for a rule to be worth a look.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The value itself.
    Exact(Box<[u8]>),
    /// What it starts with.
    Prefix(Box<[u8]>),
    /// What it ends with.
    Suffix(Box<[u8]>),
}

/// One condition of a rule that an index can answer: the attribute, and keys of which one must fit.
pub type Term<A> = (A, Vec<Key>);

/// Collects rules; see [`CandidateIndex`].
#[derive(Debug)]
pub struct CandidateIndexBuilder<A> {
    rules: Vec<(u32, Vec<Term<A>>)>,
}

impl<A: Eq + Hash + Clone> Default for CandidateIndexBuilder<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Eq + Hash + Clone> CandidateIndexBuilder<A> {
    /// Without rules.
    pub fn new() -> Self {
        Self { rules: Vec::new() }
    }

    /// Adds a rule; ids must ascend. All `terms` must hold for it to match; a rule without any is a candidate for
    /// every request.
    pub fn add(&mut self, id: u32, terms: Vec<Term<A>>) {
        self.rules.push((id, terms));
    }

    /// Files each rule under the one of its terms whose keys are rarest: ten thousand rules that share `prefix: /` but
    /// differ in a header are filed by the header.
    pub fn build(self) -> CandidateIndex<A> {
        // One table counts keys first and collects rules afterwards.
        let mut table: FxHashMap<(A, Key), (u32, Vec<u32>)> = FxHashMap::default();
        for (attribute, keys) in self.rules.iter().flat_map(|(_, terms)| terms) {
            for key in keys {
                table.entry((attribute.clone(), key.clone())).or_default().0 += 1;
            }
        }
        let mut residual = Vec::new();
        for (id, terms) in self.rules {
            match rarest(terms, &table) {
                Some((attribute, keys)) => keys.into_iter().for_each(|key| {
                    table.entry((attribute.clone(), key)).or_default().1.push(id);
                }),
                None => residual.push(id),
            }
        }
        let mut attributes: Vec<(A, Postings)> = Vec::new();
        for ((attribute, key), (_, ids)) in table.into_iter().filter(|(_, (_, ids))| !ids.is_empty()) {
            let place = match attributes.iter().position(|(known, _)| *known == attribute) {
                Some(place) => place,
                None => {
                    attributes.push((attribute, Postings::default()));
                    attributes.len() - 1
                }
            };
            if let Some((_, postings)) = attributes.get_mut(place) {
                postings.insert(key, ids);
            }
        }
        CandidateIndex { attributes, residual }
    }
}

/// The term whose commonest key is the rarest.
fn rarest<A: Eq + Hash + Clone>(terms: Vec<Term<A>>, table: &FxHashMap<(A, Key), (u32, Vec<u32>)>) -> Option<Term<A>> {
    let mut best: Option<(u32, Term<A>)> = None;
    for (attribute, keys) in terms {
        let count = |key: &Key| table.get(&(attribute.clone(), key.clone())).map_or(0, |(count, _)| *count);
        let commonest = keys.iter().map(count).max().unwrap_or(u32::MAX);
        if best.as_ref().is_none_or(|(best, _)| commonest < *best) {
            best = Some((commonest, (attribute, keys)));
        }
    }
    best.map(|(_, term)| term)
}

/// An index from attribute values to the rules that may match: a lookup costs per attribute one hash for exact values
/// and one per distinct length of prefix or suffix, however many rules there are. Candidates are to be verified.
#[derive(Debug)]
pub struct CandidateIndex<A> {
    attributes: Vec<(A, Postings)>,
    residual: Vec<u32>,
}

impl<A> CandidateIndex<A> {
    /// Visits the rules that may match, in ascending order, each once, until `visit` breaks.
    ///
    /// `lookup` hands every value that the request has for an attribute to its second argument.
    pub fn candidates(
        &self,
        mut lookup: impl FnMut(&A, &mut dyn FnMut(&[u8])),
        visit: impl FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut merge = Merge::new(&self.residual);
        for (attribute, postings) in &self.attributes {
            lookup(attribute, &mut |value| postings.find(value, &mut merge));
        }
        merge.visit(visit)
    }

    /// The attributes that a lookup asks for.
    pub fn attributes(&self) -> impl Iterator<Item = &A> {
        self.attributes.iter().map(|(attribute, _)| attribute)
    }
}

/// The rules filed under one attribute. All id lists stand in one vector.
#[derive(Debug, Default)]
struct Postings {
    ids: Vec<u32>,
    exact: Table,
    prefixes: Lengths,
    suffixes: Lengths,
}

type Table = FxHashMap<Box<[u8]>, (u32, u32)>;

/// Keys that are parts of values, and their distinct lengths in ascending order.
#[derive(Debug, Default)]
struct Lengths {
    lengths: Vec<Length>,
    table: Table,
}

/// A length that keys have, and the bytes they have at the end that lies within the value: the last of a prefix, the
/// first of a suffix. Most prefixes of paths end with a slash, so most lengths need not be looked up.
#[derive(Debug)]
struct Length {
    bytes: usize,
    edges: [u32; 8],
}

/// The word of [`Length::edges`] that holds a byte, and its bit there.
fn edge_bit(byte: u8) -> (usize, u32) {
    (usize::from(byte / 32), 1 << (byte % 32))
}

impl Lengths {
    fn insert(&mut self, key: Box<[u8]>, edge: Option<u8>, range: (u32, u32)) {
        let place = match self.lengths.binary_search_by_key(&key.len(), |length| length.bytes) {
            Ok(place) => place,
            Err(place) => {
                self.lengths.insert(place, Length { bytes: key.len(), edges: [0; 8] });
                place
            }
        };
        let edge = edge.map(edge_bit);
        if let (Some(length), Some((word, bit))) = (self.lengths.get_mut(place), edge)
            && let Some(word) = length.edges.get_mut(word)
        {
            *word |= bit;
        }
        self.table.insert(key, range);
    }

    /// The rules of one length, when the part of the value that long is a key; `edge` is the byte that decides early.
    fn get(&self, length: &Length, part: Option<&[u8]>, edge: Option<&u8>) -> Option<&(u32, u32)> {
        let possible = edge.is_none_or(|byte| {
            let (word, bit) = edge_bit(*byte);
            length.edges.get(word).is_some_and(|word| word & bit != 0)
        });
        if possible { self.table.get(part?) } else { None }
    }

    /// The lengths a value of `size` bytes can have parts of.
    fn up_to(&self, size: usize) -> impl Iterator<Item = &Length> {
        self.lengths.iter().take_while(move |length| length.bytes <= size)
    }
}

impl Postings {
    fn insert(&mut self, key: Key, mut ids: Vec<u32>) {
        // A rule that names a key twice is one rule.
        ids.dedup();
        let Ok(start) = u32::try_from(self.ids.len()) else { return };
        self.ids.append(&mut ids);
        let Ok(end) = u32::try_from(self.ids.len()) else { return };
        match key {
            Key::Exact(key) => drop(self.exact.insert(key, (start, end))),
            Key::Prefix(key) => {
                let edge = key.last().copied();
                self.prefixes.insert(key, edge, (start, end));
            }
            Key::Suffix(key) => {
                let edge = key.first().copied();
                self.suffixes.insert(key, edge, (start, end));
            }
        }
    }

    fn find<'i>(&'i self, value: &[u8], merge: &mut Merge<'i>) {
        let mut push = |range: Option<&(u32, u32)>| {
            if let Some(&(start, end)) = range {
                merge.push(self.ids.get(start as usize..end as usize).unwrap_or_default());
            }
        };
        if !self.exact.is_empty() {
            push(self.exact.get(value));
        }
        for length in self.prefixes.up_to(value.len()) {
            let part = value.get(..length.bytes);
            push(self.prefixes.get(length, part, part.and_then(<[u8]>::last)));
        }
        for length in self.suffixes.up_to(value.len()) {
            let part = value.get(value.len() - length.bytes..);
            push(self.suffixes.get(length, part, part.and_then(<[u8]>::first)));
        }
    }
}

/// How many posting lists a lookup can hold without allocating.
const INLINE: usize = 24;

/// Sorted id lists, gone through in ascending order together.
struct Merge<'i> {
    inline: [&'i [u32]; INLINE],
    used: usize,
    /// The rules of all further lists. A set, because asking a thousand lists which comes next would let a request of a
    /// thousand values cost a thousand times as much for each rule.
    spilled: BitSet,
}

impl<'i> Merge<'i> {
    fn new(first: &'i [u32]) -> Self {
        let mut merge = Self { inline: [&[]; INLINE], used: 0, spilled: BitSet::default() };
        merge.push(first);
        merge
    }

    fn push(&mut self, list: &'i [u32]) {
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

    fn visit(mut self, mut visit: impl FnMut(u32) -> ControlFlow<()>) -> ControlFlow<()> {
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
