//! `rewrite.uri` and `rewrite.uriRegexRewrite`: the path an upstream sees.

use crate::config::{RegexRewriteConfig, RewriteConfig};
use http_match::{MatchedUri, Regex, Substitution};
use plugin_config::{At, Quoted};

/// A compiled rewrite of the path.
#[derive(Debug)]
pub(crate) enum PathRewrite {
    /// Replaces what the match spoke of.
    Matched(Box<[u8]>),
    /// Replaces every match of an expression.
    Regex(Box<(Regex, Substitution)>),
}

impl PathRewrite {
    /// Compiles the part of a `rewrite` that speaks of the path; `None` inside when none does.
    pub(crate) fn compile(written: &RewriteConfig, at: &mut At) -> Option<Option<Self>> {
        match (&written.uri, &written.uri_regex_rewrite) {
            (Some(_), Some(_)) => at.fault("uri and uriRegexRewrite", "only one of them can be given"),
            (None, None) if written.authority.is_none() => {
                at.fault("{}", "expected at least one of uri, authority, uriRegexRewrite")
            }
            (Some(uri), None) => at.field("uri", |at| compile_path(uri, at)).map(|path| Some(Self::Matched(path))),
            (None, Some(regex)) => at.field("uriRegexRewrite", |at| compile_regex(regex, at)).map(Some),
            (None, None) => Some(None),
        }
    }

    /// The new request target for an old one (`:path`, query included).
    pub(crate) fn target(&self, target: &[u8], matched: MatchedUri) -> Vec<u8> {
        let (path, query) = split_query(target);
        match self {
            Self::Matched(replacement) => replace_matched(replacement, path, query, matched),
            Self::Regex(rewrite) => [&rewrite.0.replace_all(path, &rewrite.1), query].concat(),
        }
    }
}

/// Puts `replacement` where the match spoke of the path; the query stays.
pub(crate) fn replace_matched(replacement: &[u8], path: &[u8], query: &[u8], matched: MatchedUri) -> Vec<u8> {
    let rest = match matched {
        MatchedUri::Whole => b"",
        MatchedUri::Prefix(length) => path.get(length..).unwrap_or_default(),
    };
    [replacement, rest, query].concat()
}

/// Splits before the question mark of the query.
pub(crate) fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    let mark = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
    target.split_at_checked(mark).unwrap_or((target, b""))
}

/// A path that a user gave, to stand at the start of a request target.
pub(crate) fn compile_path(path: &str, at: &mut At) -> Option<Box<[u8]>> {
    if !path.starts_with('/') {
        return at.fault(Quoted(path), "expected a path: it starts with /");
    }
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7F || byte == b'#') {
        return at.fault(Quoted(path), "a path has no blanks, control characters or fragment");
    }
    Some(path.as_bytes().into())
}

fn compile_regex(written: &RegexRewriteConfig, at: &mut At) -> Option<PathRewrite> {
    let regex = at.field("match", |at| Regex::compile(&written.pattern, at));
    let groups = regex.as_ref().map_or(9, Regex::groups);
    let substitution = at.field("rewrite", |at| {
        if written.rewrite.is_empty() {
            return at.fault("\"\"", "expected the text to put in place of each match");
        }
        if written.rewrite.bytes().any(|byte| byte <= b' ' || byte == 0x7F || byte == b'#') {
            return at.fault(Quoted(&written.rewrite), "a path has no blanks, control characters or fragment");
        }
        Substitution::compile(&written.rewrite, groups, at)
    });
    Some(PathRewrite::Regex(Box::new((regex?, substitution?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(written: &RewriteConfig) -> Result<Option<PathRewrite>, Vec<String>> {
        let mut at = At::root();
        PathRewrite::compile(written, &mut at).ok_or_else(|| at.into_faults().iter().map(|f| f.path.clone()).collect())
    }

    fn uri(uri: &str) -> RewriteConfig {
        RewriteConfig { uri: Some(uri.into()), ..RewriteConfig::default() }
    }

    fn regex(pattern: &str, rewrite: &str) -> RewriteConfig {
        let regex = RegexRewriteConfig { pattern: pattern.into(), rewrite: rewrite.into() };
        RewriteConfig { uri_regex_rewrite: Some(regex), ..RewriteConfig::default() }
    }

    #[test]
    fn replaces_what_the_match_spoke_of() {
        let cases = [
            ("/pre", MatchedUri::Prefix(4), "/new", "/pre/x?y=1", "/new/x?y=1"),
            ("/pre", MatchedUri::Prefix(4), "/new", "/prefoo", "/newfoo"),
            ("/root", MatchedUri::Prefix(5), "/", "/root/x", "//x"),
            ("/root", MatchedUri::Prefix(5), "/", "/root", "/"),
            ("no uri", MatchedUri::Prefix(1), "/x", "/a", "/xa"),
            ("exact", MatchedUri::Whole, "/whole", "/a/b?q", "/whole?q"),
            ("a prefix longer than the path", MatchedUri::Prefix(9), "/x", "/a?q", "/x?q"),
        ];
        for (about, matched, replacement, target, expected) in cases {
            let rewrite = compile(&uri(replacement)).unwrap().unwrap();
            assert_eq!(rewrite.target(target.as_bytes(), matched), expected.as_bytes(), "{about} {target}");
        }
    }

    #[test]
    fn replaces_every_match_and_keeps_the_query() {
        let cases = [
            (r"^/(v\d)/api/(.*)$", r"/\2/api/\1", "/v1/api/update?v2", "/update/api/v1?v2"),
            ("a", "b", "/a/a?a", "/b/b?a"),
            ("zzz", "b", "/a?q", "/a?q"),
        ];
        for (pattern, replacement, target, expected) in cases {
            let rewrite = compile(&regex(pattern, replacement)).unwrap().unwrap();
            assert_eq!(rewrite.target(target.as_bytes(), MatchedUri::Whole), expected.as_bytes(), "{pattern} {target}");
        }
        let rewrite = compile(&regex("a", "b")).unwrap().unwrap();
        assert_eq!(rewrite.target(b"/a\xff", MatchedUri::Whole), b"/a\xff", "not UTF-8: no match");
    }

    #[test]
    fn refuses_what_cannot_work() {
        let both = RewriteConfig { uri: Some("/".into()), ..regex("a", "b") };
        assert_eq!(compile(&both).unwrap_err(), ["$"]);
        assert_eq!(compile(&RewriteConfig::default()).unwrap_err(), ["$"]);
        assert_eq!(compile(&uri("x")).unwrap_err(), ["uri"]);
        assert_eq!(compile(&uri("/a b")).unwrap_err(), ["uri"]);
        assert_eq!(compile(&regex("(", "")).unwrap_err(), ["uriRegexRewrite.match", "uriRegexRewrite.rewrite"]);
        assert_eq!(compile(&regex("a", r"\1")).unwrap_err(), ["uriRegexRewrite.rewrite"]);
        let authority = RewriteConfig { authority: Some("a".into()), ..RewriteConfig::default() };
        assert!(compile(&authority).unwrap().is_none());
    }
}
