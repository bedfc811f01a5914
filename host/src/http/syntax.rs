//! Bytes and small pieces of grammar that heads, bodies, hygiene and validation share (RFC 9110 section 5).

/// For a token byte (RFC 9110 `tchar`) its lower case, for any other byte 0: one look-up checks and folds.
const TOKEN: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        // Only 0..=255: nothing is cut off.
        let b = byte as u8;
        #[allow(clippy::indexing_slicing)] // Evaluated at compile time: an index outside would not build.
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
        {
            table[byte] = b.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// The lower case of a token byte, 0 for a byte that no token has.
pub(crate) fn token_lower(byte: u8) -> u8 {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Whether it is a token: not empty, token bytes only.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| token_lower(byte) != 0)
}

/// Whether it is a token without upper case: what a header's name in a list must be.
pub(crate) fn is_lower_token(text: &[u8]) -> bool {
    let usual = |byte: u8| byte.is_ascii_lowercase() | byte.is_ascii_digit() | (byte == b'-');
    !text.is_empty() && (all(text, usual) || text.iter().all(|&byte| byte != 0 && token_lower(byte) == byte))
}

/// Whether a value has no control byte but TAB; bytes from 0x80 on are allowed (RFC 9110 `obs-text`).
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    all(value, |byte| ((byte >= 0x20) | (byte == b'\t')) & (byte != 0x7f))
}

/// Whether a test holds for every byte. There is no early exit: names and values are short, and nearly all are fine.
/// Sixteen at a time, and eight, compile to vector instructions; the last may have been among those before.
fn all(text: &[u8], test: impl Fn(u8) -> bool) -> bool {
    fn chunk<const N: usize>(bytes: &[u8; N], test: impl Fn(u8) -> bool) -> bool {
        bytes.iter().fold(true, |fine, &byte| fine & test(byte))
    }
    if let Some(last) = text.last_chunk::<16>() {
        let (chunks, _) = text.as_chunks::<16>();
        return chunks.iter().fold(chunk(last, &test), |fine, bytes| fine & chunk(bytes, &test));
    }
    match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(first), Some(last)) => chunk(first, &test) & chunk(last, &test),
        _ => text.iter().fold(true, |fine, &byte| fine & test(byte)),
    }
}

/// Whether every byte is visible ASCII: what a request target consists of.
pub(crate) fn is_visible(text: &[u8]) -> bool {
    all(text, |byte| (byte > 0x20) & (byte < 0x7f))
}

/// Without spaces and tabs at either end.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The elements of a comma-separated list, trimmed, empty ones left out (RFC 9110 section 5.6.1).
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// 1*DIGIT as a number; `None` for anything else and for more than a `u64`.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for (text, token, lower) in [
            (&b""[..], false, false),
            (b"x-a", true, true),
            (b"X-A", true, false),
            (b"a b", false, false),
            (b"a\0", false, false),
            (b"a:", false, false),
            (b"!#$%&'*+-.^_`|~09az", true, true),
            (b"\x80", false, false),
        ] {
            assert_eq!((is_token(text), is_lower_token(text)), (token, lower), "{text:?}");
        }
    }

    #[test]
    fn values_and_targets() {
        assert!(is_field_value(b""));
        for byte in 0..=255_u8 {
            let control = byte < 0x20 || byte == 0x7f;
            for length in [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 35] {
                for place in 0..length {
                    let mut text = [b'a'; 35];
                    text[place] = byte;
                    let (text, lower) = (&text[..length], byte != 0 && token_lower(byte) == byte);
                    assert_eq!(is_field_value(text), byte == b'\t' || !control, "{byte} at {place} of {length}");
                    assert_eq!(is_lower_token(text), lower, "{byte} at {place} of {length}");
                    assert_eq!(is_visible(text), (0x21..0x7f).contains(&byte), "{byte} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn numbers_and_lists() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for text in ["", "18446744073709551616", "+1", "-1", "1 ", "0x1", "1,1", "\u{661}"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
        assert_eq!((hex(b'f'), hex(b'F'), hex(b'9'), hex(b'g')), (Some(15), Some(15), Some(9), None));
        assert_eq!(elements(b" a ,,\tb,").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(trim(b" \t "), b"");
    }
}
