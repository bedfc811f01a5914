//! Tokens and key sets for cases, made by aws-lc with the test keys beside this file: what the filter verifies by another
//! library was signed by this one.
//!
//! ```text
//! ${jwt RS256 {"iss": "https://issuer.test"}}                 signed with the key that the algorithm has
//! ${jwt RS256 key=rsa2 kid=k1 {"iss": "https://issuer.test"}} with another; with `kid` in its header
//! ${jwt RS256 {"alg": "none"} {"iss": "https://issuer.test"}} with this header
//! ${jwt RS256 "{" "[]"}                                       a text stands for itself, JSON or not
//! ${jwks rsa/kid=k1/alg=RS256 p256}                           a key set
//! ```

mod keys;

use data_encoding::BASE64URL_NOPAD;
use keys::Key;
use serde_json::{Map, Value, json};

/// A text with every `${jwt …}` and `${jwks …}` in it made.
///
/// # Errors
/// What is wrong with one of them.
pub fn expand(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = split_once(rest) {
        out.push_str(before);
        let (made, after) = match after.strip_prefix("jwt ") {
            Some(after) => token(after)?,
            None => key_set(after.strip_prefix("jwks ").unwrap_or(after))?,
        };
        out.push_str(&made);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// What stands before the first of them, and what behind its `${`.
fn split_once(text: &str) -> Option<(&str, &str)> {
    let start = ["${jwt ", "${jwks "].iter().filter_map(|mark| text.find(mark)).min()?;
    Some((&text[..start], &text[start + 2..]))
}

/// A token, and what stands behind it.
fn token(text: &str) -> Result<(String, &str), String> {
    let start = text.find(['{', '"']).ok_or("a token has no claims")?;
    let (words, json) = text.split_at(start);
    let mut words = words.split_whitespace();
    let algorithm = words.next().ok_or("a token has no algorithm")?;
    let mut key = keys::of_algorithm(algorithm).to_owned();
    let mut header = Map::from_iter([("alg".to_owned(), json!(algorithm)), ("typ".to_owned(), json!("JWT"))]);
    for word in words {
        match word.split_once('=') {
            Some(("key", name)) => key = name.to_owned(),
            Some(("kid", id)) => drop(header.insert("kid".to_owned(), json!(id))),
            _ => return Err(format!("a token has the word {word}")),
        }
    }
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    let first = values.next().ok_or("a token has no claims")?.map_err(|error| error.to_string())?;
    let mut end = values.byte_offset();
    // What stands behind is a second value, or the closing brace, which is none.
    let second = values.next().and_then(Result::ok);
    let (header, claims) = match second {
        Some(second) => {
            end = values.byte_offset();
            (first, second)
        }
        None => (Value::Object(header), first),
    };
    let rest = json[end..].trim_start().strip_prefix('}').ok_or("a token does not end with }")?;
    let message = format!("{}.{}", encoded(&header), encoded(&claims));
    let signature = Key::named(&key)?.sign(algorithm, message.as_bytes())?;
    Ok((format!("{message}.{}", BASE64URL_NOPAD.encode(&signature)), rest))
}

fn encoded(part: &Value) -> String {
    let text = part.as_str().map_or_else(|| part.to_string(), str::to_owned);
    BASE64URL_NOPAD.encode(text.as_bytes())
}

/// A key set, and what stands behind it.
fn key_set(text: &str) -> Result<(String, &str), String> {
    let (names, rest) = text.split_once('}').ok_or("a key set does not end with }")?;
    let keys: Result<Vec<Value>, String> = names.split_whitespace().map(public_key).collect();
    Ok((json!({"keys": keys?}).to_string(), rest))
}

/// `name/kid=…/alg=…`
fn public_key(written: &str) -> Result<Value, String> {
    let mut parts = written.split('/');
    let mut key = Key::named(parts.next().unwrap_or_default())?.public()?;
    for part in parts {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("a key has the word {part}"))?;
        key[name] = json!(value);
    }
    Ok(key)
}
