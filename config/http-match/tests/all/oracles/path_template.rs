//! A template matches as trying every split would have it.

use crate::support::faultless;
use http_match::PathTemplate;
use proptest::prelude::*;

fn pchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte)
}

/// Tries every length for an operator.
fn naive(template: &[u8], path: &[u8]) -> bool {
    if let Some(rest) = template.strip_prefix(b"{**}") {
        let fitting = path.iter().take_while(|byte| **byte == b'/' || pchar(**byte)).count();
        return (0..=fitting).any(|length| naive(rest, &path[length..]));
    }
    if let Some(rest) = template.strip_prefix(b"{*}") {
        let fitting = path.iter().take_while(|byte| pchar(**byte)).count();
        return (1..=fitting).any(|length| naive(rest, &path[length..]));
    }
    match (template.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((expected, template)), Some((byte, path))) => expected == byte && naive(template, path),
        _ => false,
    }
}

fn segments(operators: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(operators), 0..5)
}

proptest! {
    #[test]
    fn every_split_is_found(
        head in segments(&["a", "b", "", "{*}", "{*}"]),
        tail in prop::option::of(segments(&["a", "b", ""])),
        path in "(/(a|b|ab||%2f| |\\{)){0,7}",
    ) {
        let mut template: Vec<&str> = head;
        if let Some(tail) = tail {
            template.push("{**}");
            template.extend(tail);
        }
        let template = format!("/{}", template.join("/"));
        let parsed = faultless(|at| PathTemplate::parse(&template, at)).unwrap();
        prop_assert_eq!(parsed.matches(path.as_bytes()), naive(template.as_bytes(), path.as_bytes()), "{} {}", template, path);
    }
}
