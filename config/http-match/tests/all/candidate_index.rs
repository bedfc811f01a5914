//! Which rules an index takes for candidates.

use http_match::{CandidateIndex, CandidateIndexBuilder, Key, Term};
use std::ops::ControlFlow;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

type Attribute = &'static str;

fn exact(text: &str) -> Key {
    Key::Exact(text.as_bytes().into())
}

fn prefix(text: &str) -> Key {
    Key::Prefix(text.as_bytes().into())
}

fn suffix(text: &str) -> Key {
    Key::Suffix(text.as_bytes().into())
}

fn index(rules: Vec<Vec<Term<Attribute>>>) -> CandidateIndex<Attribute> {
    let mut builder = CandidateIndexBuilder::new();
    (0..).zip(rules).for_each(|(id, terms)| builder.add(id, terms));
    builder.build()
}

fn candidates(index: &CandidateIndex<Attribute>, request: &[(Attribute, &str)]) -> Vec<u32> {
    let mut visited = Vec::new();
    let ended = index.candidates(
        |attribute, each| {
            let values = request.iter().filter(|(name, _)| name == attribute);
            values.for_each(|(_, value)| each(value.as_bytes()));
        },
        |id| {
            visited.push(id);
            ControlFlow::Continue(())
        },
    );
    assert!(ended.is_continue());
    visited
}

#[test]
fn keys_are_whole_values_starts_and_ends() {
    let index = index(vec![
        vec![("path", vec![exact("/a")])],
        vec![("path", vec![prefix("/a")])],
        vec![("path", vec![suffix("a")])],
        vec![("path", vec![exact("/b"), prefix("/c/"), suffix("/d")])],
        vec![("path", vec![prefix("")])],
        vec![("path", vec![exact("")])],
        vec![],
    ]);
    for (value, expected) in [
        ("/a", &[0, 1, 2, 4, 6][..]),
        ("/ab", &[1, 4, 6]),
        ("a", &[2, 4, 6]),
        ("/b", &[3, 4, 6]),
        ("/c/d", &[3, 4, 6]),
        ("", &[4, 5, 6]),
    ] {
        assert_eq!(candidates(&index, &[("path", value)]), expected, "{value}");
    }
    assert_eq!(candidates(&index, &[]), [6], "without a value only the rules that ask for none");
}

#[test]
fn a_rule_is_filed_by_what_is_rarest_in_it() {
    let rule = |i: usize| vec![("path", vec![prefix("/")]), ("tenant", vec![exact(&i.to_string())])];
    let index = index((0..100).map(rule).collect());
    assert_eq!(index.attributes().copied().collect::<Vec<_>>(), ["tenant"]);
    assert_eq!(candidates(&index, &[("path", "/x"), ("tenant", "42")]), [42]);
    assert_eq!(candidates(&index, &[("path", "/x")]), [0; 0]);
}

#[test]
fn the_commonest_of_alternative_keys_counts() {
    // Of the first term one key is unique, but all rules share the other.
    let rule = |i: usize| {
        let (shared, group) = (vec![exact(&i.to_string()), exact("shared")], vec![exact(&(i / 2).to_string())]);
        vec![("a", shared), ("b", group)]
    };
    let index = index((0..10).map(rule).collect());
    assert_eq!(index.attributes().copied().collect::<Vec<_>>(), ["b"]);
    assert_eq!(candidates(&index, &[("a", "3"), ("b", "2")]), [4, 5]);
}

#[test]
fn several_values_find_each_rule_once_in_order() {
    let index = index(vec![
        vec![("h", vec![exact("x")])],
        vec![("h", vec![exact("y"), exact("x"), exact("x")])],
        vec![("h", vec![exact("y")])],
    ]);
    assert_eq!(candidates(&index, &[("h", "y"), ("h", "x"), ("h", "y")]), [0, 1, 2]);
}

#[test]
fn a_thousand_values_find_each_rule_once_in_order() {
    let rules = (0..1_000).map(|i: usize| vec![("h", vec![exact(&i.to_string())])]).chain([vec![]]);
    let index = index(rules.collect());
    let values: Vec<String> = (0..1_000).map(|i: usize| ((i * 7) % 1_000).to_string()).collect();
    let request: Vec<(Attribute, &str)> = values.iter().chain(&values).map(|value| ("h", value.as_str())).collect();
    assert!(candidates(&index, &request).into_iter().eq(0..=1_000));
}

#[test]
fn a_visit_can_be_ended() {
    let index = index(vec![vec![], vec![], vec![]]);
    let mut visited = Vec::new();
    let ended = index.candidates(
        |_, _| {},
        |id| {
            visited.push(id);
            if id == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    );
    assert!(ended.is_break());
    assert_eq!(visited, [0, 1]);
}
