//! Field lines of a head or trailer section, parsed in place, and what they say of the message's framing.

use http_match::Entry;

use super::head::{Framing, Upgrade, Version};
use crate::http::refused::Refused;
use crate::http::syntax::{decimal, elements, is_field_value, is_token, token_lower, trim};

/// A header by where its name and value stand in a list's buffer.
pub(crate) fn entry(name: (usize, usize), value: (usize, usize)) -> Result<Entry, Refused> {
    let narrow = |at: usize| u32::try_from(at).map_err(|_| Refused::HEAD_TOO_LARGE);
    Ok(Entry { name: (narrow(name.0)?, narrow(name.1)?), value: (narrow(value.0)?, narrow(value.1)?) })
}

/// Reads the field lines at `start..end` of `bytes`, which all end in CRLF, and lower-cases their names where they
/// stand. `each` gets name, value, and where both are. A line that starts with a space (obsolete folding) has no
/// name and is refused, as is a space before the colon. More than `most` lines are refused with `too_many`.
pub(crate) fn parse(
    bytes: &mut [u8],
    (start, end): (usize, usize),
    (most, too_many): (usize, Refused),
    mut each: impl FnMut(&[u8], &[u8], Entry) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let (mut at, mut count) = (start, 0);
    while at < end {
        count += 1;
        if count > most {
            return Err(too_many);
        }
        let rest = bytes.get_mut(at..end).ok_or(Refused::CODEC_ERROR)?;
        let name = lower_name(rest);
        let (name, after) = rest.split_at_checked(name).ok_or(Refused::CODEC_ERROR)?;
        let line = memchr::memchr(b'\n', after).and_then(|line_feed| after.get(..line_feed));
        let (Some([b':', value @ .., b'\r']), false) = (line, name.is_empty()) else {
            return Err(Refused::CODEC_ERROR);
        };
        if !is_field_value(value) {
            return Err(Refused::INVALID_CHARACTERS);
        }
        let colon = at + name.len();
        let next = colon + value.len() + ":\r\n".len();
        let blanks = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let value = trim(value);
        let from = colon + 1 + blanks;
        each(name, value, entry((at, colon), (from, from + value.len()))?)?;
        at = next;
    }
    Ok(())
}

/// Lower-cases the token at the start of a line and returns its length.
fn lower_name(line: &mut [u8]) -> usize {
    let mut length = 0;
    for byte in line {
        match token_lower(*byte) {
            0 => break,
            lower => *byte = lower,
        }
        length += 1;
    }
    length
}

/// What the fields of a head say of the message and of its connection.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    length: Option<u64>,
    coding: Option<Coding>,
    /// `Connection: close`.
    pub(crate) close: bool,
    /// `Connection: keep-alive`.
    pub(crate) keep_alive: bool,
    upgrade_option: bool,
    upgrade: Option<Upgrade>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Unknown,
}

impl Facts {
    /// Takes note of one field; refuses what leaves the end of the message open to interpretation.
    pub(crate) fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refused> {
        match name {
            b"content-length" => {
                let length = decimal(value).filter(|_| self.length.is_none());
                self.length = Some(length.ok_or(Refused::CODEC_ERROR)?);
            }
            b"transfer-encoding" => {
                let coding = coding(value).filter(|_| self.coding.is_none());
                self.coding = Some(coding.ok_or(Refused::TRANSFER_ENCODING)?);
            }
            b"connection" => elements(value).for_each(|option| self.note_connection(option)),
            b"upgrade" => self.note_upgrade(value),
            _ => {}
        }
        Ok(())
    }

    /// The upgrade that is asked for: `Connection: upgrade` and an Upgrade field, one without the other is none.
    pub(crate) fn upgrade(&self) -> Option<Upgrade> {
        self.upgrade.filter(|_| self.upgrade_option)
    }

    /// The framing that the fields name; `None` when they name none. The coding decides only when it is the single
    /// one and the version has it: RFC 9112 section 6.1 and 6.3, without their allowances.
    pub(crate) fn framing(&self, version: Version) -> Result<Option<Framing>, Refused> {
        match (self.coding, self.length) {
            (Some(_), Some(_)) => Err(Refused::CHUNKED_CONTENT_LENGTH),
            (Some(_), None) if version == Version::Http10 => Err(Refused::CODING_NOT_ALLOWED),
            (Some(Coding::Unknown), None) => Err(Refused::UNKNOWN_CODING),
            (Some(Coding::Chunked), None) => Ok(Some(Framing::Chunked)),
            (None, length) => Ok(length.map(Framing::Length)),
        }
    }

    fn note_connection(&mut self, option: &[u8]) {
        self.close |= option.eq_ignore_ascii_case(b"close");
        self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        self.upgrade_option |= option.eq_ignore_ascii_case(b"upgrade");
    }

    fn note_upgrade(&mut self, value: &[u8]) {
        let websocket = self.upgrade.is_none() && value.eq_ignore_ascii_case(b"websocket");
        if websocket {
            self.upgrade = Some(Upgrade::Websocket);
        } else if !value.is_empty() {
            self.upgrade = Some(Upgrade::Other);
        }
    }
}

/// The one coding that a Transfer-Encoding names; `None` for a list and for what is no coding.
fn coding(value: &[u8]) -> Option<Coding> {
    if value.eq_ignore_ascii_case(b"chunked") {
        Some(Coding::Chunked)
    } else {
        is_token(value).then_some(Coding::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str, most: usize) -> Result<Vec<(String, String)>, Refused> {
        let (mut bytes, mut found) = (text.as_bytes().to_vec(), Vec::new());
        let end = bytes.len();
        parse(&mut bytes, (0, end), (most, Refused::TOO_MANY_HEADERS), |name, value, entry| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!((entry.name.1 - entry.name.0) as usize, name.len());
            assert_eq!((entry.value.1 - entry.value.0) as usize, value.len());
            found.push((text(name), text(value)));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn lines() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            fields("X-A: 1\r\nb:\t 2 \t\r\nC:\r\nd: a\tb\r\n", 4),
            Ok(vec![pair("x-a", "1"), pair("b", "2"), pair("c", ""), pair("d", "a\tb")])
        );
        assert_eq!(fields("a:1\r\nb:2\r\n", 1), Err(Refused::TOO_MANY_HEADERS));
        for text in ["a :1\r\n", " a:1\r\n", "a:1\r\n b\r\n", ":a\r\n", "a\r\n", "\u{e9}:1\r\n", "a\0:1\r\n"] {
            assert_eq!(fields(text, 9), Err(Refused::CODEC_ERROR), "{text:?}");
        }
        for text in ["a:1\0\r\n", "a:1\r2\r\n", "a:\u{1b}\r\n", "a:\r\r\n"] {
            assert_eq!(fields(text, 9), Err(Refused::INVALID_CHARACTERS), "{text:?}");
        }
    }
}
