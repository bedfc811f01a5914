//! Claims as headers that later filters match.

use crate::claims::output_header;
use crate::config::{ClaimHeader, Config};
use plugin_config::{At, Node};

/// Which headers have which claims, level by level.
#[derive(Debug, Default)]
pub(crate) struct ClaimHeaders(Vec<(Box<str>, Vec<Box<str>>)>);

impl ClaimHeaders {
    /// What a configuration says about them; faults are recorded in `at`.
    pub(crate) fn of(written: &[ClaimHeader], at: &mut At) -> Self {
        let mut all = Vec::with_capacity(written.len());
        for (i, one) in written.iter().enumerate() {
            at.index(i, |at| {
                if one.claim.is_empty() || one.claim.iter().any(String::is_empty) {
                    at.field("claim", |at| at.refuse(format!("{:?}", one.claim), "expected names that are not empty"));
                }
                let name = at.field("header", |at| output_header(&one.header, at));
                let claim = one.claim.iter().map(|name| name.as_str().into()).collect();
                all.extend(name.map(|name| (name, claim)));
            });
        }
        Self(all)
    }

    /// The names of the headers, which no client may set.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// The headers of some claims: a text as it is, a list as one header for each text in it.
    pub(crate) fn of_claims(&self, claims: &Node<'_>) -> Vec<(Box<str>, Vec<u8>)> {
        let mut headers = Vec::new();
        for (name, path) in &self.0 {
            match path.iter().try_fold(claims, |value, level| value.get(level)) {
                Some(Node::String(text)) => headers.push((name.clone(), visible(text))),
                Some(Node::List(items)) => {
                    let texts = items.iter().filter_map(|item| match item {
                        Node::String(text) => Some((name.clone(), visible(text))),
                        _ => None,
                    });
                    headers.extend(texts);
                }
                _ => {}
            }
        }
        headers
    }
}

/// The headers that a configuration leaves of a good token's claims (JSON); none of claims that are no object.
pub fn claim_headers(config: &Config, claims: &[u8]) -> Vec<(String, Vec<u8>)> {
    let headers = ClaimHeaders::of(&config.claim_headers, &mut At::root());
    let claims = plugin_config::parse(claims).unwrap_or(Node::Null);
    headers.of_claims(&claims).into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// What cannot be in a header is percent-encoded: left out, a condition that the claim must not be so would hold.
fn visible(text: &str) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'\t' => value.push(byte),
            _ if byte.is_ascii_control() => value.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            _ => value.push(byte),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_lists_of_texts() {
        let header = |header: &str, claim: &[&str]| ClaimHeader {
            header: header.to_owned(),
            claim: claim.iter().map(|level| (*level).to_owned()).collect(),
        };
        let headers = vec![header("X-A", &["a"]), header("x-b", &["b", "c.d"]), header("x-n", &["n"])];
        let config = Config { claim_headers: headers, ..Config::default() };
        let left = |claims: &str| -> Vec<String> {
            let headers = claim_headers(&config, claims.as_bytes());
            headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect()
        };
        assert_eq!(
            left(r#"{"a": "x", "b": {"c.d": ["y", 1, "z\r\n"]}, "n": 3}"#),
            ["x-a: x", "x-b: y", "x-b: z%0D%0A"]
        );
        assert_eq!(left(r#"{"a": {"b": "x"}, "b": "y"}"#), [""; 0]);
        assert_eq!(left("[]"), [""; 0]);
    }
}
