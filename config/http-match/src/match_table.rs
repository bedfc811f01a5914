//! An ordered list of match clauses, found in time that does not grow with its length.

use crate::http_match_request::{Attribute, CompiledMatch, attribute_values};
use crate::{CandidateIndex, CandidateIndexBuilder, HttpMatchRequest, Request, StringMatcher};
use plugin_config::At;
use std::ops::ControlFlow;

/// Which part of the path a match spoke about: what a rewrite replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchedUri {
    /// All of it: an exact or a regular expression match.
    Whole,
    /// So many bytes at its start. A clause without `uri` speaks of the leading `/`.
    Prefix(usize),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which entry, in the order they were pushed.
    pub entry: usize,
    /// Which of its match clauses.
    pub alternative: usize,
    /// Which part of the path it matched.
    pub uri: MatchedUri,
}

/// Collects entries; see [`MatchTable`].
#[derive(Debug, Default)]
pub struct MatchTableBuilder {
    entries: usize,
    clauses: Vec<Clause>,
}

#[derive(Debug)]
struct Clause {
    entry: usize,
    alternative: usize,
    conditions: CompiledMatch,
}

impl MatchTableBuilder {
    /// Without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry: it matches when one of `matches` does, or always when there are none. Faults are recorded in
    /// `at`, which stands at the list; a table built after a fault is not to be used.
    pub fn push(&mut self, matches: &[HttpMatchRequest], at: &mut At) {
        let entry = self.entries;
        self.entries += 1;
        if matches.is_empty() {
            self.clauses.push(Clause { entry, alternative: 0, conditions: CompiledMatch::default() });
        }
        for (alternative, written) in matches.iter().enumerate() {
            if let Some(conditions) = at.index(alternative, |at| CompiledMatch::compile(written, at)) {
                self.clauses.push(Clause { entry, alternative, conditions });
            }
        }
    }

    /// Builds the index, for tables of which only the first match counts.
    pub fn build(mut self) -> MatchTable {
        // Nothing behind a clause that matches everything can be reached.
        if let Some(end) = self.clauses.iter().position(|clause| clause.conditions.is_catch_all()) {
            self.clauses.truncate(end + 1);
        }
        self.build_sequence()
    }

    /// Builds the index, for tables that are searched on behind a match: see [`MatchTable::find_from`].
    pub fn build_sequence(self) -> MatchTable {
        let mut index = CandidateIndexBuilder::new();
        for (id, clause) in self.clauses.iter().enumerate() {
            if let Ok(id) = u32::try_from(id) {
                index.add(id, clause.conditions.terms());
            }
        }
        let needs_port = self.clauses.iter().any(|clause| clause.conditions.port.is_some());
        MatchTable { entries: self.entries, clauses: self.clauses, index: index.build(), needs_port }
    }
}

/// Entries in order, each an OR of match clauses (Istio's `http[].match`); the first that matches wins.
///
/// Clauses with an exact or prefix condition on path, authority, method, scheme, a header or a query parameter, or with
/// a regular expression there that starts with plain text, are found by index. Those with nothing but other regular
/// expressions, `withoutHeaders`, presence, a port or ignored case are tested one after the other.
#[derive(Debug)]
pub struct MatchTable {
    entries: usize,
    clauses: Vec<Clause>,
    index: CandidateIndex<Attribute>,
    needs_port: bool,
}

impl MatchTable {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Whether some condition needs [`Request::port`].
    pub fn needs_port(&self) -> bool {
        self.needs_port
    }

    /// What every request finds, when that is known without looking at it: the table is empty, or its first clause
    /// matches everything.
    pub fn fixed(&self) -> Option<Option<Found>> {
        self.fixed_from(0)
    }

    /// As [`MatchTable::fixed`], of what stands at and behind an entry.
    pub fn fixed_from(&self, entry: usize) -> Option<Option<Found>> {
        match self.clauses.get(self.clauses.partition_point(|clause| clause.entry < entry)) {
            None => Some(None),
            Some(clause) if clause.conditions.is_catch_all() => Some(Some(clause.found())),
            Some(_) => None,
        }
    }

    /// The first entry that matches, and its first clause that does.
    pub fn find(&self, request: &Request<'_>) -> Option<Found> {
        self.find_from(0, request)
    }

    /// The first entry at or behind `entry` that matches: one after the other finds all of them, where the table was
    /// built by [`MatchTableBuilder::build_sequence`].
    pub fn find_from(&self, entry: usize, request: &Request<'_>) -> Option<Found> {
        let mut found = None;
        let fits = |clause: &&Clause| clause.entry >= entry && clause.conditions.matches(request);
        let _ = self.index.candidates(
            |attribute, each| attribute_values(request, attribute, each),
            |id| match self.clauses.get(id as usize).filter(fits) {
                Some(clause) => {
                    found = Some(clause.found());
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            },
        );
        found
    }
}

impl Clause {
    fn found(&self) -> Found {
        let uri = match &self.conditions.uri {
            None => MatchedUri::Prefix(1),
            Some(StringMatcher::Prefix(prefix) | StringMatcher::PrefixIgnoringCase(prefix)) => {
                MatchedUri::Prefix(prefix.len())
            }
            Some(_) => MatchedUri::Whole,
        };
        Found { entry: self.entry, alternative: self.alternative, uri }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeaderList, StringMatch};

    fn clause(prefix: &str) -> HttpMatchRequest {
        HttpMatchRequest { uri: Some(StringMatch::Prefix(prefix.into())), ..HttpMatchRequest::default() }
    }

    #[test]
    fn a_sequence_is_searched_behind_each_match() {
        let mut builder = MatchTableBuilder::new();
        let lists = [vec![clause("/a")], vec![], vec![clause("/b"), clause("/ab")], vec![clause("/a")], vec![]];
        lists.iter().for_each(|matches| builder.push(matches, &mut At::root()));
        let table = builder.build_sequence();
        let headers: HeaderList = [(":path", "/abc")].into_iter().collect();
        let request = Request::new(&headers);
        let all: Vec<usize> =
            std::iter::successors(table.find_from(0, &request), |found| table.find_from(found.entry + 1, &request))
                .map(|found| found.entry)
                .collect();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        let fixed = |entry| table.fixed_from(entry).map(|found| found.map(|found| found.entry));
        assert_eq!(
            [fixed(0), fixed(1), fixed(2), fixed(4), fixed(5)],
            [None, Some(Some(1)), None, Some(Some(4)), Some(None)]
        );
    }
}
