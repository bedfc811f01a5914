//! `directResponse`, and the reply of a rule.

use crate::config::{BodyConfig, DirectResponseConfig, ReplyConfig};
use filter_api::{LocalReply, header_name};
use plugin_config::{At, ListMap, Quoted};

/// Largest body, in bytes: Istio's limit.
const LARGEST: usize = 1 << 20;

/// Compiles a route's direct response.
pub(crate) fn compile_direct_response(written: &DirectResponseConfig, at: &mut At) -> Option<LocalReply> {
    compile(written.status, &written.body, at)
}

/// Compiles a rule's reply.
pub(crate) fn compile_reply(written: &ReplyConfig, at: &mut At) -> Option<LocalReply> {
    let reply = compile(written.status, &written.body, at);
    let headers = at.field("headers", |at| compile_headers(&written.headers, at));
    Some(LocalReply { headers: headers?, ..reply? })
}

fn compile(status: u16, body: &Option<BodyConfig>, at: &mut At) -> Option<LocalReply> {
    if !(200..=599).contains(&status) {
        at.field("status", |at| at.refuse(status, "expected 200 to 599"));
    }
    let body = at.field("body", |at| match body {
        Some(body) => compile_body(body, at),
        None => Some(Vec::new()),
    });
    Some(LocalReply::new(status, "direct_response").body(body?))
}

fn compile_body(written: &BodyConfig, at: &mut At) -> Option<Vec<u8>> {
    let body = match (&written.string, &written.bytes) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(text)) => match base64(text) {
            Some(bytes) => bytes,
            None => return at.field("bytes", |at| at.fault(Quoted(text), "not base64")),
        },
        _ => return at.fault("body", "expected exactly one of string, bytes"),
    };
    if body.len() > LARGEST {
        return at.fault(format!("{} bytes", body.len()), format!("larger than {LARGEST} bytes"));
    }
    Some(body)
}

fn compile_headers(written: &ListMap<String>, at: &mut At) -> Option<Vec<(String, Vec<u8>)>> {
    let mut headers = Vec::with_capacity(written.len());
    for (name, value) in written.iter() {
        headers.extend(at.key(name, |at| {
            let Some(name) = header_name(name).filter(|name| !name.starts_with(':')) else {
                return at.fault(Quoted(name), "not a header name");
            };
            if value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7F) {
                return at.fault(Quoted(value), "control characters cannot stand in a header");
            }
            Some((name.into_string(), value.clone().into_bytes()))
        }));
    }
    (headers.len() == written.len()).then_some(headers)
}

/// Decodes standard or URL-safe base64, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    if text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.as_bytes().chunks(4) {
        let mut bits: u32 = 0;
        for &digit in group {
            bits = bits << 6 | u32::from(sextet(digit)?);
        }
        // Two digits make one byte, three make two: the bits left over are padding.
        let shifted = bits << (6 * (4 - group.len()));
        bytes.extend(shifted.to_be_bytes().into_iter().skip(1).take(group.len() - 1));
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_base64() {
        let cases: [(&str, Option<&[u8]>); 9] = [
            ("", Some(b"")),
            ("YQ==", Some(b"a")),
            ("YWI=", Some(b"ab")),
            ("YWI", Some(b"ab")),
            ("YWJj", Some(b"abc")),
            ("/+8=", Some(b"\xff\xef")),
            ("_-8", Some(b"\xff\xef")),
            ("Y", None),
            ("Y W=", None),
        ];
        for (text, expected) in cases {
            assert_eq!(base64(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_statuses_bodies_and_headers() {
        let faults = |written: &ReplyConfig| {
            let mut at = At::root();
            let _ = compile_reply(written, &mut at);
            at.into_faults().iter().map(|fault| fault.path.clone()).collect::<Vec<_>>()
        };
        let body = |string: Option<String>, bytes: Option<&str>| BodyConfig { string, bytes: bytes.map(Into::into) };
        let headers = [(":status", "1"), ("a b", "1"), ("x", "\n"), ("ok", "")];
        let written = ReplyConfig {
            status: 199,
            body: Some(body(Some(String::new()), Some(""))),
            headers: headers.into_iter().map(|(name, value)| (name, value.to_owned())).collect(),
        };
        assert_eq!(faults(&written), ["status", "body", "headers[\":status\"]", "headers[\"a b\"]", "headers.x"]);
        for (length, good) in [(LARGEST, true), (LARGEST + 1, false)] {
            let body = Some(body(Some("x".repeat(length)), None));
            assert_eq!(faults(&ReplyConfig { status: 200, body, ..ReplyConfig::default() }).is_empty(), good);
        }
        let written = ReplyConfig { status: 599, body: Some(body(None, Some("!"))), ..ReplyConfig::default() };
        assert_eq!(faults(&written), ["body.bytes"]);
    }
}
