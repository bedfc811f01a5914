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

    /// Adds a rule. All `terms` must hold for it to match; a rule without any is a candidate for every request.
    pub fn add(&mut self, id: u32, terms: Vec<Term<A>>) {
        self.rules.push((id, terms));
    }

    /// Files each rule under the one of its terms whose keys are rarest: ten thousand rules that share `prefix: /` but
    /// differ in a header are filed by the header.
    pub fn build(self) -> CandidateIndex<A> {
        let mut counts: FxHashMap<(&A, &Key), u32> = FxHashMap::default();
        for (attribute, keys) in self.rules.iter().flat_map(|(_, terms)| terms) {
            for key in keys {
                *counts.entry((attribute, key)).or_default() += 1;
            }
        }
        let commonest = |(attribute, keys): &Term<A>| {
            keys.iter().filter_map(|key| counts.get(&(attribute, key))).max().copied().unwrap_or(u32::MAX)
        };
        let chosen: Vec<Option<usize>> = self
            .rules
            .iter()
            .map(|(_, terms)| terms.iter().enumerate().min_by_key(|(_, term)| commonest(term)).map(|(i, _)| i))
            .collect();
        drop(counts);
        let mut filing = Filing { postings: FxHashMap::default(), residual: Vec::new() };
        for ((id, terms), chosen) in self.rules.into_iter().zip(chosen) {
            filing.file(id, chosen.and_then(|chosen| terms.into_iter().nth(chosen)));
        }
        filing.finish()
    }
}

/// Rules on their way into the index.
struct Filing<A> {
    postings: FxHashMap<A, FxHashMap<Key, Vec<u32>>>,
    residual: Vec<u32>,
}

impl<A: Eq + Hash + Clone> Filing<A> {
    fn file(&mut self, id: u32, term: Option<Term<A>>) {
        let Some((attribute, keys)) = term else {
            self.residual.push(id);
            return;
        };
        let of_attribute = self.postings.entry(attribute).or_default();
        for key in keys {
            of_attribute.entry(key).or_default().push(id);
        }
    }

    fn finish(mut self) -> CandidateIndex<A> {
        self.residual.sort_unstable();
        let attributes = self.postings.into_iter().map(|(attribute, keys)| (attribute, Postings::new(keys))).collect();
        CandidateIndex { attributes, residual: self.residual }
    }
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
    lengths: Vec<u32>,
    table: Table,
}

impl Lengths {
    fn insert(&mut self, key: Box<[u8]>, range: (u32, u32)) {
        let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
        if let Err(place) = self.lengths.binary_search(&length) {
            self.lengths.insert(place, length);
        }
        self.table.insert(key, range);
    }

    /// The lengths a value of `size` bytes can have parts of.
    fn up_to(&self, size: usize) -> impl Iterator<Item = usize> {
        self.lengths.iter().map(|length| *length as usize).take_while(move |length| *length <= size)
    }
}

impl Postings {
    fn new(keys: FxHashMap<Key, Vec<u32>>) -> Self {
        let mut postings = Self::default();
        for (key, mut ids) in keys {
            ids.sort_unstable();
            ids.dedup();
            let Ok(start) = u32::try_from(postings.ids.len()) else { continue };
            postings.ids.extend(ids);
            let Ok(end) = u32::try_from(postings.ids.len()) else { continue };
            match key {
                Key::Exact(key) => drop(postings.exact.insert(key, (start, end))),
                Key::Prefix(key) => postings.prefixes.insert(key, (start, end)),
                Key::Suffix(key) => postings.suffixes.insert(key, (start, end)),
            }
        }
        postings.ids.shrink_to_fit();
        postings
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
            push(value.get(..length).and_then(|part| self.prefixes.table.get(part)));
        }
        for length in self.suffixes.up_to(value.len()) {
            push(value.get(value.len() - length..).and_then(|part| self.suffixes.table.get(part)));
        }
    }
}

/// How many posting lists a lookup can hold without allocating.
const INLINE: usize = 24;

/// Sorted id lists, gone through in ascending order together.
struct Merge<'i> {
    inline: [&'i [u32]; INLINE],
    used: usize,
    spilled: Vec<&'i [u32]>,
}

impl<'i> Merge<'i> {
    fn new(first: &'i [u32]) -> Self {
        let mut merge = Self { inline: [&[]; INLINE], used: 0, spilled: Vec::new() };
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
            None => self.spilled.push(list),
        }
    }

    fn visit(mut self, mut visit: impl FnMut(u32) -> ControlFlow<()>) -> ControlFlow<()> {
        while let Some(next) = self.lists().filter_map(|list| list.first()).min().copied() {
            visit(next)?;
            for list in self.lists() {
                if let Some((first, rest)) = list.split_first()
                    && *first == next
                {
                    *list = rest;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn lists(&mut self) -> impl Iterator<Item = &mut &'i [u32]> {
        self.inline.iter_mut().take(self.used).chain(self.spilled.iter_mut())
    }
}
