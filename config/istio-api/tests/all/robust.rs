//! No bytes panic, whatever they say.

use crate::support::file;
use istio_api::{Options, Place, read_files};
use proptest::prelude::*;

/// Pieces of which texts are made that are nearly resources.
const PIECES: [&str; 34] = [
    "apiVersion: networking.istio.io/v1\n",
    "apiVersion: v1\n",
    "kind: VirtualService\n",
    "kind: DestinationRule\n",
    "kind: ConfigMap\n",
    "kind: List\n",
    "items:\n",
    "metadata: {name: a}\n",
    "metadata: {name: istio}\n",
    "spec:\n",
    "data:\n",
    "  mesh: |\n",
    "    trustDomain: a\n",
    "  hosts: [a, \"*.b\"]\n",
    "  http:\n",
    "  - route:\n",
    "    - destination: {host: a}\n",
    "      weight: -1\n",
    "    timeout: 1e9h\n",
    "---\n",
    "...\n",
    "- ",
    "  ",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "&a ",
    "*a ",
    "<<: ",
    "\"\\u00e9\"",
    "!!binary ",
    "\u{feff}%YAML 1.1\n",
];

/// Reads a text every way there is; every fault has a place within it.
fn check(text: &str) {
    let options = Options { mesh_config: Some(file("mesh", text)), ..Options::default() };
    for options in [Options::default(), options] {
        let read = read_files(&[file("f", text)], &options);
        let faults = match &read {
            Ok(resources) => &resources.warnings,
            Err(faults) => &faults.faults,
        };
        for place in faults.iter().filter_map(|fault| fault.place.as_ref()) {
            is_within(place, text);
        }
    }
}

fn is_within(place: &Place, text: &str) {
    // YAML ends a line with a carriage return too.
    assert!(place.line <= text.matches(['\n', '\r']).count() + 1, "{place} of {text:?}");
    assert!(text.get(place.bytes.clone()).is_some(), "{place} {:?} of {text:?}", place.bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        check(&text);
    }

    #[test]
    fn no_pieces_panic(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40)) {
        check(&pieces.concat());
    }

    #[test]
    fn no_change_of_a_resource_panics(at in 0usize..4000, with in prop::sample::select(&PIECES[..]), cut in 0usize..40) {
        let text = include_str!("../inputs/virtual_service.yaml");
        let start = text.char_indices().map(|(start, _)| start).nth(at % 3000).unwrap_or_default();
        let end = text.char_indices().map(|(end, _)| end).find(|end| *end >= start + cut).unwrap_or(text.len());
        check(&[&text[..start], with, &text[end..]].concat());
    }
}
