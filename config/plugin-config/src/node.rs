//! A JSON document as a tree that keeps the order of its fields and borrows its texts.
//!
//! A general-purpose tree would lose duplicate keys silently, round numbers, and copy every string; 10,000 policies must
//! fit in a guest's memory while they are compiled.

use crate::{Number, Quoted};
use std::borrow::Cow;
use std::fmt;

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    /// `null`: read like an absent field, as protobuf's JSON mapping does.
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Any number.
    Number(Number<'a>),
    /// A string.
    String(Cow<'a, str>),
    /// A list.
    List(Vec<Node<'a>>),
    /// An object, fields in document order. Keys are unique.
    Object(Fields<'a>),
}

/// The fields of an object.
pub type Fields<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

impl<'a> Node<'a> {
    /// The field `name` of an object; `None` when this is no object or has no such field.
    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        match self {
            Node::Object(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// As JSON, for error messages.
impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Null => f.write_str("null"),
            Node::Bool(true) => f.write_str("true"),
            Node::Bool(false) => f.write_str("false"),
            Node::Number(number) => number.fmt(f),
            Node::String(value) => Quoted(value).fmt(f),
            Node::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    f.write_str(if i > 0 { "," } else { "" })?;
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Node::Object(fields) => {
                f.write_str("{")?;
                for (i, (key, value)) in fields.iter().enumerate() {
                    f.write_str(if i > 0 { "," } else { "" })?;
                    Quoted(key).fmt(f)?;
                    f.write_str(":")?;
                    value.fmt(f)?;
                }
                f.write_str("}")
            }
        }
    }
}
