//! Response heads: from bytes to a header list and the framing that the request's method and the status leave it.

use http_match::{Entry, HeaderList};

use super::fields::{self, Facts, entry};
use super::head::{Framing, HeadLimits, ROOM, Version};
use super::section;
use crate::http::refused::Refused;
use crate::http::syntax::is_field_value;

/// A response's head, interim ones (1xx) included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// `:status`, then the fields in arrival order.
    pub headers: HeaderList,
    /// 100 to 599.
    pub status: u16,
    /// How the body ends: none for HEAD, 1xx, 204, 304 and a CONNECT that succeeded (a tunnel begins).
    pub framing: Framing,
    /// Whether the connection may take another request when the body has ended.
    pub keep_alive: bool,
    /// Version of the status line.
    pub version: Version,
}

const NAME: &[u8] = b":status";

/// Parses the head at the start of `buffer`, the answer to a request with `request_method`. `None`: more bytes are
/// needed. The caller drops as many bytes as are returned.
///
/// # Errors
/// As [`parse_request`](super::head::parse_request), with status 502; and a Transfer-Encoding or a length on 1xx and
/// 204 (RFC 9112 section 6.1, RFC 9110 section 8.6, as Envoy's strict 1xx and 204 headers). The connection must not
/// be used again.
pub fn parse_response(
    buffer: &[u8],
    request_method: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(ResponseHead, usize)>, Refused> {
    parse(buffer, request_method, limits).map_err(Refused::by_upstream)
}

fn parse(buffer: &[u8], method: &[u8], limits: &HeadLimits) -> Result<Option<(ResponseHead, usize)>, Refused> {
    if !buffer.iter().zip(b"HTTP/1.").all(|(a, b)| a == b) {
        return Err(Refused::CODEC_ERROR);
    }
    let found = section::find(buffer, limits.bytes).map_err(|unusable| unusable.of_head(Refused::HEAD_TOO_LARGE))?;
    let Some(section) = found else {
        return Ok(None);
    };
    let lines = buffer.get(..section.blank).ok_or(Refused::CODEC_ERROR)?;
    let line = StatusLine::parse(lines)?;
    let (headers, facts) = list(lines, line.end, limits, section.lines)?;
    let named = facts.framing(line.version)?;
    let framing = framing(named, method, line.status)?;
    let persistent = match line.version {
        Version::Http11 => !facts.close,
        Version::Http10 => facts.keep_alive && !facts.close,
    };
    let keep_alive = persistent && framing != Framing::UntilClose;
    let head = ResponseHead { headers, status: line.status, framing, keep_alive, version: line.version };
    Ok(Some((head, section.end)))
}

struct StatusLine {
    version: Version,
    status: u16,
    /// Where the fields start.
    end: usize,
}

/// Where the three digits of the status are in every status line.
const STATUS: (usize, usize) = ("HTTP/1.1 ".len(), "HTTP/1.1 200".len());

impl StatusLine {
    fn parse(lines: &[u8]) -> Result<Self, Refused> {
        let end = memchr::memchr(b'\n', lines).ok_or(Refused::CODEC_ERROR)? + 1;
        let line = lines.get(..end).and_then(|line| line.strip_suffix(b"\r\n")).ok_or(Refused::CODEC_ERROR)?;
        let (first, digits, reason) = match line {
            [first @ .., b' ', a, b, c] if first.len() == STATUS.0 - 1 => (first, [*a, *b, *c], &[][..]),
            _ => {
                let (start, reason) = line.split_at_checked(STATUS.1 + 1).ok_or(Refused::CODEC_ERROR)?;
                let [first @ .., b' ', a, b, c, b' '] = start else {
                    return Err(Refused::CODEC_ERROR);
                };
                (first, [*a, *b, *c], reason)
            }
        };
        let version = match first {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            _ => return Err(Refused::CODEC_ERROR),
        };
        if !is_field_value(reason) {
            return Err(Refused::INVALID_CHARACTERS);
        }
        let status = status(&digits).ok_or(Refused::CODEC_ERROR)?;
        Ok(Self { version, status, end })
    }
}

/// Three digits, 100 to 599.
pub(crate) fn status(digits: &[u8]) -> Option<u16> {
    let number =
        crate::http::syntax::decimal(digits).filter(|number| digits.len() == 3 && (100..=599).contains(number))?;
    u16::try_from(number).ok()
}

fn list(lines: &[u8], start: usize, limits: &HeadLimits, count: usize) -> Result<(HeaderList, Facts), Refused> {
    let base = NAME.len();
    let mut bytes = Vec::with_capacity(base + lines.len() + ROOM.1);
    bytes.extend_from_slice(NAME);
    bytes.extend_from_slice(lines);
    // The status line gives way to `:status`.
    let mut entries: Vec<Entry> = Vec::with_capacity(count + ROOM.0);
    entries.push(entry((0, base), (base + STATUS.0, base + STATUS.1))?);
    let (mut facts, end) = (Facts::default(), bytes.len());
    fields::parse(
        &mut bytes,
        (base + start, end),
        (limits.fields, Refused::TOO_MANY_HEADERS),
        |name, value, entry| {
            facts.note(name, value)?;
            entries.push(entry);
            Ok(())
        },
    )?;
    Ok((HeaderList::from_parts(bytes, entries), facts))
}

/// RFC 9112 section 6.3: what method and status say of a body comes before what the fields say.
fn framing(named: Option<Framing>, method: &[u8], status: u16) -> Result<Framing, Refused> {
    let bodiless = status < 200 || status == 204;
    match named {
        Some(Framing::Chunked) if bodiless => Err(Refused::CODING_NOT_ALLOWED),
        Some(Framing::Length(1..)) if bodiless => Err(Refused::LENGTH_NOT_ALLOWED),
        _ if bodiless || status == 304 || method == b"HEAD" => Ok(Framing::None),
        _ if method == b"CONNECT" && (200..300).contains(&status) => Ok(Framing::None),
        named => Ok(named.unwrap_or(Framing::UntilClose)),
    }
}
