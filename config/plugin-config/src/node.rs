//! A JSON document as a tree that keeps the order of its fields and borrows its strings.
//!
//! `serde_json::Value` would lose duplicate keys silently and copy every string; 10,000 policies must fit in a
//! guest's memory while they are compiled.

use crate::{Faults, Quoted};
use rustc_hash::FxHashSet;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    /// `null`: read like an absent field, as protobuf's JSON mapping does.
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Any number. Istio's `pluginConfig` is a protobuf `Struct`, whose numbers are all doubles.
    Number(f64),
    /// A string.
    String(Cow<'a, str>),
    /// A list.
    List(Vec<Node<'a>>),
    /// An object, fields in document order. Keys are unique.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Parses a document; an empty one is `{}`.
pub(crate) fn parse(json: &[u8]) -> Result<Node<'_>, Faults> {
    if json.iter().all(u8::is_ascii_whitespace) {
        return Ok(Node::Object(Vec::new()));
    }
    serde_json::from_slice(json).map_err(|error| {
        // Envoy hands a `Struct` over as a serialised message, whose first byte is the tag of its first field.
        let hint = match json {
            [0x0A, second, ..] if !matches!(second, b'{' | b' ' | b'\n') => {
                " (it looks like a protobuf message: in Envoy give the configuration as a google.protobuf.StringValue)"
            }
            _ => "",
        };
        Faults::whole(format!("not a JSON document: {error}{hint}"))
    })
}

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
            Node::Bool(value) => write!(f, "{value}"),
            Node::Number(value) => write_number(*value, f),
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
                    write!(f, "{}:{value}", Quoted(key))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Six decimals at most. (Formatting any double exactly would link 20 KB into every module.)
fn write_number(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let magnitude = value.abs();
    if magnitude >= 1e15 {
        return f.write_str("a number beyond 10^15");
    }
    // In range: below 2^53 with room to spare.
    let (whole, millionths) = (magnitude.trunc() as u64, (magnitude.fract() * 1e6).round() as u64);
    f.write_str(if value < 0.0 { "-" } else { "" })?;
    write!(f, "{whole}")?;
    if millionths == 0 {
        return Ok(());
    }
    let digits = format!("{millionths:06}");
    write!(f, ".{}", digits.trim_end_matches('0'))
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// A key, borrowed where the text has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(NodeVisitor)? {
            Node::String(key) => Ok(Key(key)),
            _ => Err(D::Error::custom("a key must be a string")),
        }
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Node::String(Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Node::String(Cow::Borrowed(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        items.shrink_to_fit();
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Vec<(Cow<'de, str>, Node<'de>)> = Vec::with_capacity(1);
        while let Some((Key(key), value)) = map.next_entry()? {
            fields.push((key, value));
        }
        if let Some(key) = duplicate(&fields) {
            return Err(A::Error::custom(format_args!("duplicate key {}", Quoted(key))));
        }
        fields.shrink_to_fit();
        Ok(Node::Object(fields))
    }
}

/// A key that occurs twice. By a set, because a map of 10,000 routes is an ordinary configuration.
fn duplicate<'n>(fields: &'n [(Cow<'_, str>, Node<'_>)]) -> Option<&'n str> {
    const FEW: usize = 32;
    let mut keys = fields.iter().map(|(key, _)| key.as_ref());
    if fields.len() <= FEW {
        let before = |i: usize| fields.iter().take(i).map(|(key, _)| key.as_ref());
        return keys.enumerate().find_map(|(i, key)| before(i).any(|earlier| earlier == key).then_some(key));
    }
    let mut seen = FxHashSet::default();
    keys.find(|key| !seen.insert(*key))
}
