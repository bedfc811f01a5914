//! Verified token claims and other dynamic metadata, with their types: a number never equals a string.

use plugin_config::{At, FromNode, Node};
use prost::Message;

/// A value as the token or the metadata has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// Named values.
    Object(Vec<(String, Value)>),
    /// A number, a truth value or null, none of which a policy can match.
    Other,
}

impl Value {
    /// The value below this one at a path of names.
    pub(crate) fn at<S: AsRef<str>>(&self, path: &[S]) -> Option<&Value> {
        path.iter().try_fold(self, |value, name| match value {
            Value::Object(fields) => fields.iter().find(|(key, _)| key == name.as_ref()).map(|(_, value)| value),
            _ => None,
        })
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether `test` holds for the text or, of a list, for one of the texts in it.
    pub(crate) fn any_text(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        match self {
            Value::Text(text) => test(text),
            other => other.any_item(test),
        }
    }

    /// Whether it is a list and `test` holds for one of the texts in it.
    pub(crate) fn any_item(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        match self {
            Value::List(items) => items.iter().filter_map(Value::text).any(test),
            _ => false,
        }
    }
}

impl FromNode for Value {
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
        Some(match node {
            Node::String(text) => Value::Text(text.clone().into_owned()),
            Node::List(items) => Value::List(items.iter().filter_map(|item| Self::from_node(item, at)).collect()),
            Node::Object(fields) => Value::Object(
                fields
                    .iter()
                    .filter_map(|(key, value)| Some((key.clone().into_owned(), Self::from_node(value, at)?)))
                    .collect(),
            ),
            Node::Null | Node::Bool(_) | Node::Number(_) => Value::Other,
        })
    }
}

/// The claims of a token's payload (JSON), as our own token filter hands them over.
///
/// # Errors
/// When they are not a JSON object.
pub(crate) fn from_json(payload: &[u8]) -> Result<Value, &'static str> {
    match plugin_config::from_slice::<Value>(payload) {
        Ok(claims @ Value::Object(_)) => Ok(claims),
        _ => Err("the token's payload is not a JSON object"),
    }
}

/// All dynamic metadata of a stream, by filter.
///
/// # Errors
/// When they are not an encoded `envoy.config.core.v3.Metadata`.
pub(crate) fn from_metadata(message: &[u8]) -> Result<Value, &'static str> {
    let metadata = Metadata::decode(message).map_err(|_| "the stream's metadata cannot be decoded")?;
    let filters = metadata.filter_metadata.into_iter();
    Ok(Value::Object(filters.map(|entry| (entry.key, object(entry.value.unwrap_or_default().fields))).collect()))
}

/// `envoy.config.core.v3.Metadata`, as far as filters use it. Maps are lists of entries: the same on the wire.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, repeated, tag = "1")]
    filter_metadata: Vec<FilterEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct FilterEntry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ProtoStruct>,
}

/// `google.protobuf.Struct`
#[derive(Clone, PartialEq, Message)]
struct ProtoStruct {
    #[prost(message, repeated, tag = "1")]
    fields: Vec<FieldEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldEntry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ProtoValue>,
}

/// `google.protobuf.Value`: numbers, truth values and null have fields 1, 2 and 4, which nobody reads.
#[derive(Clone, PartialEq, Message)]
struct ProtoValue {
    #[prost(oneof = "Kind", tags = "3, 5, 6")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(message, tag = "5")]
    Struct(ProtoStruct),
    #[prost(message, tag = "6")]
    List(ProtoList),
}

/// `google.protobuf.ListValue`
#[derive(Clone, PartialEq, Message)]
struct ProtoList {
    #[prost(message, repeated, tag = "1")]
    values: Vec<ProtoValue>,
}

/// A later entry of the same key is the one that counts, as in every protobuf map: so it stands first.
fn object(entries: Vec<FieldEntry>) -> Value {
    let field = |entry: FieldEntry| (entry.key, entry.value.map_or(Value::Other, value));
    Value::Object(entries.into_iter().rev().map(field).collect())
}

fn value(value: ProtoValue) -> Value {
    match value.kind {
        Some(Kind::Text(text)) => Value::Text(text),
        Some(Kind::Struct(fields)) => object(fields.fields),
        Some(Kind::List(list)) => Value::List(list.values.into_iter().map(self::value).collect()),
        None => Value::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: Option<&Value>) -> Vec<String> {
        let mut texts = Vec::new();
        value.unwrap().any_text(&mut |text| {
            texts.push(text.to_owned());
            false
        });
        texts
    }

    #[test]
    fn json_keeps_types_and_literal_names() {
        let claims = from_json(br#"{"iss": "i", "n": 3, "aud": ["a", 1, "b"], "https://x/r": {"a.b": "c"}}"#).unwrap();
        assert_eq!(claims.at(&["iss"]).and_then(Value::text), Some("i"));
        assert_eq!(claims.at(&["n"]), Some(&Value::Other));
        assert_eq!(texts(claims.at(&["aud"])), ["a", "b"]);
        assert_eq!(claims.at(&["https://x/r", "a.b"]).and_then(Value::text), Some("c"));
        assert_eq!(claims.at(&["https://x/r", "a", "b"]), None);
        for payload in ["", "[]", "\"x\"", "{\"a\":1,\"a\":2}", "{"] {
            let read = from_json(payload.as_bytes());
            assert!(payload.is_empty() || read.is_err(), "{payload}");
        }
    }

    #[test]
    fn metadata_as_envoy_encodes_them() {
        // As read in stock Envoy: payload {iss: i, n: 3, l: [a, 2, true], o: {k: v}}
        let message = b"\n{\n\x1cenvoy.filters.http.jwt_authn\x12[\nY\n\x07payload\x12N*L\n\x1b\n\x01l\x12\x162\x14\n\x03\
            \x1a\x01a\n\t\x11\x00\x00\x00\x00\x00\x00\x00@\n\x02 \x01\n\n\n\x03iss\x12\x03\x1a\x01i\n\x11\n\x01o\x12\x0c*\
            \n\n\x08\n\x01k\x12\x03\x1a\x01v\n\x0e\n\x01n\x12\t\x11\x00\x00\x00\x00\x00\x00\x08@";
        let metadata = from_metadata(message).unwrap();
        let payload = metadata.at(&["envoy.filters.http.jwt_authn", "payload"]).unwrap();
        assert_eq!(payload.at(&["iss"]).and_then(Value::text), Some("i"));
        assert_eq!(payload.at(&["n"]), Some(&Value::Other));
        assert_eq!(texts(payload.at(&["l"])), ["a"]);
        assert!(!payload.at(&["iss"]).unwrap().any_item(&mut |_| true));
        assert_eq!(payload.at(&["o", "k"]).and_then(Value::text), Some("v"));
        assert!(from_metadata(b"\x0a\xff").is_err());
    }
}
