//! What a verified token leaves behind: its claims for `authz`, and headers for the upstream.

use crate::claim_headers::ClaimHeaders;
use crate::config::Provider;
use crate::token::{Token, object};
use base64ct::{Base64, Encoding};
use http_match::header_name;
use plugin_config::{At, Node, Quoted};
use std::borrow::Cow;

/// The claims that are always lists of words, as Istio has them (RFC 8693, 4.2).
const SPACE_DELIMITED: [&str; 2] = ["scope", "permission"];

/// What a provider wants of a verified token.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// The header that gets the payload.
    payload: Option<Box<str>>,
    /// Headers that get claims, each with the claim's path.
    claims: Vec<(Box<str>, Vec<Box<str>>)>,
    space_delimited: Vec<Box<str>>,
}

/// What a verified token leaves behind.
#[derive(Debug, PartialEq)]
pub(crate) struct Left {
    /// The payload (JSON) in which claims of words are lists of them.
    pub(crate) claims: Vec<u8>,
    /// Headers for the upstream.
    pub(crate) headers: Vec<(Box<str>, Vec<u8>)>,
    /// Headers for later filters.
    pub(crate) claim_headers: Vec<(Box<str>, Vec<u8>)>,
}

impl Outputs {
    /// What a provider says about it; faults are recorded in `at`.
    pub(crate) fn of(provider: &Provider, at: &mut At) -> Self {
        let payload = provider.output_payload_to_header.as_ref();
        let payload = payload.and_then(|name| at.field("outputPayloadToHeader", |at| output_header(name, at)));
        let mut claims = Vec::new();
        at.field("outputClaimToHeaders", |at| {
            for (i, output) in provider.output_claim_to_headers.iter().enumerate() {
                at.index(i, |at| {
                    if output.claim.is_empty() {
                        at.field("claim", |at| at.refuse("\"\"", "must not be empty"));
                    }
                    let name = at.field("header", |at| output_header(&output.header, at));
                    let path = output.claim.split('.').map(Box::from).collect();
                    claims.extend(name.map(|name| (name, path)));
                });
            }
        });
        let own = provider.space_delimited_claims.iter().map(String::as_str);
        let space_delimited = SPACE_DELIMITED.into_iter().chain(own).map(Box::from).collect();
        Self { payload, claims, space_delimited }
    }

    /// The names of the headers, which no client may set.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &str> {
        self.payload.iter().chain(self.claims.iter().map(|(name, _)| name)).map(AsRef::as_ref)
    }

    /// What a verified token leaves behind.
    pub(crate) fn left_by(&self, token: &Token<'_>, claim_headers: &ClaimHeaders) -> Option<Left> {
        let payload = object(&token.payload)?;
        let mut headers = Vec::with_capacity(self.claims.len() + 1);
        if let Some(name) = &self.payload {
            let text = token.payload_text;
            let bare = text.iter().position(|&byte| byte == b'=').and_then(|end| text.get(..end)).unwrap_or(text);
            headers.push((name.clone(), bare.to_vec()));
        }
        for (name, path) in &self.claims {
            let claim = path.iter().try_fold(&payload, |value, name| value.get(name));
            let text = claim.and_then(header_value).filter(|text| can_be_sent(text));
            headers.extend(text.map(|text| (name.clone(), text.into_bytes())));
        }
        let claims = self.with_words(payload);
        let claim_headers = claim_headers.of_claims(&claims);
        Some(Left { claims: claims.to_string().into_bytes(), headers, claim_headers })
    }

    /// The payload, in which claims of words are lists of them. A text of nothing but spaces stays what it is.
    fn with_words<'p>(&self, payload: Node<'p>) -> Node<'p> {
        let Node::Object(mut claims) = payload else {
            return payload;
        };
        for (name, value) in &mut claims {
            let Node::String(text) = &*value else {
                continue;
            };
            if self.space_delimited.iter().any(|delimited| **delimited == **name) {
                let words = text.split(' ').filter(|word| !word.is_empty());
                let words: Vec<Node<'_>> = words.map(|word| Node::String(Cow::Owned(word.to_owned()))).collect();
                if !words.is_empty() {
                    *value = Node::List(words);
                }
            }
        }
        Node::Object(claims)
    }
}

/// A name that a plugin may give a header: not one by which messages are framed or routed.
pub(crate) fn output_header(name: &str, at: &mut At) -> Option<Box<str>> {
    const FRAMING: [&str; 5] = ["connection", "content-length", "host", "transfer-encoding", "upgrade"];
    match header_name(name).filter(|name| !name.starts_with(':') && !FRAMING.contains(&&**name)) {
        Some(name) => Some(name),
        None => at.fault(Quoted(name), "expected a header name, and none that frames messages"),
    }
}

/// A claim as the text of a header, as Envoy writes it: numbers that are whole and not negative in digits, others with
/// six decimals; lists and objects as their JSON in padded base64. `None` for null and for an empty text.
fn header_value(claim: &Node<'_>) -> Option<String> {
    let text = match claim {
        Node::Null => return None,
        Node::Bool(value) => value.to_string(),
        Node::String(text) => text.as_ref().to_owned(),
        Node::Number(number) => {
            let value: f64 = number.to_string().parse().ok().filter(|value: &f64| value.is_finite())?;
            let whole = value >= 0.0 && value < 2f64.powi(64) && value.fract() == 0.0;
            // A double has its own idea of a number beyond 2^53; it is what Envoy's users get.
            if whole { format!("{value:.0}") } else { format!("{value:.6}") }
        }
        Node::List(_) | Node::Object(_) => Base64::encode_string(claim.to_string().as_bytes()),
    };
    (!text.is_empty()).then_some(text)
}

/// Whether a text can be a header: one with a line break would be two.
fn can_be_sent(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_as_headers() {
        for (json, text) in [
            ("3", Some("3")),
            ("0", Some("0")),
            ("1.5", Some("1.500000")),
            ("-3", Some("-3.000000")),
            ("1e-7", Some("0.000000")),
            ("12345678901234567890", Some("12345678901234567168")),
            ("1e30", Some("1000000000000000019884624838656.000000")),
            ("1e400", None),
            ("true", Some("true")),
            ("null", None),
            ("\"\"", None),
            ("\"a b\"", Some("a b")),
            ("[\"x\",\"y\",1]", Some("WyJ4IiwieSIsMV0=")),
            ("{\"a\":{\"b\":\"deep\"}}", Some("eyJhIjp7ImIiOiJkZWVwIn19")),
        ] {
            let node = plugin_config::parse(json.as_bytes()).unwrap();
            assert_eq!(header_value(&node).as_deref(), text, "{json}");
        }
        assert!(can_be_sent("a\tb é") && !can_be_sent("a\r\nx-admin: 1") && !can_be_sent("\0") && !can_be_sent("\x7f"));
    }

    #[test]
    fn words_are_lists() {
        let outputs = Outputs { space_delimited: ["scope", "o.k"].map(Box::from).to_vec(), ..Outputs::default() };
        let words = |json: &str| outputs.with_words(plugin_config::parse(json.as_bytes()).unwrap()).to_string();
        assert_eq!(words(r#"{"scope": "  a  b ", "x": "c d"}"#), r#"{"scope":["a","b"],"x":"c d"}"#);
        assert_eq!(words(r#"{"scope": " ", "o.k": "p"}"#), r#"{"scope":" ","o.k":["p"]}"#);
        assert_eq!(words(r#"{"scope": ["a b"], "o": {"k": "a b"}}"#), r#"{"scope":["a b"],"o":{"k":"a b"}}"#);
    }
}
