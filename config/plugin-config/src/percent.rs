//! Istio's `Percent`: `percentage: {value: 12.5}`.

use crate::{At, Field, FromNode, Node, ReadNode, read_fields};

/// A share of requests, exact to one in a million, written as Istio's `Percent` message: `{value: 12.5}`.
///
/// Istio truncates `value` × 10,000 to a whole number of millionths; a value between 0 and 0.0001 would silently mean
/// never, so it is refused as Istio's validation does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent {
    per_million: u32,
}

impl Percent {
    /// Every request.
    pub const ALL: Self = Self { per_million: 1_000_000 };
    /// No request.
    pub const NONE: Self = Self { per_million: 0 };

    /// From millionths, 0 to 1,000,000; `None` above.
    pub fn from_per_million(per_million: u32) -> Option<Self> {
        (per_million <= 1_000_000).then_some(Self { per_million })
    }

    /// Millionths, 0 to 1,000,000.
    pub fn per_million(self) -> u32 {
        self.per_million
    }

    /// Whether a uniform random draw over all of `u64` falls within the share.
    pub fn hits(self, draw: u64) -> bool {
        // Multiply-shift maps the draw to 0..1,000,000 evenly (bias below 1e-13), without a division.
        let in_million = (u128::from(draw) * 1_000_000) >> 64;
        in_million < u128::from(self.per_million)
    }

    /// As [`Self::hits`], of a draw that is taken only where it matters.
    ///
    /// # Errors
    /// That of the draw.
    pub fn hits_drawn<E>(self, draw: impl FnOnce() -> Result<u64, E>) -> Result<bool, E> {
        match self {
            Self::NONE => Ok(false),
            Self::ALL => Ok(true),
            share => Ok(share.hits(draw()?)),
        }
    }
}

impl ReadNode for Percent {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let mut value = Value { per_million: 0 };
        read_fields(&mut [Field::optional("value", &mut value)], node, at);
        self.per_million = value.per_million;
    }
}

impl FromNode for Percent {}

/// The number of percents within.
struct Value {
    per_million: u32,
}

impl ReadNode for Value {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let Node::Number(number) = node else {
            at.refuse(node, "expected a number");
            return;
        };
        let valid = number.scaled(4).filter(|scaled| match scaled.magnitude {
            0 => scaled.exact,
            1_000_000 => scaled.exact && !scaled.negative,
            _ => !scaled.negative,
        });
        let per_million = valid.and_then(|scaled| u32::try_from(scaled.magnitude).ok());
        match per_million.filter(|per_million| *per_million <= Percent::ALL.per_million) {
            Some(per_million) => self.per_million = per_million,
            None => at.refuse(node, "expected 0, or 0.0001 to 100"),
        }
    }
}

#[cfg(not(target_family = "wasm"))]
impl serde::Serialize for Percent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("value", f64::from(self.per_million) / 10_000.0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<u32> {
        crate::from_slice::<Percent>(text.as_bytes()).ok().map(Percent::per_million)
    }

    #[test]
    fn millionths_are_truncated() {
        let cases = [
            (r#"{"value": 12.5}"#, Some(125_000)),
            (r#"{"value": 0.29}"#, Some(2_900)),
            (r#"{"value": 0.00019}"#, Some(1)),
            (r#"{"value": 100}"#, Some(1_000_000)),
            (r#"{"value": 0}"#, Some(0)),
            ("{}", Some(0)),
            (r#"{"value": 1e2}"#, Some(1_000_000)),
            (r#"{"value": 0.00001}"#, None),
            (r#"{"value": 100.00001}"#, None),
            (r#"{"value": 100.1}"#, None),
            (r#"{"value": -1}"#, None),
            (r#"{"value": "10"}"#, None),
            ("10", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn draws_split_evenly() {
        let quarter = Percent::from_per_million(250_000).unwrap();
        assert!(quarter.hits(0) && quarter.hits(u64::MAX / 4 - 1));
        assert!(!quarter.hits(u64::MAX / 4 + (1 << 44)) && !quarter.hits(u64::MAX));
        assert!(Percent::ALL.hits(u64::MAX) && !Percent::NONE.hits(0));
    }

    #[test]
    fn what_is_written_reads_back() {
        for per_million in [0, 1, 7, 2_900, 333_333, 999_999, 1_000_000] {
            let percent = Percent { per_million };
            assert_eq!(read(&serde_json::to_string(&percent).unwrap()), Some(per_million));
        }
    }
}
