//! Which of many rules a request can match at all: the index behind route tables and authorization policies.

use crate::merge::Merge;
use plugin_config::Keys;
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

impl Key {
    /// Its kind, and its text.
    fn parts(&self) -> (u32, &[u8]) {
        match self {
            Key::Exact(text) => (EXACT, text),
            Key::Prefix(text) => (PREFIX, text),
            Key::Suffix(text) => (SUFFIX, text),
        }
    }
}

/// One condition of a rule that an index can answer: the attribute, and keys of which one must fit.
pub type Term<A> = (A, Vec<Key>);

// A key's tag is the number of its attribute × 3, and its kind.
const EXACT: u32 = 0;
const PREFIX: u32 = 1;
const SUFFIX: u32 = 2;
const KINDS: u32 = 3;

/// Collects rules; see [`CandidateIndex`].
#[derive(Debug)]
pub struct CandidateIndexBuilder<A> {
    attributes: Vec<A>,
    rules: Rules,
}

impl<A> Default for CandidateIndexBuilder<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> CandidateIndexBuilder<A> {
    /// Without rules.
    pub fn new() -> Self {
        Self { attributes: Vec::new(), rules: Rules::default() }
    }

    /// Adds a rule; ids must ascend. All `terms` must hold for it to match; a rule without any is a candidate for
    /// every request.
    pub fn add(&mut self, id: u32, terms: Vec<Term<A>>)
    where
        A: Eq,
    {
        for (attribute, keys) in terms {
            let number = match self.attributes.iter().position(|known| *known == attribute) {
                Some(number) => number,
                None => {
                    self.attributes.push(attribute);
                    self.attributes.len() - 1
                }
            };
            self.rules.add_term(short(number), &keys);
        }
        self.rules.rules.push((id, short(self.rules.terms.len())));
    }

    /// Files each rule under the one of its terms whose keys are rarest: ten thousand rules that share `prefix: /` but
    /// differ in a header are filed by the header.
    pub fn build(self) -> CandidateIndex<A> {
        let (postings, used) = self.rules.build(self.attributes.len());
        let attributes =
            self.attributes.into_iter().zip(used).filter_map(|(attribute, used)| used.then_some(attribute));
        CandidateIndex { attributes: attributes.collect(), postings }
    }
}

fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What was collected, with attributes by number. Everything stands in a few long vectors: a vector for each of ten
/// thousand rules would take as much memory again.
#[derive(Debug, Default)]
struct Rules {
    keys: Keys,
    /// How many terms each key occurs in.
    counts: Vec<u32>,
    /// The keys of all terms, one after the other.
    numbers: Vec<u32>,
    /// Where each term ends in `numbers`.
    terms: Vec<u32>,
    /// Each rule's id, and where its terms end in `terms`.
    rules: Vec<(u32, u32)>,
}

impl Rules {
    fn add_term(&mut self, attribute: u32, keys: &[Key]) {
        for (kind, text) in keys.iter().map(Key::parts) {
            let (number, new) = self.keys.insert(attribute.saturating_mul(KINDS) + kind, text);
            if new {
                self.counts.push(0);
            }
            if let Some(count) = self.counts.get_mut(number as usize) {
                *count += 1;
            }
            self.numbers.push(number);
        }
        self.terms.push(short(self.numbers.len()));
    }

    /// The keys of the term whose commonest key is the rarest; `None` for a rule without terms.
    fn rarest(&self, terms: std::ops::Range<u32>) -> Option<&[u32]> {
        let end = |term: u32| self.terms.get(term as usize).copied().unwrap_or_default();
        let mut best: Option<(u32, &[u32])> = None;
        for term in terms {
            let start = term.checked_sub(1).map_or(0, end);
            let keys = self.numbers.get(start as usize..end(term) as usize).unwrap_or_default();
            let counts = keys.iter().filter_map(|key| self.counts.get(*key as usize)).copied();
            let commonest = counts.max().unwrap_or(u32::MAX);
            if best.is_none_or(|(best, _)| commonest < best) {
                best = Some((commonest, keys));
            }
        }
        best.map(|(_, keys)| keys)
    }

    /// Files the rules; and which attributes are used then.
    fn build(self, attributes: usize) -> (Postings, Vec<bool>) {
        let mut filed: Vec<(u32, u32)> = Vec::new();
        let mut residual = Vec::new();
        let mut start = 0;
        for &(id, end) in &self.rules {
            match self.rarest(start..end) {
                Some(keys) => filed.extend(keys.iter().map(|key| (*key, id))),
                None => residual.push(id),
            }
            start = end;
        }
        let (ids, ranges) = sorted_by_key(&filed, self.keys.len());
        drop(filed);
        let filed_under = (0..).zip(ranges).filter(|(_, (start, end))| start < end);
        let filed_under = filed_under.filter_map(|(key, range)| Some((self.keys.get(key)?, range)));
        let mut used = vec![false; attributes];
        for ((tag, _), _) in filed_under.clone() {
            used.iter_mut().skip((tag / KINDS) as usize).take(1).for_each(|used| *used = true);
        }
        let mut postings = Postings { residual, ids, ..Postings::default() };
        let numbers: Vec<u32> = used.iter().map(|used| postings.add_attribute(*used)).collect();
        for ((tag, text), range) in filed_under {
            let number = numbers.get((tag / KINDS) as usize).copied().unwrap_or(u32::MAX);
            postings.insert(number, tag % KINDS, text, range);
        }
        (postings, used)
    }
}

/// The rules of each key, in one vector, and where those of each stand. A rule that names a key twice is one rule.
fn sorted_by_key(filed: &[(u32, u32)], keys: usize) -> (Vec<u32>, Vec<(u32, u32)>) {
    let mut ranges: Vec<(u32, u32)> = vec![(0, 0); keys];
    for (key, _) in filed {
        if let Some((_, size)) = ranges.get_mut(*key as usize) {
            *size += 1;
        }
    }
    let mut next = 0;
    for (start, end) in &mut ranges {
        let size = *end;
        (*start, *end) = (next, next);
        next += size;
    }
    let mut ids = vec![0; filed.len()];
    for (key, id) in filed {
        let Some((start, end)) = ranges.get_mut(*key as usize) else { continue };
        let known = ids.get(*start as usize..*end as usize).and_then(|ids| ids.last());
        if known != Some(id)
            && let Some(place) = ids.get_mut(*end as usize)
        {
            *place = *id;
            *end += 1;
        }
    }
    (ids, ranges)
}

/// An index from attribute values to the rules that may match: a lookup costs per attribute one hash for exact values
/// and one per distinct length of prefix or suffix, however many rules there are. Candidates are to be verified.
#[derive(Debug)]
pub struct CandidateIndex<A> {
    attributes: Vec<A>,
    postings: Postings,
}

impl<A> CandidateIndex<A> {
    /// Visits the rules that may match, in ascending order, each once, until `visit` breaks.
    ///
    /// `lookup` hands every value that the request has for an attribute to its second argument.
    pub fn candidates(
        &self,
        mut lookup: impl FnMut(&A, &mut dyn FnMut(&[u8])),
        mut visit: impl FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut merge = Merge::new(&self.postings.residual);
        for (attribute, filed) in self.attributes.iter().zip(&self.postings.attributes) {
            lookup(attribute, &mut |value| self.postings.find(filed, value, &mut merge));
        }
        merge.visit(&mut visit)
    }

    /// The attributes that a lookup asks for.
    pub fn attributes(&self) -> impl Iterator<Item = &A> {
        self.attributes.iter()
    }
}

/// The rules filed under the keys of all attributes.
#[derive(Debug, Default)]
struct Postings {
    attributes: Vec<Attribute>,
    keys: Keys,
    /// Where the rules of each key stand in `ids`.
    ranges: Vec<(u32, u32)>,
    ids: Vec<u32>,
    /// Rules that are filed under nothing.
    residual: Vec<u32>,
}

/// What kinds of keys an attribute has.
#[derive(Debug, Default)]
struct Attribute {
    /// The tag of its exact keys.
    tag: u32,
    exact: bool,
    /// The distinct lengths of its prefixes, ascending.
    prefixes: Vec<Length>,
    /// The distinct lengths of its suffixes, ascending.
    suffixes: Vec<Length>,
}

/// A length that keys have, and the bytes they have at the end that lies within the value: the last of a prefix, the
/// first of a suffix. Most prefixes of paths end with a slash, so most lengths need not be looked up.
#[derive(Debug)]
struct Length {
    bytes: usize,
    edges: [u32; 8],
}

impl Length {
    fn allows(&self, edge: Option<&u8>) -> bool {
        edge.is_none_or(|byte| {
            let (word, bit) = edge_bit(*byte);
            self.edges.get(word).is_some_and(|word| word & bit != 0)
        })
    }
}

/// The word of [`Length::edges`] that holds a byte, and its bit there.
fn edge_bit(byte: u8) -> (usize, u32) {
    (usize::from(byte / 32), 1 << (byte % 32))
}

fn note_length(lengths: &mut Vec<Length>, bytes: usize, edge: Option<&u8>) {
    let place = match lengths.binary_search_by_key(&bytes, |length| length.bytes) {
        Ok(place) => place,
        Err(place) => {
            lengths.insert(place, Length { bytes, edges: [0; 8] });
            place
        }
    };
    let edge = edge.map(|byte| edge_bit(*byte));
    if let (Some(length), Some((word, bit))) = (lengths.get_mut(place), edge)
        && let Some(word) = length.edges.get_mut(word)
    {
        *word |= bit;
    }
}

impl Postings {
    /// The number of the next attribute that is used.
    fn add_attribute(&mut self, used: bool) -> u32 {
        let number = short(self.attributes.len());
        if used {
            self.attributes.push(Attribute { tag: number.saturating_mul(KINDS), ..Attribute::default() });
        }
        number
    }

    fn insert(&mut self, attribute: u32, kind: u32, text: &[u8], range: (u32, u32)) {
        let Some(attribute) = self.attributes.get_mut(attribute as usize) else { return };
        match kind {
            EXACT => attribute.exact = true,
            PREFIX => note_length(&mut attribute.prefixes, text.len(), text.last()),
            _ => note_length(&mut attribute.suffixes, text.len(), text.first()),
        }
        self.keys.insert(attribute.tag + kind, text);
        self.ranges.push(range);
    }

    fn find<'i>(&'i self, attribute: &Attribute, value: &[u8], merge: &mut Merge<'i>) {
        if attribute.exact {
            self.push(attribute.tag + EXACT, value, merge);
        }
        for length in attribute.prefixes.iter().take_while(|length| length.bytes <= value.len()) {
            let part = value.get(..length.bytes).unwrap_or_default();
            if length.allows(part.last()) {
                self.push(attribute.tag + PREFIX, part, merge);
            }
        }
        for length in attribute.suffixes.iter().take_while(|length| length.bytes <= value.len()) {
            let part = value.get(value.len() - length.bytes..).unwrap_or_default();
            if length.allows(part.first()) {
                self.push(attribute.tag + SUFFIX, part, merge);
            }
        }
    }

    /// Adds the rules of a key.
    fn push<'i>(&'i self, tag: u32, key: &[u8], merge: &mut Merge<'i>) {
        let range = self.keys.find(tag, key).and_then(|number| self.ranges.get(number as usize));
        if let Some(&(start, end)) = range {
            merge.push(self.ids.get(start as usize..end as usize).unwrap_or_default());
        }
    }
}
