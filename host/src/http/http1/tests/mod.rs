//! The codec as a whole: hostile messages, feeding in pieces, what is written and read back.

mod bodies;
mod encoding;
mod properties;
mod requests;
mod responses;

use http_match::HeaderList;

use super::head::{HeadLimits, RequestHead, ResponseHead, parse_request, parse_response};
use crate::http::refused::Refused;

/// Limits small enough to reach in a test.
const SMALL: HeadLimits = HeadLimits { bytes: 300, fields: 5, target: 40 };

/// A list as text: `name=value|name=value`.
fn text(headers: &HeaderList) -> String {
    let pair = |(name, value)| format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    headers.iter().map(pair).collect::<Vec<_>>().join("|")
}

fn list(text: &str) -> HeaderList {
    text.split('|').filter_map(|pair| pair.split_once('=')).collect()
}

/// Parses byte by byte, as a slow peer sends: the first answer that is not "more".
fn request_in_pieces(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(RequestHead, usize)>, Refused> {
    let outcomes = (0..=bytes.len()).map(|length| parse_request(&bytes[..length], "http", limits));
    outcomes.into_iter().find(|outcome| !matches!(outcome, Ok(None))).unwrap_or(Ok(None))
}

fn response_in_pieces(
    bytes: &[u8],
    method: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(ResponseHead, usize)>, Refused> {
    let outcomes = (0..=bytes.len()).map(|length| parse_response(&bytes[..length], method, limits));
    outcomes.into_iter().find(|outcome| !matches!(outcome, Ok(None))).unwrap_or(Ok(None))
}
