//! Durations as Istio writes them: `5s`, `1.5s`, `100ms`, `1h30m`.

use crate::{At, FromNode, Node, ReadNode};
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

const UNITS: [(&[u8], u64); 7] = [
    (b"ns", 1),
    (b"us", 1_000),
    ("µs".as_bytes(), 1_000),
    (b"ms", 1_000_000),
    (b"s", 1_000_000_000),
    (b"m", 60_000_000_000),
    (b"h", 3_600_000_000_000),
];

/// Parses Go's notation: numbers with units, joined. Nanoseconds in all; `None` for anything else.
fn parse(text: &str) -> Option<u64> {
    let of_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let mut rest = text.as_bytes();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at_checked(rest.iter().position(|byte| !of_number(byte))?)?;
        let (unit, next) = after.split_at_checked(after.iter().position(of_number).unwrap_or(after.len()))?;
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(digits, *scale)?)?;
        rest = next;
    }
    if text.is_empty() { None } else { Some(total) }
}

/// `digits` × `scale`, exactly: `1.5` × 1,000,000,000.
fn scaled(digits: &[u8], scale: u64) -> Option<u64> {
    let (mut sum, mut place) = (0u64, scale);
    let (mut is_fraction, mut is_number) = (false, false);
    for byte in digits {
        match byte.checked_sub(b'0') {
            Some(digit) if is_fraction => {
                place /= 10;
                sum = sum.checked_add(place * u64::from(digit))?;
            }
            Some(digit) => sum = sum.checked_mul(10)?.checked_add(scale.checked_mul(digit.into())?)?,
            None if is_fraction => return None,
            None => is_fraction = true,
        }
        is_number |= *byte != b'.';
    }
    is_number.then_some(sum)
}

impl ReadNode for Duration {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let nanos = match node {
            Node::String(text) => parse(text),
            _ => None,
        };
        match nanos {
            Some(nanos) => self.0 = Time::from_nanos(nanos),
            None => at.refuse(node, "expected a duration such as \"5s\", \"1.5s\" or \"100ms\""),
        }
    }
}

impl FromNode for Duration {}

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
