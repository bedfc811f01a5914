//! The request target's four forms (RFC 9112 section 3.2), and which method takes which.

use std::ops::Range;

use crate::http::authority;
use crate::http::refused::Refused;
use crate::http::syntax::is_visible;

/// What a request target says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Where in the target the authority is, when it has one; it wins over Host.
    pub(crate) authority: Option<Range<usize>>,
    /// The path with its query; `None` for CONNECT.
    pub(crate) path: Option<PathPart>,
}

/// Where the value of `:path` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathPart {
    /// This part of the target.
    Part(Range<usize>),
    /// `/` and this part of the target: an absolute URI without a path.
    Slash(Range<usize>),
    /// `*`.
    Asterisk,
}

/// Reads a request target. A target of a form that `method` does not take is refused, and so is a byte that is not
/// visible ASCII.
pub(crate) fn parse(method: &[u8], target: &[u8]) -> Result<Target, Refused> {
    if !is_visible(target) {
        return Err(Refused::INVALID_CHARACTERS);
    }
    match (method, target) {
        (b"CONNECT", _) => connect(target),
        (_, [b'/', ..]) => Ok(Target { authority: None, path: Some(PathPart::Part(0..target.len())) }),
        (b"OPTIONS", b"*") => Ok(Target { authority: None, path: Some(PathPart::Asterisk) }),
        _ => absolute(method, target),
    }
}

/// The authority form needs a port: RFC 9110 section 9.3.6, there is no scheme to take one from.
fn connect(target: &[u8]) -> Result<Target, Refused> {
    match authority::split(target) {
        Some((_, Some(_))) => Ok(Target { authority: Some(0..target.len()), path: None }),
        _ => Err(Refused::INVALID_URL),
    }
}

fn absolute(method: &[u8], target: &[u8]) -> Result<Target, Refused> {
    let colon = target.iter().position(|&byte| byte == b':').ok_or(Refused::INVALID_URL)?;
    let (scheme, rest) = target.split_at_checked(colon).ok_or(Refused::INVALID_URL)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(Refused::INVALID_URL);
    }
    let rest = rest.strip_prefix(b"://").filter(|rest| !rest.is_empty()).ok_or(Refused::INVALID_URL)?;
    let start = target.len() - rest.len();
    let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    if length == 0 {
        return Err(Refused::INVALID_URL);
    }
    let part = start + length..target.len();
    let path = match rest.get(length) {
        Some(b'/') => PathPart::Part(part),
        // RFC 9112 section 3.2.4: the last proxy of the chain makes it an asterisk.
        None if method == b"OPTIONS" => PathPart::Asterisk,
        _ => PathPart::Slash(part),
    };
    Ok(Target { authority: Some(start..start + length), path: Some(path) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let target = |authority, path| Ok(Target { authority, path });
        for (method, text, expected) in [
            ("GET", "/a?b", target(None, Some(PathPart::Part(0..4)))),
            ("OPTIONS", "*", target(None, Some(PathPart::Asterisk))),
            ("GET", "http://h/p", target(Some(7..8), Some(PathPart::Part(8..10)))),
            ("GET", "HTTPS://h:1?q", target(Some(8..11), Some(PathPart::Slash(11..13)))),
            ("GET", "http://h", target(Some(7..8), Some(PathPart::Slash(8..8)))),
            ("OPTIONS", "http://h", target(Some(7..8), Some(PathPart::Asterisk))),
            ("OPTIONS", "http://h?q", target(Some(7..8), Some(PathPart::Slash(8..10)))),
            ("CONNECT", "h:443", target(Some(0..5), None)),
            ("CONNECT", "[::1]:443", target(Some(0..9), None)),
        ] {
            assert_eq!(parse(method.as_bytes(), text.as_bytes()), expected, "{method} {text}");
        }
        for (method, text) in [
            ("GET", ""),
            ("GET", "*"),
            ("GET", "a"),
            ("GET", "h:443"),
            ("GET", "ftp://h/"),
            ("GET", "http:/h/"),
            ("GET", "http:///p"),
            ("GET", "http://"),
            ("GET", "http://?q"),
            ("OPTIONS", "**"),
            ("CONNECT", "/"),
            ("CONNECT", "h"),
            ("CONNECT", "h:443/p"),
            ("CONNECT", "u@h:443"),
            ("CONNECT", "http://h:443"),
        ] {
            assert_eq!(parse(method.as_bytes(), text.as_bytes()), Err(Refused::INVALID_URL), "{method} {text}");
        }
        for text in ["/\0", "/a b", "/\t", "/\x7f", "/\u{e9}"] {
            assert_eq!(parse(b"GET", text.as_bytes()), Err(Refused::INVALID_CHARACTERS), "{text:?}");
        }
    }
}
