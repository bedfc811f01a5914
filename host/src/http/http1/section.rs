//! Where a head or a trailer section ends: lines that end in CRLF, up to an empty one.

use crate::http::refused::Refused;

/// A complete section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// Bytes of the lines that are not empty, their line ends included: where the empty line starts.
    pub(crate) blank: usize,
    /// Bytes with the empty line.
    pub(crate) end: usize,
    /// Lines that are not empty.
    pub(crate) lines: usize,
}

/// Why a section cannot be completed, whatever follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// A line that ends in LF without CR: receivers disagree on it, so it never passes.
    BareLineFeed,
    /// More bytes than allowed, and still in its first line.
    FirstLineTooLong,
    /// More bytes than allowed.
    TooLarge,
}

impl Unusable {
    /// The refusal of it, of a section that is a head.
    pub(crate) fn of_head(self, first_line: Refused) -> Refused {
        match self {
            Self::BareLineFeed => Refused::CODEC_ERROR,
            Self::FirstLineTooLong => first_line,
            Self::TooLarge => Refused::HEAD_TOO_LARGE,
        }
    }
}

/// Looks for the end of the section at the start of `buffer`; `None` while it may still come. A section longer than
/// `limit` bytes is unusable. Only ever reads the first `limit` bytes, so what it says of a prefix it says of the
/// whole: feeding byte by byte ends as feeding at once.
pub(crate) fn find(buffer: &[u8], limit: usize) -> Result<Option<Section>, Unusable> {
    let window = buffer.get(..limit).unwrap_or(buffer);
    let (mut start, mut lines) = (0, 0);
    for line_feed in memchr::memchr_iter(b'\n', window) {
        match window.get(start..line_feed) {
            Some([b'\r']) => return Ok(Some(Section { blank: start, end: line_feed + 1, lines })),
            Some([.., b'\r']) => lines += 1,
            _ => return Err(Unusable::BareLineFeed),
        }
        start = line_feed + 1;
    }
    match lines {
        _ if buffer.len() < limit => Ok(None),
        0 => Err(Unusable::FirstLineTooLong),
        _ => Err(Unusable::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let section = |blank, lines| Ok(Some(Section { blank, end: blank + 2, lines }));
        for (buffer, limit, expected) in [
            ("", 10, Ok(None)),
            ("a\r\n", 10, Ok(None)),
            ("a\r\n\r\nrest", 10, section(3, 1)),
            ("\r\n", 10, section(0, 0)),
            ("a\r\nb\r\n\r\n", 8, section(6, 2)),
            ("a\r\nb\r\n\r\n", 7, Err(Unusable::TooLarge)),
            ("a\r\nb\r\n", 7, Ok(None)),
            ("aaaaaaaa\r\n\r\n", 7, Err(Unusable::FirstLineTooLong)),
            ("a\nb", 10, Err(Unusable::BareLineFeed)),
            ("a\r\n\n", 10, Err(Unusable::BareLineFeed)),
            ("\n", 10, Err(Unusable::BareLineFeed)),
            ("a\r\r\n\r\n", 10, section(4, 1)),
        ] {
            assert_eq!(find(buffer.as_bytes(), limit), expected, "{buffer:?} {limit}");
        }
    }
}
