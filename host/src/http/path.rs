//! One spelling for each path, before anything routes or authorises by it: Istio's `meshConfig.pathNormalization`.

use crate::http::refused::Refused;
use crate::http::syntax::{hex, is_visible};

/// How far a path is normalised; each does what the one before it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathNormalization {
    /// Not at all.
    None,
    /// Istio's BASE, Envoy's `normalize_path`: dot segments resolved (RFC 3986 section 5.2.4), backslash to slash,
    /// percent-encoded unreserved characters decoded, and the few characters encoded that no path has.
    Base,
    /// Several slashes become one.
    MergeSlashes,
    /// `%2F` and `%5C` (either case) are decoded before anything else.
    DecodeAndMergeSlashes,
}

/// What normalisation does to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathOutcome {
    /// It is normal as it is.
    Unchanged,
    /// The normal path, with the query as it was.
    Changed(Vec<u8>),
}

/// Normalises the path of `target` (`/path?query`, or `*`, which stays). The query is never touched.
///
/// # Errors
/// 400 `path_normalization_failed`: no slash in front, a `#` anywhere (Envoy refuses fragments whatever is
/// configured), a byte that is not visible ASCII; and unless the mode is `None`, a `%` in the path without two
/// hexadecimal digits, and `%00`.
pub fn normalize_path(target: &[u8], mode: PathNormalization) -> Result<PathOutcome, Refused> {
    if target == b"*" {
        return Ok(PathOutcome::Unchanged);
    }
    if !target.starts_with(b"/") || !is_visible(target) || target.contains(&b'#') {
        return Err(Refused::PATH_NORMALIZATION);
    }
    let length = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at_checked(length).unwrap_or((target, &[]));
    if mode == PathNormalization::None || is_plain(path) {
        return Ok(PathOutcome::Unchanged);
    }
    let mut normal = canonical(path, mode == PathNormalization::DecodeAndMergeSlashes, target.len())?;
    if mode >= PathNormalization::MergeSlashes {
        // After the dot segments, as in Envoy: `/a//../b` is `/a/b`.
        normal.dedup_by(|next, last| *next == b'/' && *last == b'/');
    }
    if normal == path {
        return Ok(PathOutcome::Unchanged);
    }
    normal.extend_from_slice(query);
    Ok(PathOutcome::Changed(normal))
}

/// Whether there is nothing in it that any mode would look at: the case of nearly every request.
fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    path.iter().all(|&byte| {
        let special = after_slash && matches!(byte, b'.' | b'/');
        after_slash = byte == b'/';
        !special && !matches!(byte, b'%' | b'\\') && !is_encoded(byte)
    })
}

/// Visible characters that a path does not have and that are therefore percent-encoded, as by Envoy's URL library.
fn is_encoded(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// RFC 3986 `unreserved`.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn canonical(path: &[u8], decode_slashes: bool, capacity: usize) -> Result<Vec<u8>, Refused> {
    let mut normal = Vec::with_capacity(capacity);
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'/' | b'\\' => end_segment(&mut normal, true),
            b'%' => {
                let ([high, low], after) = after.split_first_chunk().ok_or(Refused::PATH_NORMALIZATION)?;
                let high_and_low = hex(*high).zip(hex(*low)).ok_or(Refused::PATH_NORMALIZATION)?;
                rest = after;
                match high_and_low.0 << 4 | high_and_low.1 {
                    0 => return Err(Refused::PATH_NORMALIZATION),
                    b'/' | b'\\' if decode_slashes => end_segment(&mut normal, true),
                    decoded if is_unreserved(decoded) => normal.push(decoded),
                    // The digits keep their case: an upstream may compare them.
                    _ => normal.extend_from_slice(&[b'%', *high, *low]),
                }
            }
            _ if is_encoded(*byte) => encode(&mut normal, *byte),
            _ => normal.push(*byte),
        }
    }
    end_segment(&mut normal, false);
    Ok(normal)
}

/// Ends the last segment: `.` and `..` go, with what `..` takes with it; above the root there is only the root.
fn end_segment(normal: &mut Vec<u8>, with_slash: bool) {
    let start = normal.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    match normal.get(start..) {
        Some(b".") if start > 0 => normal.truncate(start),
        Some(b"..") if start > 0 => {
            let parent = normal.get(..start - 1).unwrap_or_default();
            let parent = parent.iter().rposition(|&byte| byte == b'/').map_or(1, |slash| slash + 1);
            normal.truncate(parent);
        }
        _ if with_slash => normal.push(b'/'),
        _ => {}
    }
}

fn encode(normal: &mut Vec<u8>, byte: u8) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + (value - 10) };
    normal.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use PathNormalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None as Off};

    fn normal(target: &str, mode: PathNormalization) -> String {
        match normalize_path(target.as_bytes(), mode).unwrap() {
            PathOutcome::Unchanged => target.to_owned(),
            PathOutcome::Changed(path) => {
                assert_ne!(path, target.as_bytes());
                String::from_utf8(path).unwrap()
            }
        }
    }

    #[test]
    fn paths() {
        for (target, base, merged, decoded) in [
            ("/", "/", "/", "/"),
            ("*", "*", "*", "*"),
            ("/a/b?c=../d//e%zz", "/a/b?c=../d//e%zz", "/a/b?c=../d//e%zz", "/a/b?c=../d//e%zz"),
            ("/a/./b", "/a/b", "/a/b", "/a/b"),
            ("/a/../b", "/b", "/b", "/b"),
            ("/a/..", "/", "/", "/"),
            ("/a/.", "/a/", "/a/", "/a/"),
            ("/..", "/", "/", "/"),
            ("/../../a", "/a", "/a", "/a"),
            ("/.", "/", "/", "/"),
            ("/a/...", "/a/...", "/a/...", "/a/..."),
            ("/a/.b", "/a/.b", "/a/.b", "/a/.b"),
            ("/a/..b/c", "/a/..b/c", "/a/..b/c", "/a/..b/c"),
            ("/a./b", "/a./b", "/a./b", "/a./b"),
            ("/a/%2e%2E/b", "/b", "/b", "/b"),
            ("/a/.%2e/b", "/b", "/b", "/b"),
            ("/a\\..\\b", "/b", "/b", "/b"),
            ("/\\a", "//a", "/a", "/a"),
            ("//a", "//a", "/a", "/a"),
            ("/a//b///c//", "/a//b///c//", "/a/b/c/", "/a/b/c/"),
            ("/a//../b", "/a/b", "/a/b", "/a/b"),
            ("//../a", "/a", "/a", "/a"),
            ("/%61%2D%5f%7E", "/a-_~", "/a-_~", "/a-_~"),
            ("/a%2Fb%2f%5C%5c", "/a%2Fb%2f%5C%5c", "/a%2Fb%2f%5C%5c", "/a/b/"),
            ("/a%2F..%2fb", "/a%2F..%2fb", "/a%2F..%2fb", "/b"),
            ("/a%5C..%5c%2e%2e/b", "/a%5C..%5c../b", "/a%5C..%5c../b", "/b"),
            ("/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a"),
            ("/%255C", "/%255C", "/%255C", "/%255C"),
            ("/a%20b%C3%a9", "/a%20b%C3%a9", "/a%20b%C3%a9", "/a%20b%C3%a9"),
            ("/{a}|\"<>^`", "/%7Ba%7D%7C%22%3C%3E%5E%60", "/%7Ba%7D%7C%22%3C%3E%5E%60", "/%7Ba%7D%7C%22%3C%3E%5E%60"),
            ("/a;b=c,d:@!$&'()*+[]", "/a;b=c,d:@!$&'()*+[]", "/a;b=c,d:@!$&'()*+[]", "/a;b=c,d:@!$&'()*+[]"),
            ("/a/..?/../x", "/?/../x", "/?/../x", "/?/../x"),
            ("/a%3Fb?c", "/a%3Fb?c", "/a%3Fb?c", "/a%3Fb?c"),
        ] {
            assert_eq!(normal(target, Off), target);
            for (mode, expected) in [(Base, base), (MergeSlashes, merged), (DecodeAndMergeSlashes, decoded)] {
                assert_eq!(normal(target, mode), expected, "{target} {mode:?}");
                assert_eq!(normal(expected, mode), expected, "{target} {mode:?} twice");
            }
        }
    }

    #[test]
    fn refused() {
        for target in ["", "a", "**", "/a#b", "/a?b#c", "/a b", "/a\0", "/\u{e9}", "http://a/", "/\x7f", "?"] {
            for mode in [Off, Base, MergeSlashes, DecodeAndMergeSlashes] {
                assert_eq!(normalize_path(target.as_bytes(), mode), Err(Refused::PATH_NORMALIZATION), "{target:?}");
            }
        }
        for target in ["/%", "/%4", "/%zz", "/%4g", "/a%00b", "/%u0041", "/%?20"] {
            assert_eq!(normalize_path(target.as_bytes(), Off), Ok(PathOutcome::Unchanged), "{target}");
            for mode in [Base, MergeSlashes, DecodeAndMergeSlashes] {
                assert_eq!(normalize_path(target.as_bytes(), mode), Err(Refused::PATH_NORMALIZATION), "{target}");
            }
        }
    }
}
