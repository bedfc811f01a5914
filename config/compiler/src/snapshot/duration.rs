//! Durations as Istio and Envoy write them: `1.5s`, `100ms`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::str::FromStr;

/// A length of time with nanosecond grain, written as seconds: `0.25s`; read with any of `ns`, `us`, `ms`, `s`, `m`,
/// `h` behind a decimal number.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Duration(pub std::time::Duration);

impl Duration {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(std::time::Duration::from_millis(milliseconds))
    }

    /// `None` for zero, which stands for "no limit" in the fields that say so.
    pub fn limit(self) -> Option<std::time::Duration> {
        Some(self.0).filter(|duration| !duration.is_zero())
    }
}

/// Units, and the nanoseconds of each; longer names first where one ends another.
const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

fn parse(text: &str) -> Option<std::time::Duration> {
    let (number, nanoseconds) = UNITS.iter().find_map(|(unit, nanoseconds)| {
        let number = text.strip_suffix(unit)?;
        number.ends_with(|c: char| c.is_ascii_digit()).then_some((number, *nanoseconds))
    })?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let mut total = whole.parse::<u64>().ok()?.checked_mul(nanoseconds)?;
    if !fraction.is_empty() {
        let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        total = total.checked_add(fraction.parse::<u64>().ok()?.checked_mul(nanoseconds)?.checked_div(scale)?)?;
    }
    Some(std::time::Duration::from_nanos(total))
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map(Self).ok_or_else(|| format!("{text:?} is no duration such as 1.5s or 100ms"))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fraction = format!("{:09}", self.0.subsec_nanos());
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        serializer.serialize_str(&format!("{}{point}{fraction}s", self.0.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_more() {
        for (text, nanoseconds) in
            [("1.5s", 1_500_000_000), ("100ms", 100_000_000), ("0s", 0), ("2m", 120_000_000_000), ("7us", 7_000)]
        {
            let read: Duration = serde_json::from_value(text.into()).unwrap();
            assert_eq!(read.0.as_nanos(), nanoseconds, "{text}");
            let written = serde_json::to_value(read).unwrap();
            assert_eq!(serde_json::from_value::<Duration>(written).unwrap(), read);
        }
        for text in ["", "s", "1", "-1s", "1.s5", "1e3s", "99999999999999999999s", "99999999999999h", "1.1234567890s"] {
            assert!(serde_json::from_value::<Duration>(text.into()).is_err(), "{text}");
        }
    }
}
