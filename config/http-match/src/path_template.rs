//! Path templates of AuthorizationPolicy: `/users/{*}/files/{**}`.

use plugin_config::{At, Quoted};

/// A path template. `{*}` is one segment of at least one character; `{**}` any rest, slashes included, possibly empty,
/// behind its own slash; only fixed text may follow `{**}`. Matches whole paths, in one pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    /// What stands before `{**}`, or all of it: literals, with one segment between each two.
    head: Vec<Box<[u8]>>,
    /// What stands after `{**}`, where there is one.
    tail: Option<Box<[u8]>>,
}

impl PathTemplate {
    /// Reads a template; what Istio's validation refuses is a fault in `at`.
    pub fn parse(text: &str, at: &mut At) -> Option<Self> {
        if let Some(reason) = unusable(text) {
            return at.fault(Quoted(text), reason);
        }
        let mut template = Self { head: Vec::new(), tail: None };
        let (mut literal, mut ended) = (Vec::new(), false);
        for segment in text.split('/').skip(1) {
            literal.push(b'/');
            match segment {
                "{*}" | "{**}" => template.head.push(std::mem::take(&mut literal).into()),
                text => literal.extend_from_slice(text.as_bytes()),
            }
            ended |= segment == "{**}";
        }
        if ended {
            template.tail = Some(literal.into());
        } else {
            template.head.push(literal.into());
        }
        Some(template)
    }

    /// Whether a whole path matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut rest = path;
        for (i, literal) in self.head.iter().enumerate() {
            if i > 0 {
                let Some(after) = skip_segment(rest) else { return false };
                rest = after;
            }
            let Some(after) = rest.strip_prefix(&**literal) else { return false };
            rest = after;
        }
        match &self.tail {
            None => rest.is_empty(),
            Some(tail) => rest
                .strip_suffix(&**tail)
                .is_some_and(|middle| middle.iter().all(|&byte| byte == b'/' || is_pchar(byte))),
        }
    }

    /// The text before the first operator.
    pub fn literal_prefix(&self) -> &[u8] {
        self.head.first().map_or(&[], |literal| literal)
    }
}

/// Behind one segment of at least one character.
fn skip_segment(path: &[u8]) -> Option<&[u8]> {
    let end = path.iter().position(|&byte| byte == b'/').unwrap_or(path.len());
    let (segment, rest) = path.split_at_checked(end)?;
    (!segment.is_empty() && segment.iter().all(|&byte| is_pchar(byte))).then_some(rest)
}

/// RFC 3986's pchar; an escape counts byte by byte.
fn is_pchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte)
}

fn unusable(text: &str) -> Option<&'static str> {
    let Some(path) = text.strip_prefix('/') else {
        return Some("a path template starts with /");
    };
    let mut ended = false;
    for segment in path.split('/') {
        match segment {
            "{*}" | "{**}" if ended => return Some("{**} must be the last operator"),
            "{*}" => {}
            "{**}" => ended = true,
            literal if literal.contains(['{', '}', '*']) => {
                return Some("{*} and {**} must be whole segments, and *, { and } cannot stand anywhere else");
            }
            literal if !literal.bytes().all(is_pchar) => {
                return Some("a segment has a character that a path cannot have (RFC 3986 pchar)");
            }
            _ => {}
        }
    }
    None
}
