//! Trees of which every key and value has its place.

use granit_parser::Span;
use plugin_config::{Node, Number};
use std::borrow::Cow;
use std::ops::Range;

/// Where something stands in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// From one on.
    pub(crate) line: usize,
    /// In characters, from one on.
    pub(crate) column: usize,
    /// In bytes.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Mark {
    pub(crate) fn new(span: &Span) -> Self {
        let start = span.start.byte_offset().unwrap_or_default();
        let end = span.end.byte_offset().unwrap_or_default();
        Self { line: span.start.line(), column: span.start.col() + 1, start, end: end.max(start) }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// One value of a document.
#[derive(Clone, Debug)]
pub(crate) struct Tree<'t> {
    pub(crate) value: Value<'t>,
    /// Of a list or an object, where its first item stands.
    pub(crate) mark: Mark,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Value<'t> {
    Null,
    Bool(bool),
    /// As JSON writes it.
    Number(Cow<'t, str>),
    Text(Cow<'t, str>),
    List(Vec<Tree<'t>>),
    Object(Vec<Entry<'t>>),
}

/// One entry of an object.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'t> {
    pub(crate) key: Cow<'t, str>,
    pub(crate) mark: Mark,
    pub(crate) value: Tree<'t>,
}

impl Tree<'_> {
    /// As plugin-config's readers take it.
    pub(crate) fn node(&self) -> Node<'_> {
        match &self.value {
            Value::Null => Node::Null,
            Value::Bool(value) => Node::Bool(*value),
            Value::Number(text) => Node::Number(Number::new(text)),
            Value::Text(text) => Node::String(Cow::Borrowed(text)),
            Value::List(items) => Node::List(items.iter().map(Tree::node).collect()),
            Value::Object(entries) => Node::Object(
                entries.iter().map(|entry| (Cow::Borrowed(entry.key.as_ref()), entry.value.node())).collect(),
            ),
        }
    }

    /// What an object has under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Object(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// The text, when it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}
