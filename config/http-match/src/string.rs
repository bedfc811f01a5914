//! Istio's StringMatch: as written, and compiled.

use crate::Regex;
use plugin_config::{At, FromNode, Node, ReadNode, read};

/// Istio's `StringMatch` as written: `{exact: a}`, `{prefix: a}`, `{regex: a}`, or `{}` for presence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StringMatch {
    /// The whole value.
    Exact(String),
    /// What the value starts with.
    Prefix(String),
    /// An RE2 expression for the whole value.
    Regex(String),
    /// Any value at all, an empty one too: headers and query parameters only.
    #[default]
    Present,
}

impl ReadNode for StringMatch {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let fields = match node {
            Node::Null => return,
            Node::Object(fields) => fields,
            other => return at.refuse(other, "expected an object with one of exact, prefix, regex"),
        };
        let [(kind, value)] = fields.as_slice() else {
            if !fields.is_empty() {
                at.refuse(node, "expected exactly one of exact, prefix, regex");
            }
            return;
        };
        let matching: fn(String) -> Self = match kind.as_ref() {
            "exact" => Self::Exact,
            "prefix" => Self::Prefix,
            "regex" => Self::Regex,
            _ => return at.refuse(node, "expected exactly one of exact, prefix, regex"),
        };
        *self = matching(at.key(kind, |at| read(value, at)));
    }
}

impl FromNode for StringMatch {}

#[cfg(not(target_family = "wasm"))]
impl serde::Serialize for StringMatch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(match self {
            Self::Exact(value) => Some(("exact", value)),
            Self::Prefix(value) => Some(("prefix", value)),
            Self::Regex(value) => Some(("regex", value)),
            Self::Present => None,
        })
    }
}

/// What a `StringMatch` is applied to, where that changes what may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The path: an empty prefix is allowed, and case can be ignored.
    Uri {
        /// `ignoreUriCase`: exact and prefix only, as Istio has it.
        ignore_case: bool,
    },
    /// Method, scheme, authority, origins: a value is always there, so presence says nothing.
    Value,
    /// Headers and query parameters: presence can be asked for.
    Named,
}

/// A compiled `StringMatch`. Values are bytes.
#[derive(Debug)]
pub enum StringMatcher {
    /// The whole value.
    Exact(Box<[u8]>),
    /// The whole value, ASCII case ignored.
    ExactIgnoringCase(Box<[u8]>),
    /// What the value starts with.
    Prefix(Box<[u8]>),
    /// What the value starts with, ASCII case ignored.
    PrefixIgnoringCase(Box<[u8]>),
    /// An expression for the whole value.
    Regex(Regex),
    /// Any value.
    Present,
}

impl StringMatcher {
    /// Compiles; faults are recorded in `at`.
    pub fn compile(written: &StringMatch, place: Place, at: &mut At) -> Option<Self> {
        let ignore_case = place == Place::Uri { ignore_case: true };
        let bytes = |text: &String| text.as_bytes().into();
        match written {
            StringMatch::Exact(text) if ignore_case => Some(Self::ExactIgnoringCase(bytes(text))),
            StringMatch::Exact(text) => Some(Self::Exact(bytes(text))),
            StringMatch::Prefix(text) if text.is_empty() && !matches!(place, Place::Uri { .. }) => {
                at.field("prefix", |at| at.fault("\"\"", "an empty prefix matches everything: leave the condition out"))
            }
            StringMatch::Prefix(text) if ignore_case => Some(Self::PrefixIgnoringCase(bytes(text))),
            StringMatch::Prefix(text) => Some(Self::Prefix(bytes(text))),
            StringMatch::Regex(text) if text == "*" && place == Place::Named => Some(Self::Present),
            StringMatch::Regex(text) => at.field("regex", |at| Regex::compile(text, at)).map(Self::Regex),
            StringMatch::Present if place == Place::Named => Some(Self::Present),
            StringMatch::Present => at.fault("{}", "expected one of exact, prefix, regex"),
        }
    }

    /// Whether a value matches.
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => **text == *value,
            Self::ExactIgnoringCase(text) => text.eq_ignore_ascii_case(value),
            Self::Prefix(text) => value.starts_with(text),
            Self::PrefixIgnoringCase(text) => {
                value.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text))
            }
            Self::Regex(regex) => regex.is_full_match(value),
            Self::Present => true,
        }
    }

    /// What an index can look up for it: for an expression, the plain text that it starts with.
    pub fn key(&self) -> Option<crate::Key> {
        match self {
            Self::Exact(text) => Some(crate::Key::Exact(text.clone())),
            Self::Prefix(text) => Some(crate::Key::Prefix(text.clone())),
            Self::Regex(regex) if !regex.literal_prefix().is_empty() => {
                Some(crate::Key::Prefix(regex.literal_prefix().into()))
            }
            _ => None,
        }
    }
}
