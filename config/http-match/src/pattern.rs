//! AuthorizationPolicy's strings: a value, or one with a star at its start or its end.

use crate::{Key, PathTemplate};
use plugin_config::At;

/// A pattern of an AuthorizationPolicy: `abc`, `abc*`, `*abc`, `*`. A leading star wins over a trailing one; a star
/// anywhere else is a character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringPattern {
    /// The whole value.
    Exact(Box<[u8]>),
    /// What it starts with.
    Prefix(Box<[u8]>),
    /// What it ends with.
    Suffix(Box<[u8]>),
    /// `*`: any value.
    Present,
}

impl StringPattern {
    /// Reads a pattern; every text is one.
    pub fn parse(text: &str) -> Self {
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(""), _) => Self::Present,
            (Some(suffix), _) => Self::Suffix(suffix.as_bytes().into()),
            (None, Some(prefix)) => Self::Prefix(prefix.as_bytes().into()),
            (None, None) => Self::Exact(text.as_bytes().into()),
        }
    }

    /// Whether a value matches. `*` takes an empty value only if `empty_is_present`: headers, methods and hosts; not
    /// paths, principals, claims and SNI.
    pub fn matches(&self, value: &[u8], empty_is_present: bool) -> bool {
        match self {
            Self::Exact(text) => **text == *value,
            Self::Prefix(text) => value.starts_with(text),
            Self::Suffix(text) => value.ends_with(text),
            Self::Present => empty_is_present || !value.is_empty(),
        }
    }

    /// What an index can look up for it; none for `*`.
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::Exact(text) => Some(Key::Exact(text.clone())),
            Self::Prefix(text) => Some(Key::Prefix(text.clone())),
            Self::Suffix(text) => Some(Key::Suffix(text.clone())),
            Self::Present => None,
        }
    }
}

/// `hosts`: a pattern without case, over the authority as sent, port included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(StringPattern);

impl HostPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Self {
        Self(StringPattern::parse(&text.to_ascii_lowercase()))
    }

    /// Whether an authority in lower case matches.
    pub fn matches_lower(&self, authority: &[u8]) -> bool {
        self.0.matches(authority, true)
    }

    /// What an index of lower-case authorities can look up for it.
    pub fn key(&self) -> Option<Key> {
        self.0.key()
    }
}

/// `paths`: a pattern, or a template where the text has `{*}` or `{**}`; over the path without query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// `/a`, `/a*`, `*/a`, `*`
    String(StringPattern),
    /// `/a/{*}/b/{**}`
    Template(PathTemplate),
}

impl PathPattern {
    /// Reads a pattern. A bad template is a fault in `at`, and a brace elsewhere too, as Istio's validation has it: it
    /// is a template gone wrong, and proxies escape braces in paths.
    pub fn parse(text: &str, at: &mut At) -> Option<Self> {
        if text.contains(['{', '}']) {
            return PathTemplate::parse(text, at).map(Self::Template);
        }
        Some(Self::String(StringPattern::parse(text)))
    }

    /// Whether a path matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::String(pattern) => pattern.matches(path, false),
            Self::Template(template) => template.matches(path),
        }
    }

    /// What an index of paths can look up for it: for a template, the text before its first operator.
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::String(pattern) => pattern.key(),
            Self::Template(template) => Some(Key::Prefix(template.literal_prefix().into())),
        }
    }
}
