//! A JSON text → [`Node`].

use crate::keys::Keys;
use crate::node::Fields;
use crate::{Faults, Node, Number, Quoted};
use hifijson::num::LexWrite;
use hifijson::str::LexAlloc;
use hifijson::token::{Expect, Lex};
use hifijson::{SliceLexer, escape, num, str};
use std::borrow::Cow;

/// How deep a document may nest: reading must not exhaust a guest's stack.
const DEEPEST: u8 = 128;

/// Parses a document. An empty one is `{}`: Istio delivers nothing at all for an empty `pluginConfig`.
///
/// # Errors
/// A text that is not JSON: one fault at path `$`.
pub fn parse(json: &[u8]) -> Result<Node<'_>, Faults> {
    if json.iter().all(u8::is_ascii_whitespace) {
        return Ok(Node::Object(Vec::new()));
    }
    let mut lexer = SliceLexer::new(json);
    let parsed = lexer.exactly_one(Lex::ws_peek, |next, lexer| value(next, DEEPEST, lexer));
    parsed.map_err(|Wrong(reason)| {
        let read = json.len().saturating_sub(lexer.as_slice().len());
        let (line, column) = place(json.get(..read).unwrap_or_default());
        let hint = if is_protobuf(json) { PROTOBUF } else { "" };
        Faults::whole(format!("not a JSON document: {reason} at line {line} column {column}{hint}"))
    })
}

const PROTOBUF: &str =
    " (it looks like a protobuf message: in Envoy give the configuration as a google.protobuf.StringValue)";

/// Envoy hands a `Struct` over as a serialised message, whose first byte is the tag of its first field.
fn is_protobuf(json: &[u8]) -> bool {
    matches!(json, [0x0A, second, ..] if !matches!(second, b'{' | b' ' | b'\n'))
}

/// Line and column, from one on, behind what was read.
fn place(read: &[u8]) -> (usize, usize) {
    let line = read.iter().filter(|&&byte| byte == b'\n').count();
    let column = read.iter().rev().take_while(|&&byte| byte != b'\n').count();
    (line + 1, column + 1)
}

/// Why a text is no document.
struct Wrong(Cow<'static, str>);

impl From<&'static str> for Wrong {
    fn from(reason: &'static str) -> Self {
        Self(reason.into())
    }
}

impl From<Expect> for Wrong {
    fn from(expected: Expect) -> Self {
        Self::from(match expected {
            Expect::Value => "expected a value",
            Expect::ValueOrEnd => "expected a value or the end",
            Expect::CommaOrEnd => "expected a comma or the end",
            Expect::String => "a key must be a string",
            Expect::Colon => "expected a colon",
            Expect::Eof => "expected nothing behind the document",
        })
    }
}

impl From<str::Error> for Wrong {
    fn from(error: str::Error) -> Self {
        Self::from(match error {
            str::Error::Control => "a control character in a string must be escaped",
            str::Error::Eof | str::Error::Escape(escape::Error::Eof) => "a string does not end",
            str::Error::Escape(_) => "a string has an escape that is none",
            str::Error::Utf8(_) => "a string is not UTF-8",
        })
    }
}

impl From<num::Error> for Wrong {
    fn from(_: num::Error) -> Self {
        Self::from("expected a digit")
    }
}

fn value<'a>(next: u8, depth: u8, lexer: &mut SliceLexer<'a>) -> Result<Node<'a>, Wrong> {
    match next {
        b'a'..=b'z' => Ok(lexer.null_or_bool().ok_or(Expect::Value)?.map_or(Node::Null, Node::Bool)),
        b'0'..=b'9' | b'-' => {
            let (digits, _) = lexer.num_bytes().validated()?;
            Ok(Node::Number(Number::new(std::str::from_utf8(digits).unwrap_or_default())))
        }
        b'"' => Ok(Node::String(lexer.discarded().str_string()?)),
        b'[' | b'{' => {
            let depth = depth.checked_sub(1).ok_or("recursion limit exceeded: it nests too deeply")?;
            if next == b'[' { list(depth, lexer.discarded()) } else { object(depth, lexer.discarded()) }
        }
        _ => Err(Expect::Value.into()),
    }
}

fn list<'a>(depth: u8, lexer: &mut SliceLexer<'a>) -> Result<Node<'a>, Wrong> {
    let mut items = Vec::new();
    lexer.seq(b']', Lex::ws_peek, |next, lexer| -> Result<(), Wrong> {
        items.push(value(next, depth, lexer)?);
        Ok(())
    })?;
    items.shrink_to_fit();
    Ok(Node::List(items))
}

fn object<'a>(depth: u8, lexer: &mut SliceLexer<'a>) -> Result<Node<'a>, Wrong> {
    let mut fields: Fields<'a> = Vec::with_capacity(1);
    lexer.seq(b'}', Lex::ws_peek, |next, lexer| -> Result<(), Wrong> {
        lexer.expect(|_| Some(next), b'"').ok_or(Expect::String)?;
        let key = lexer.str_string()?;
        lexer.expect(Lex::ws_peek, b':').ok_or(Expect::Colon)?;
        let next = lexer.ws_peek().ok_or(Expect::Value)?;
        fields.push((key, value(next, depth, lexer)?));
        Ok(())
    })?;
    if let Some(key) = duplicate(&fields) {
        return Err(Wrong(format!("duplicate key {}", Quoted(key)).into()));
    }
    fields.shrink_to_fit();
    Ok(Node::Object(fields))
}

/// A key that occurs twice. By a table where there are many: a map of 10,000 routes is an ordinary configuration.
fn duplicate<'n>(fields: &'n Fields<'_>) -> Option<&'n str> {
    const FEW: usize = 16;
    let mut keys = fields.iter().map(|(key, _)| key.as_ref());
    if fields.len() <= FEW {
        let before = |i: usize| fields.iter().take(i).map(|(key, _)| key.as_ref());
        return keys.enumerate().find_map(|(i, key)| before(i).any(|earlier| earlier == key).then_some(key));
    }
    let mut seen = Keys::new();
    keys.find(|key| !seen.insert(0, key.as_bytes()).1)
}
