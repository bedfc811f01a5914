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
    // No early exit here and below: names and values are short, and nearly all of them are fine.
    !text.is_empty() && !text.iter().fold(false, |bad, &byte| bad | (token_lower(byte) != byte) | (byte == 0))
}

/// Whether a value has no control byte but TAB; bytes from 0x80 on are allowed (RFC 9110 `obs-text`).
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    // Sixteen at a time compile to vector instructions; what is left is looked up.
    let (chunks, rest) = value.as_chunks::<16>();
    let in_chunks = chunks.iter().fold(false, |bad, chunk| {
        bad | chunk.iter().fold(false, |bad, &byte| bad | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f))
    });
    !rest.iter().fold(in_chunks, |bad, &byte| bad | (CONTROL.get(usize::from(byte)) != Some(&false)))
}

/// Control bytes but TAB.
const CONTROL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    #[allow(clippy::indexing_slicing)] // Evaluated at compile time: an index outside would not build.
    while byte < 0x80 {
        table[byte] = byte < 0x20 && byte != 0x09 || byte == 0x7f;
        byte += 1;
    }
    table
};

/// Whether every byte is visible ASCII: what a request target consists of.
pub(crate) fn is_visible(text: &[u8]) -> bool {
    !text.iter().fold(false, |bad, &byte| bad | (byte <= 0x20) | (byte >= 0x7f))
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
        for byte in 0..=255_u8 {
            let control = byte < 0x20 || byte == 0x7f;
            for place in [0, 1, 15, 16, 17, 31, 32, 34] {
                let mut value = [b'a'; 35];
                value[place] = byte;
                assert_eq!(is_field_value(&value), byte == b'\t' || !control, "{byte} at {place}");
            }
            assert_eq!(is_visible(&[b'/', byte]), (0x21..0x7f).contains(&byte), "{byte}");
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
