//! Values as they stand in a line: whatever a client sent, it cannot end the line, a quoted field or a JSON string.

use std::io::Write;

/// Writes a value into a text. Quotes, backslashes, control characters and bytes that are not UTF-8 are escaped.
pub(super) fn text(value: &[u8], out: &mut Vec<u8>) {
    if value.iter().all(|&byte| plain(byte)) {
        return out.extend_from_slice(value);
    }
    each(value, "\\x", out, |c, out| match c {
        '"' | '\\' => out.extend_from_slice(if c == '"' { b"\\\"" } else { b"\\\\" }),
        // Writing to memory does not fail; so below.
        c if breaks(c) => drop(write!(out, "{}", c.escape_default())),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    });
}

/// Writes a value into a JSON string. Bytes that are not UTF-8 are shown as `\xNN`.
pub(super) fn json(value: &[u8], out: &mut Vec<u8>) {
    if value.iter().all(|&byte| plain(byte)) {
        return out.extend_from_slice(value);
    }
    each(value, "\\\\x", out, |c, out| match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        // None of them is beyond U+FFFF.
        c if breaks(c) => drop(write!(out, "\\u{:04x}", u32::from(c))),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    });
}

fn plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// What some reader takes for the end of a line, or does not show.
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Writes each character, and each byte that belongs to none, behind `escape`.
fn each(value: &[u8], escape: &str, out: &mut Vec<u8>, write: impl Fn(char, &mut Vec<u8>)) {
    for chunk in value.utf8_chunks() {
        chunk.valid().chars().for_each(|c| write(c, out));
        chunk.invalid().iter().for_each(|byte| drop(write!(out, "{escape}{byte:02x}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: fn(&[u8], &mut Vec<u8>), value: &[u8]) -> String {
        let mut out = Vec::new();
        write(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_stay_in_their_place() {
        let rows: [(&[u8], &str, &str); 8] = [
            (b"curl/7.88.1", "curl/7.88.1", "curl/7.88.1"),
            (b"a\" 200 \"", "a\\\" 200 \\\"", "a\\\" 200 \\\""),
            (b"back\\slash", "back\\\\slash", "back\\\\slash"),
            (b"two\r\nlines\t", "two\\r\\nlines\\t", "two\\u000d\\u000alines\\u0009"),
            ("é 世".as_bytes(), "é 世", "é 世"),
            (b"\xff\xc3", "\\xff\\xc3", "\\\\xff\\\\xc3"),
            ("\u{2028}\u{85}".as_bytes(), "\\u{2028}\\u{85}", "\\u2028\\u0085"),
            (b"\0\x1b[31m\x7f", "\\u{0}\\u{1b}[31m\\u{7f}", "\\u0000\\u001b[31m\\u007f"),
        ];
        for (value, in_text, in_json) in rows {
            assert_eq!(written(text, value), in_text);
            assert_eq!(written(json, value), in_json);
        }
    }

    proptest! {
        #[test]
        fn no_value_breaks_a_line_or_json(value: Vec<u8>) {
            let line = written(text, &value);
            prop_assert!(line.chars().all(|c| !breaks(c)));
            let quotes = line.match_indices('"');
            for (at, _) in quotes {
                let slashes = line[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
                prop_assert!(slashes % 2 == 1, "{line}");
            }
            let read: String = serde_json::from_str(&format!("\"{}\"", written(json, &value))).unwrap();
            if let Ok(value) = str::from_utf8(&value) {
                prop_assert_eq!(read, value);
            }
        }
    }
}
