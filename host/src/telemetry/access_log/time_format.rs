//! Formats of times: strftime's letters, and Envoy's for parts of a second.

use std::cell::RefCell;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::{OwnedFormatItem, parse_strftime_owned};

/// What Envoy writes without a format.
const DEFAULT: &str = "%Y-%m-%dT%H:%M:%E3SZ";

/// A compiled format. Times are in UTC.
pub(super) struct TimeFormat(Vec<Piece>);

enum Piece {
    /// By the calendar, and how that was written the last time: most lines are of the same second as the one before.
    Calendar(OwnedFormatItem, RefCell<Written>),
    /// So many digits of the second's fraction.
    Fraction(usize),
}

#[derive(Default)]
struct Written {
    second: Option<i64>,
    text: Vec<u8>,
}

impl TimeFormat {
    /// Compiles strftime's letters, with `%f` and `%1f` to `%9f` for fractions of the second and `%E3S` for seconds
    /// with them; Envoy's default without a text.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        let mut rest = if text.is_empty() { DEFAULT } else { text };
        let (mut pieces, mut calendar) = (Vec::new(), String::new());
        while let Some((before, after)) = rest.split_once('%') {
            calendar.push_str(before);
            let fraction = fraction(after);
            if let Some((seconds, digits, after)) = fraction {
                calendar.push_str(if seconds { "%S." } else { "" });
                add_calendar(&mut pieces, &mut calendar)?;
                pieces.push(Piece::Fraction(digits));
                rest = after;
                continue;
            }
            let letter = after.chars().next().ok_or("a % at the end")?;
            match letter {
                'Z' => calendar.push_str("UTC"),
                letter => calendar.extend(['%', letter]),
            }
            rest = after.strip_prefix(letter).unwrap_or_default();
        }
        calendar.push_str(rest);
        add_calendar(&mut pieces, &mut calendar)?;
        Ok(Self(pieces))
    }

    /// Writes a time; false for one that no calendar has.
    pub(super) fn write(&self, time: SystemTime, out: &mut Vec<u8>) -> bool {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let Ok(second) = i64::try_from(since.as_secs()) else { return false };
        self.0.iter().all(|piece| match piece {
            Piece::Calendar(format, written) => written.borrow_mut().write(second, format, out),
            Piece::Fraction(digits) => {
                let left = u32::try_from(9 - digits).unwrap_or(0);
                write!(out, "{:0digits$}", since.subsec_nanos() / 10u32.pow(left)).is_ok()
            }
        })
    }
}

impl Written {
    fn write(&mut self, second: i64, format: &OwnedFormatItem, out: &mut Vec<u8>) -> bool {
        if self.second != Some(second) {
            self.second = None;
            self.text.clear();
            let Ok(date) = OffsetDateTime::from_unix_timestamp(second) else { return false };
            if date.format_into(&mut self.text, format).is_err() {
                return false;
            }
            self.second = Some(second);
        }
        out.extend_from_slice(&self.text);
        true
    }
}

/// Whether with the seconds, how many digits, what follows: of `E3S`, `3f`, `f`.
fn fraction(text: &str) -> Option<(bool, usize, &str)> {
    let digits = |text: &str| text.parse().ok().filter(|digits| (1..=9).contains(digits));
    if let Some(rest) = text.strip_prefix('f') {
        return Some((false, 9, rest));
    }
    if let Some(rest) = text.strip_prefix('E') {
        let (count, rest) = rest.split_once('S')?;
        return Some((true, digits(count)?, rest));
    }
    let (count, rest) = text.split_once('f')?;
    Some((false, digits(count)?, rest))
}

fn add_calendar(pieces: &mut Vec<Piece>, calendar: &mut String) -> Result<(), String> {
    if !calendar.is_empty() {
        let format = parse_strftime_owned(calendar).map_err(|error| error.to_string())?;
        pieces.push(Piece::Calendar(format, RefCell::default()));
        calendar.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: &str) -> String {
        let mut out = Vec::new();
        let time = UNIX_EPOCH + Duration::from_nanos(1_795_336_440_012_345_678);
        assert!(TimeFormat::compile(format).unwrap().write(time, &mut out), "{format}");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn as_envoy_writes_them() {
        let rows = [
            ("", "2026-11-22T08:34:00.012Z"),
            ("%Y/%m/%dT%H:%M:%S%z %s", "2026/11/22T08:34:00+0000 1795336440"),
            ("%s.%3f", "1795336440.012"),
            ("%f|%1f|%6f|%9f", "012345678|0|012345|012345678"),
            ("%E3S %E9S", "00.012 00.012345678"),
            ("%a %b %e %T %Z 100%%", "Sun Nov 22 08:34:00 UTC 100%"),
            ("no letters", "no letters"),
        ];
        for (format, wanted) in rows {
            assert_eq!(written(format), wanted, "{format}");
        }
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for format in ["%", "%Q", "a %E3X", "%0f", "%é"] {
            assert!(TimeFormat::compile(format).is_err(), "{format}");
        }
    }

    #[test]
    fn a_time_beyond_the_calendar_is_not_written() {
        let far = UNIX_EPOCH + Duration::from_secs(u64::MAX / 4);
        let format = TimeFormat::compile("%Y").unwrap();
        for (time, wanted) in [(UNIX_EPOCH, Some("1970")), (far, None), (far, None), (UNIX_EPOCH, Some("1970"))] {
            let mut out = Vec::new();
            assert_eq!(format.write(time, &mut out).then_some(out.as_slice()), wanted.map(str::as_bytes));
        }
    }
}
