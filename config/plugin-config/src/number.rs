//! Numbers exactly as they are written: the share of a split and the digits of a status are not doubles.

use std::fmt;

/// A JSON number, by its digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a>(&'a str);

/// A number × a power of ten, cut to a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scaled {
    pub(crate) negative: bool,
    pub(crate) magnitude: u64,
    /// Whether nothing was cut off.
    pub(crate) exact: bool,
}

impl<'a> Number<'a> {
    /// Of a text that JSON takes for a number; of any other text, no number in particular.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The number without its fraction; `None` when it is negative, or beyond 64 bits.
    pub fn whole(self) -> Option<u64> {
        let Scaled { negative, magnitude, exact } = self.scaled(0)?;
        let below_zero = negative && (magnitude > 0 || !exact);
        (!below_zero).then_some(magnitude)
    }

    /// The number × 10^`decimals`; `None` beyond 64 bits.
    pub(crate) fn scaled(self, decimals: i64) -> Option<Scaled> {
        let text = self.0.as_bytes();
        let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |text| (true, text));
        let end = text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e')).unwrap_or(text.len());
        let (mantissa, exponent) = text.split_at_checked(end)?;
        let whole = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
        // So many digits of the mantissa stand before the point once it has moved.
        let wanted = i64::try_from(whole).ok()?.saturating_add(decimals).saturating_add(read_exponent(exponent));
        let (mut magnitude, mut exact, mut place) = (0u64, true, 0);
        for digit in mantissa.iter().filter_map(|byte| byte.checked_sub(b'0')) {
            if place < wanted {
                magnitude = magnitude.checked_mul(10)?.checked_add(digit.into())?;
            } else {
                exact &= digit == 0;
            }
            place += 1;
        }
        while magnitude > 0 && place < wanted {
            magnitude = magnitude.checked_mul(10)?;
            place += 1;
        }
        Some(Scaled { negative, magnitude, exact })
    }
}

/// Reads `e5`, `E+5`, `e-5`, or nothing; without bound in neither direction.
fn read_exponent(text: &[u8]) -> i64 {
    let negative = text.contains(&b'-');
    let digits = text.iter().filter(|byte| byte.is_ascii_digit());
    let size = digits.fold(0i64, |size, digit| size.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if negative { -size } else { size }
}

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_exactly_and_says_when_it_cuts() {
        type Case = (&'static str, i64, Option<(i64, bool)>);
        let cases: [Case; 14] = [
            ("0.29", 4, Some((2_900, true))),
            ("0.00019", 4, Some((1, false))),
            ("0.00009", 4, Some((0, false))),
            ("100", 4, Some((1_000_000, true))),
            ("-0", 0, Some((0, true))),
            ("-12.50", 1, Some((-125, true))),
            ("1e3", 0, Some((1_000, true))),
            ("1.5E+3", 0, Some((1_500, true))),
            ("25e-1", 0, Some((2, false))),
            ("250e-1", 0, Some((25, true))),
            ("18446744073709551616", 0, None),
            ("1e400", 0, None),
            ("0e99999999999999999999", 0, Some((0, true))),
            ("1e-99999999999999999999", 0, Some((0, false))),
        ];
        for (text, decimals, expected) in cases {
            let scaled = Number::new(text).scaled(decimals);
            let found = scaled.map(|scaled| {
                let magnitude = i64::try_from(scaled.magnitude).unwrap();
                (if scaled.negative { -magnitude } else { magnitude }, scaled.exact)
            });
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_cut_and_never_negative() {
        let cases =
            [("0", Some(0)), ("-0", Some(0)), ("1.9", Some(1)), ("1e3", Some(1_000)), ("-0.5", None), ("-1", None)];
        for (text, expected) in cases {
            assert_eq!(Number::new(text).whole(), expected, "{text}");
        }
        assert_eq!(Number::new("18446744073709551615").whole(), Some(u64::MAX));
        assert_eq!(Number::new("18446744073709551616").whole(), None);
    }
}
