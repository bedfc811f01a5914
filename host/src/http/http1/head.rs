//! Request heads: from bytes to a header list, its framing, and what the client asks of the connection.

use std::ops::Range;

use http_match::{Entry, HeaderList};

use super::fields::{self, Facts, entry};
use super::section;
use super::target::{self, PathPart, Target};
use crate::http::refused::Refused;
use crate::http::syntax::{elements, token_lower};

pub use super::response::{ResponseHead, parse_response};

/// What a head, or the trailers of a body, may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head with its first line and line ends.
    pub bytes: usize,
    /// Field lines, Host included.
    pub fields: usize,
    /// Bytes of the request target.
    pub target: usize,
}

/// Envoy's 60 KiB and 100 fields, and 16 KiB for the target.
impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 61_440, fields: 100, target: 16_384 }
    }
}

/// The version in a first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: responses only, a request of it is refused.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the end of a message's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// This many bytes; 0 where the message says so itself.
    Length(u64),
    /// Chunks, and trailers perhaps.
    Chunked,
    /// Whatever comes until the connection closes; responses only.
    UntilClose,
}

/// The protocol a client wants to go on with (`Connection: upgrade` and an Upgrade field).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// `websocket`, alone.
    Websocket,
    /// Another one, or a choice.
    Other,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// `:authority`, `:path`, `:method`, `:scheme`, then the fields in arrival order but Host; CONNECT has neither
    /// `:path` nor `:scheme`. The authority is as the client spelt it, see
    /// [`normalize_authority`](crate::http::authority::normalize_authority).
    pub headers: HeaderList,
    /// Always 1.1.
    pub version: Version,
    /// How the body ends. `None`: neither Content-Length nor Transfer-Encoding.
    pub framing: Framing,
    /// Whether the client may send another request behind this one.
    pub keep_alive: bool,
    /// `Expect: 100-continue`: the client waits for an interim response before it sends the body.
    pub expect_continue: bool,
    /// What the client would upgrade to.
    pub upgrade: Option<Upgrade>,
    /// Whether the method is CONNECT.
    pub connect: bool,
}

/// Names of the pseudo-headers, and the two paths that no target spells, in front of every list's buffer.
const NAMES: &[u8] = b":authority:path:method:scheme*/";
const AUTHORITY: (usize, usize) = (0, 10);
const PATH: (usize, usize) = (10, 15);
const METHOD: (usize, usize) = (15, 22);
const SCHEME: (usize, usize) = (22, 29);
const ASTERISK: (usize, usize) = (29, 30);
const SLASH: (usize, usize) = (30, 31);

/// Room in a list for what the proxy and its filters add to a message: headers, bytes.
pub(super) const ROOM: (usize, usize) = (8, 256);

/// Longest method.
const LONGEST_METHOD: usize = 32;

/// Parses the head at the start of `buffer`, with `scheme` ("http" or "https") as its `:scheme`. `None`: more bytes
/// are needed. The caller drops as many bytes as are returned: those of the head, its empty line, and an empty line
/// before it. The head is copied once, into the list's buffer.
///
/// # Errors
/// Whatever two parsers could read differently (RFC 9112 sections 2.2, 3, 5, 6 and 11.2), and what is over a limit.
pub fn parse_request(
    buffer: &[u8],
    scheme: &str,
    limits: &HeadLimits,
) -> Result<Option<(RequestHead, usize)>, Refused> {
    let (skipped, head) = match buffer {
        [b'\r'] => return Ok(None),
        [b'\r', b'\n', head @ ..] => (2, head),
        _ => (0, buffer),
    };
    begins_as_method(head)?;
    let found = section::find(head, limits.bytes).map_err(|unusable| unusable.of_head(Refused::TARGET_TOO_LONG))?;
    let Some(section) = found else {
        return Ok(None);
    };
    let lines = head.get(..section.blank).ok_or(Refused::CODEC_ERROR)?;
    let line = RequestLine::parse(lines, limits)?;
    let request = Draft::new(lines, &line, scheme, section.lines)?.finish(&line, limits)?;
    Ok(Some((request, skipped + section.end)))
}

/// Refuses what cannot become a method before its line is complete: a TLS hello must not wait for a line feed.
fn begins_as_method(head: &[u8]) -> Result<(), Refused> {
    let method = head.iter().take(LONGEST_METHOD + 1).position(|&byte| token_lower(byte) == 0);
    match method {
        Some(0) => Err(Refused::CODEC_ERROR),
        Some(length) if head.get(length) != Some(&b' ') => Err(Refused::CODEC_ERROR),
        None if head.len() > LONGEST_METHOD => Err(Refused::CODEC_ERROR),
        _ => Ok(()),
    }
}

/// The first line by where its parts are in the head.
struct RequestLine {
    method: Range<usize>,
    target: Range<usize>,
    version: Version,
    /// Where the fields start.
    end: usize,
    connect: bool,
    form: Target,
}

impl RequestLine {
    fn parse(lines: &[u8], limits: &HeadLimits) -> Result<Self, Refused> {
        let end = memchr::memchr(b'\n', lines).ok_or(Refused::CODEC_ERROR)? + 1;
        let line = lines.get(..end).and_then(|line| line.strip_suffix(b"\r\n")).ok_or(Refused::CODEC_ERROR)?;
        let mut parts = line.splitn(3, |&byte| byte == b' ');
        let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Refused::CODEC_ERROR);
        };
        if target.len() > limits.target {
            return Err(Refused::TARGET_TOO_LONG);
        }
        let version = match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Refused::UNKNOWN_VERSION),
            _ => return Err(Refused::CODEC_ERROR),
        };
        let at = method.len() + 1;
        Ok(Self {
            form: target::parse(method, target)?,
            connect: method == b"CONNECT",
            method: 0..method.len(),
            target: at..at + target.len(),
            version,
            end,
        })
    }
}

/// A header list in the making: the names, the scheme, and the head itself, whose names and values it points at.
struct Draft {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Where the head starts in the bytes.
    base: usize,
    /// Where the head ends in the bytes: a path may be written behind it.
    end: usize,
}

impl Draft {
    fn new(lines: &[u8], line: &RequestLine, scheme: &str, count: usize) -> Result<Self, Refused> {
        let base = NAMES.len() + scheme.len();
        let mut bytes = Vec::with_capacity(base + lines.len() + ROOM.1);
        bytes.extend_from_slice(NAMES);
        bytes.extend_from_slice(scheme.as_bytes());
        bytes.extend_from_slice(lines);
        // The first line and Host give way to at most four pseudo-headers.
        let end = bytes.len();
        let mut draft = Self { bytes, entries: Vec::with_capacity(count + 2 + ROOM.0), base, end };
        // Its value follows when the fields are read: it may be Host's.
        draft.entries.push(entry(AUTHORITY, (0, 0))?);
        let path = draft.path(line);
        let method = draft.span(&line.method);
        draft.entries.extend(path.map(|path| entry(PATH, path)).transpose()?);
        draft.entries.push(entry(METHOD, method)?);
        if !line.connect {
            draft.entries.push(entry(SCHEME, (NAMES.len(), base))?);
        }
        Ok(draft)
    }

    /// Where a part of the head is in the bytes.
    fn span(&self, range: &Range<usize>) -> (usize, usize) {
        (self.base + range.start, self.base + range.end)
    }

    fn path(&mut self, line: &RequestLine) -> Option<(usize, usize)> {
        let at = self.base + line.target.start;
        match line.form.path.as_ref()? {
            PathPart::Asterisk => Some(ASTERISK),
            PathPart::Slash(part) if part.is_empty() => Some(SLASH),
            PathPart::Part(part) => Some((at + part.start, at + part.end)),
            PathPart::Slash(part) => {
                let start = self.bytes.len();
                self.bytes.push(b'/');
                self.bytes.extend_from_within((at + part.start).min(start)..(at + part.end).min(start));
                Some((start, self.bytes.len()))
            }
        }
    }

    fn finish(mut self, line: &RequestLine, limits: &HeadLimits) -> Result<RequestHead, Refused> {
        let mut facts = Facts::default();
        let (mut host, mut expect_continue) = (None, false);
        let Self { bytes, entries, base, end } = &mut self;
        let lines = (*base + line.end, *end);
        fields::parse(bytes, lines, (limits.fields, Refused::TOO_MANY_HEADERS), |name, value, entry| {
            match name {
                b"host" if host.is_some() => return Err(Refused::CODEC_ERROR),
                b"host" => {
                    host = Some(entry.value);
                    return Ok(());
                }
                b"expect" => expect_continue |= expectation(value)?,
                _ => facts.note(name, value)?,
            }
            entries.push(entry);
            Ok(())
        })?;
        let framing = framing(&facts, line)?;
        let host = host.filter(|(from, to)| to > from).ok_or(Refused::MISSING_HOST)?;
        let at = *base + line.target.start;
        let authority = match &line.form.authority {
            Some(part) => entry(AUTHORITY, (at + part.start, at + part.end))?.value,
            None => host,
        };
        if let Some(first) = entries.first_mut() {
            first.value = authority;
        }
        Ok(RequestHead {
            headers: HeaderList::from_parts(self.bytes, self.entries),
            version: line.version,
            framing,
            keep_alive: !facts.close,
            expect_continue,
            upgrade: facts.upgrade(),
            connect: line.connect,
        })
    }
}

/// RFC 9110 section 10.1.1: `100-continue` is the only expectation there is.
fn expectation(value: &[u8]) -> Result<bool, Refused> {
    match elements(value).all(|element| element.eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(!value.is_empty()),
        false => Err(Refused::EXPECTATION),
    }
}

fn framing(facts: &Facts, line: &RequestLine) -> Result<Framing, Refused> {
    let framing = facts.framing(line.version)?;
    if line.version == Version::Http10 {
        return Err(Refused::LOW_VERSION);
    }
    match framing {
        Some(Framing::Chunked) if line.connect => Err(Refused::CODING_NOT_ALLOWED),
        Some(Framing::Length(1..)) if line.connect => Err(Refused::BODY_DISALLOWED),
        Some(_) if line.connect => Ok(Framing::None),
        framing => Ok(framing.unwrap_or(Framing::None)),
    }
}
