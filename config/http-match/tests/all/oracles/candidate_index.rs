//! An index visits every rule that matches, in ascending order, each once.

use http_match::{CandidateIndexBuilder, Key, Term};
use proptest::prelude::*;
use std::ops::ControlFlow;

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![b'a', b'b', 0xff]), 0..4)
}

fn key() -> impl Strategy<Value = Key> {
    (0..3, text()).prop_map(|(kind, text)| match kind {
        0 => Key::Exact(text.into()),
        1 => Key::Prefix(text.into()),
        _ => Key::Suffix(text.into()),
    })
}

fn rule() -> impl Strategy<Value = Vec<Term<u8>>> {
    prop::collection::vec((0u8..3, prop::collection::vec(key(), 1..4)), 0..3)
}

fn fits(key: &Key, value: &[u8]) -> bool {
    match key {
        Key::Exact(text) => **text == *value,
        Key::Prefix(text) => value.starts_with(text),
        Key::Suffix(text) => value.ends_with(text),
    }
}

fn matches(terms: &[Term<u8>], request: &[(u8, Vec<u8>)]) -> bool {
    terms.iter().all(|(attribute, keys)| {
        let mut values = request.iter().filter(|(name, _)| name == attribute);
        values.any(|(_, value)| keys.iter().any(|key| fits(key, value)))
    })
}

proptest! {
    #[test]
    fn no_matching_rule_is_missed(
        rules in prop::collection::vec(rule(), 0..40),
        request in prop::collection::vec((0u8..3, text()), 0..60),
        stop in 0usize..40,
    ) {
        let mut builder = CandidateIndexBuilder::new();
        (0..).zip(&rules).for_each(|(id, terms)| builder.add(id, terms.clone()));
        let index = builder.build();
        let lookup = |attribute: &u8, each: &mut dyn FnMut(&[u8])| {
            request.iter().filter(|(name, _)| name == attribute).for_each(|(_, value)| each(value));
        };
        let mut visited: Vec<u32> = Vec::new();
        let _ = index.candidates(lookup, |id| {
            visited.push(id);
            ControlFlow::Continue(())
        });
        prop_assert!(visited.is_sorted_by(|a, b| a < b), "{:?}", visited);
        for (id, terms) in (0..).zip(&rules) {
            prop_assert!(!matches(terms, &request) || visited.contains(&id), "{} of {:?}", id, visited);
        }
        let mut seen = 0;
        let ended = index.candidates(lookup, |_| {
            seen += 1;
            if seen > stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        prop_assert_eq!(seen, visited.len().min(stop + 1));
        prop_assert_eq!(ended.is_break(), visited.len() > stop);
    }
}
