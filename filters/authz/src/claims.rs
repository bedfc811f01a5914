//! Verified token claims and other dynamic metadata, with their types: a number never equals a string.

use crate::wire::{self, Malformed};
use plugin_config::Node;

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

impl From<&Node<'_>> for Value {
    fn from(node: &Node<'_>) -> Self {
        match node {
            Node::String(text) => Value::Text(text.as_ref().to_owned()),
            Node::List(items) => Value::List(items.iter().map(Self::from).collect()),
            Node::Object(fields) => {
                Value::Object(fields.iter().map(|(key, value)| (key.as_ref().to_owned(), Self::from(value))).collect())
            }
            Node::Null | Node::Bool(_) | Node::Number(_) => Value::Other,
        }
    }
}

/// The claims of a token's payload (JSON), as our own token filter hands them over.
///
/// # Errors
/// When they are not a JSON object.
pub(crate) fn from_json(payload: &[u8]) -> Result<Value, &'static str> {
    match plugin_config::parse(payload) {
        Ok(claims @ Node::Object(_)) => Ok(Value::from(&claims)),
        _ => Err("the token's payload is not a JSON object"),
    }
}

/// All dynamic metadata of a stream, by filter.
///
/// # Errors
/// When they are not an encoded `envoy.config.core.v3.Metadata`.
pub(crate) fn from_metadata(message: &[u8]) -> Result<Value, &'static str> {
    object(message, DEEPEST).map_err(|_| "the stream's metadata cannot be decoded")
}

/// How deep metadata may nest: as deep as protobuf's own readers go.
const DEEPEST: u8 = 100;

/// A message whose field 1 is a map: `envoy.config.core.v3.Metadata`, the outermost, of `google.protobuf.Struct`s; and
/// those of `google.protobuf.Value`s.
fn object(message: &[u8], depth: u8) -> Result<Value, Malformed> {
    let mut fields = Vec::new();
    wire::read(message, &mut |number, entry| {
        if number == 1 {
            let (mut key, mut value) = (String::new(), Value::Other);
            wire::read(entry.bytes(), &mut |number, part| {
                match number {
                    1 => key = wire::text(part.bytes())?,
                    2 if depth == DEEPEST => value = object(part.bytes(), depth - 1)?,
                    2 => value = self::value(part.bytes(), depth)?,
                    _ => {}
                }
                Ok(())
            })?;
            fields.push((key, value));
        }
        Ok(())
    })?;
    // The later entry of a key is the one that counts, as in every protobuf map: so it stands first.
    fields.reverse();
    Ok(Value::Object(fields))
}

/// `google.protobuf.Value`: numbers, truth values and null have fields 1, 2 and 4, which no policy can match.
fn value(message: &[u8], depth: u8) -> Result<Value, Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed)?;
    let mut value = Value::Other;
    wire::read(message, &mut |number, part| {
        value = match number {
            3 => Value::Text(wire::text(part.bytes())?),
            5 => object(part.bytes(), depth)?,
            6 => list(part.bytes(), depth)?,
            _ => Value::Other,
        };
        Ok(())
    })?;
    Ok(value)
}

/// `google.protobuf.ListValue`
fn list(message: &[u8], depth: u8) -> Result<Value, Malformed> {
    let mut items = Vec::new();
    wire::read(message, &mut |number, item| {
        if number == 1 {
            items.push(value(item.bytes(), depth)?);
        }
        Ok(())
    })?;
    Ok(Value::List(items))
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
