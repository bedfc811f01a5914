//! Base64url as tokens have it (RFC 7515, 2).

use base64ct::{Base64UrlUnpadded, Encoding};

/// The bytes; `None` for what is not base64url. Padding may be there, as for Envoy, but then has to be complete.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = match text.len() % 4 {
        0 => text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text),
        _ => text,
    };
    Base64UrlUnpadded::decode_vec(bare).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_padding() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("YQ", Some(b"a")),
            ("YQ==", Some(b"a")),
            ("_-A", Some(b"\xff\xe0")),
            ("_-A=", Some(b"\xff\xe0")),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), bytes, "{text}");
        }
        for text in ["a", "YQ=", "YQ===", "/+A", "Y Q", "é", "YR"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
