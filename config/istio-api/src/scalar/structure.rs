//! Objects of any fields: what a plugin is configured with.

use plugin_config::{At, FromNode, Node, ReadNode};
use serde_json::{Map, Value};

/// A JSON object of any fields (protobuf's `Struct`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Structure(pub Map<String, Value>);

impl ReadNode for Structure {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        match value(node, at) {
            Value::Object(fields) => self.0 = fields,
            _ => at.refuse(node, "expected an object"),
        }
    }
}

fn value(node: &Node<'_>, at: &mut At) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(*value),
        Node::Number(number) => serde_json::from_str(&number.to_string()).unwrap_or_else(|_| {
            at.refuse(number, "expected a number that a double can hold");
            Value::Null
        }),
        Node::String(text) => Value::String(text.as_ref().to_owned()),
        Node::List(items) => {
            let items = items.iter().enumerate();
            Value::Array(items.map(|(i, item)| at.index(i, |at| value(item, at))).collect())
        }
        Node::Object(fields) => {
            let fields = fields.iter();
            Value::Object(fields.map(|(key, field)| (key.to_string(), at.key(key, |at| value(field, at)))).collect())
        }
    }
}

impl FromNode for Structure {}

impl serde::Serialize for Structure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
