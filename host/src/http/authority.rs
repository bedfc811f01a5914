//! The authority of a request (`:authority`, Host): checked once, and one spelling for each, before anything routes by it.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use crate::http::refused::Refused;

/// Longest host: DNS names have no more.
const LONGEST_HOST: usize = 255;

/// The one spelling of an authority: lower case, without the trailing dot of a name, and without the port when it is
/// `scheme_port` (80 for http, 443 for https). Refused: anything but `host` or `host:port`, such as user
/// information, a path, a comma, an empty label or port, port 0, percent-encoding, an IPv6 zone.
pub fn normalize_authority(raw: &[u8], scheme_port: u16) -> Result<Cow<'_, [u8]>, Refused> {
    let (host, port) = split(raw).ok_or(Refused::INVALID_AUTHORITY)?;
    let port = port.filter(|port| *port != scheme_port);
    let name = host.strip_suffix(b".").unwrap_or(host);
    if !name.iter().any(u8::is_ascii_uppercase) {
        match port {
            None => return Ok(Cow::Borrowed(name)),
            Some(_) if name.len() == host.len() => return Ok(Cow::Borrowed(raw)),
            Some(_) => {}
        }
    }
    let mut normal = name.to_ascii_lowercase();
    if port.is_some() {
        normal.extend_from_slice(raw.get(host.len()..).unwrap_or_default());
    }
    Ok(Cow::Owned(normal))
}

/// The port that an authority needs not name.
pub(crate) fn scheme_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Whether it is an authority: what [`normalize_authority`] takes.
pub fn is_valid(raw: &[u8]) -> bool {
    split(raw).is_some()
}

/// Host, with its brackets or trailing dot, and port of an authority; `None` for what is none.
pub(crate) fn split(raw: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let end = match raw {
        [b'[', inner @ ..] => {
            let length = inner.iter().position(|&byte| byte == b']')?;
            let literal = std::str::from_utf8(inner.get(..length)?).ok()?;
            literal.parse::<Ipv6Addr>().ok()?;
            length + "[]".len()
        }
        _ => memchr::memchr(b':', raw).unwrap_or(raw.len()),
    };
    let (host, rest) = raw.split_at_checked(end)?;
    if !host.starts_with(b"[") && !is_name(host) {
        return None;
    }
    match rest {
        [] => Some((host, None)),
        [b':', digits @ ..] => Some((host, Some(port(digits)?))),
        _ => None,
    }
}

/// A name of RFC 3986's `reg-name` without comma and percent-encoding, whose labels are not empty.
fn is_name(host: &[u8]) -> bool {
    let name = host.strip_suffix(b".").unwrap_or(host);
    let mut before = b'.';
    let fits = |&byte: &u8| {
        let empty_label = byte == b'.' && before == b'.';
        before = byte;
        !empty_label && NAME.get(usize::from(byte)) == Some(&true)
    };
    name.len() <= LONGEST_HOST && name.iter().all(fits) && before != b'.'
}

/// Bytes of a name, the dot included.
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        // Only 0..=255: nothing is cut off.
        let b = byte as u8;
        #[allow(clippy::indexing_slicing)] // Evaluated at compile time: an index outside would not build.
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'.' | b'-' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
            )
        {
            table[byte] = true;
        }
        byte += 1;
    }
    table
};

/// A port as it is usually spelt: no leading zero, 1 to 65535.
fn port(digits: &[u8]) -> Option<u16> {
    let number = crate::http::syntax::decimal(digits)?;
    u16::try_from(number).ok().filter(|_| !digits.starts_with(b"0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        for (raw, port, expected) in [
            ("a.example.com", 80, "a.example.com"),
            ("A.Example.COM", 80, "a.example.com"),
            ("a.example.com.", 80, "a.example.com"),
            ("a.example.com:80", 80, "a.example.com"),
            ("a.example.com.:80", 80, "a.example.com"),
            ("a.example.com:443", 80, "a.example.com:443"),
            ("a.example.com:443", 443, "a.example.com"),
            ("A.example.com.:8080", 80, "a.example.com:8080"),
            ("a.:8080", 80, "a:8080"),
            ("10.0.0.1:80", 80, "10.0.0.1"),
            ("[::1]", 80, "[::1]"),
            ("[::1]:80", 80, "[::1]"),
            ("[2001:DB8::1]:81", 80, "[2001:db8::1]:81"),
            ("[::ffff:1.2.3.4]", 80, "[::ffff:1.2.3.4]"),
            ("a_b-c", 80, "a_b-c"),
            ("a:65535", 80, "a:65535"),
        ] {
            let normal = normalize_authority(raw.as_bytes(), port).unwrap();
            assert_eq!(normal, expected.as_bytes(), "{raw}");
            assert_eq!(normalize_authority(&normal, port).unwrap(), normal, "{raw} twice");
        }
    }

    #[test]
    fn no_authority() {
        let long = "a".repeat(256);
        for raw in [
            "",
            ".",
            "..",
            "a..",
            "a..b",
            ".a",
            ":80",
            "a:",
            "a:0",
            "a:080",
            "a:65536",
            "a:99999",
            "a:+1",
            "a:1:2",
            "a b",
            " a",
            "a\t",
            "a,b",
            "u@a",
            "u:p@a",
            "a/",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a\0",
            "a\r\n",
            "a\x7f",
            "\u{e9}",
            "a%2e",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[a]",
            "[::1]a",
            "[::1%25eth0]",
            "[::1%eth0]",
            "[1.2.3.4]",
            "[::1].",
            "[::1]:",
            "[::1]:x",
            "[[::1]]",
            "a\"b",
            "<a>",
            "a|b",
            &long,
        ] {
            assert_eq!(normalize_authority(raw.as_bytes(), 80), Err(Refused::INVALID_AUTHORITY), "{raw:?}");
            assert!(!is_valid(raw.as_bytes()), "{raw:?}");
        }
    }

    #[test]
    fn does_not_copy_needlessly() {
        for raw in [&b"a.example.com"[..], b"a:80", b"a:81", b"a."] {
            assert!(matches!(normalize_authority(raw, 80), Ok(Cow::Borrowed(_))), "{raw:?}");
        }
    }
}
