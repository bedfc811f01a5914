//! Durations as Istio writes them: `5s`, `1.5s`, `100ms`, `1h30m`.

use crate::{At, FromNode, Node};
use std::fmt;
use std::time::Duration as Time;

/// A non-negative duration, whole milliseconds or nothing finer than a nanosecond, in Go's notation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub Time);

impl Duration {
    /// The duration in whole milliseconds, `None` when it is finer than that.
    pub fn whole_millis(self) -> Option<u64> {
        let exact = self.0.subsec_nanos().is_multiple_of(1_000_000);
        if exact { u64::try_from(self.0.as_millis()).ok() } else { None }
    }
}

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses Go's notation: numbers with units, joined. Nanoseconds in all; `None` for anything else.
fn parse(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, after) = rest.split_at_checked(number)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end)?;
        let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        total = total.checked_add(scaled(digits, scale)?)?;
        rest = next;
    }
    if text.is_empty() { None } else { Some(total) }
}

/// `digits` × `scale`, exactly: `1.5` × 1,000,000,000.
fn scaled(digits: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut sum = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        place /= 10;
        sum = sum.checked_add(u64::from(digit.checked_sub(b'0')?).checked_mul(place)?)?;
    }
    Some(sum)
}

impl FromNode for Duration {
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
        let nanos = match node {
            Node::String(text) => parse(text),
            _ => None,
        };
        match nanos {
            Some(nanos) => Some(Self(Time::from_nanos(nanos))),
            None => at.fault(node, "expected a duration such as \"5s\", \"1.5s\" or \"100ms\""),
        }
    }
}

/// In seconds: `5s`, `0.100000000s`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (seconds, 0) => write!(f, "{seconds}s"),
            (seconds, nanos) => write!(f, "{seconds}.{nanos:09}s"),
        }
    }
}

#[cfg(not(target_family = "wasm"))]
impl serde::Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_notation() {
        let cases = [
            ("5s", 5_000_000_000),
            ("1.5s", 1_500_000_000),
            ("100ms", 100_000_000),
            ("1h2m3s", 3_723_000_000_000),
            (".5s", 500_000_000),
            ("0s", 0),
            ("3us", 3_000),
            ("3µs", 3_000),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-5s", "5x", ".s", "1.2.3s", "99999999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for nanos in [0, 1, 1_000_000, 1_500_000_000, 3_723_000_000_000] {
            let text = serde_json::to_string(&Duration(Time::from_nanos(nanos))).unwrap();
            assert_eq!(crate::from_slice::<Duration>(text.as_bytes()).unwrap().0.as_nanos(), u128::from(nanos));
        }
    }
}
