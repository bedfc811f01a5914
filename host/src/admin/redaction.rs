//! What of a configuration is not for everyone who can reach the admin port: environment variables, and what is named
//! or looks like a secret in the configuration of plugins.

use serde_json::{Map, Value};

/// Stands for a secret.
const REDACTED: &str = "[redacted]";

/// Parts of names that say their value is a secret.
const SECRET: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "credential",
    "authorization",
    "cookie",
    "hmackey",
];

/// Names in which such a part says something else.
const PUBLIC: [&str; 5] = ["tokentype", "tokenlocation", "tokenendpoint", "fromcookies", "httpcookie"];

/// Members of a JSON Web Key that are not for everyone: a shared key, and those of a private one (RFC 7518).
const KEY_MEMBERS: [&str; 7] = ["k", "d", "p", "q", "dp", "dq", "qi"];

/// Replaces secrets by a mark.
pub(super) fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => redact_object(fields),
        Value::Array(values) => values.iter_mut().for_each(redact),
        Value::String(text) => redact_text(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn redact_object(fields: &mut Map<String, Value>) {
    let is_key = fields.contains_key("kty");
    for (name, value) in fields.iter_mut() {
        if name == "environment" {
            redact_environment(value);
        } else if (is_secret(name) && !value.is_boolean() && !value.is_null())
            || (is_key && KEY_MEMBERS.contains(&name.as_str()))
        {
            redact_all(value);
        } else {
            redact(value);
        }
    }
}

/// Names stay, values go.
fn redact_environment(value: &mut Value) {
    let Value::Array(pairs) = value else { return redact_all(value) };
    for pair in pairs {
        match pair {
            Value::Array(pair) => pair.iter_mut().skip(1).for_each(redact_all),
            other => redact_all(other),
        }
    }
}

/// The shape stays, so that it can be seen that something is there.
fn redact_all(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(redact_all),
        Value::Object(fields) => fields.values_mut().for_each(redact_all),
        _ => *value = REDACTED.into(),
    }
}

fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SECRET.iter().any(|part| plain.contains(part)) && !PUBLIC.iter().any(|part| plain.contains(part))
}

/// A text may be JSON itself, hold a private key, or a URL with a password.
fn redact_text(text: &mut String) {
    if text.starts_with(['{', '['])
        && let Ok(mut inner) = serde_json::from_str::<Value>(text)
    {
        let before = inner.clone();
        redact(&mut inner);
        if inner != before {
            *text = inner.to_string();
        }
        return;
    }
    if text.contains("PRIVATE KEY-----") {
        REDACTED.clone_into(text);
    } else if let Some(user) = user_of_url(text) {
        text.replace_range(user, REDACTED);
    }
}

/// Where `user:password` stands in `scheme://user:password@host`.
fn user_of_url(text: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find("://")? + 3;
    let authority = text.get(start..)?.split(['/', '?', '#']).next()?;
    let end = authority.rfind('@').filter(|end| authority.get(..*end).is_some_and(|user| user.contains(':')))?;
    Some(start..start + end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_by_name_shape_and_place() {
        let mut value = json!({
            "environment": [["HOME", "/root"], ["API", "x"]],
            "configuration": {
                "clientSecret": "s3cret", "api_key": "k", "tokens": ["a", { "b": 1 }], "useTokens": true,
                "tokenType": "Bearer", "httpCookie": { "name": "user" }, "issuer": "https://idp.test",
                "jwks": { "keys": [{ "kty": "oct", "k": "c2VjcmV0", "kid": "1" }, { "kty": "RSA", "n": "AQAB", "d": "x" }] },
                "upstream": "https://user:pa:ss@host.test/path@x?y", "plain": "http://host.test/a:b@c",
                "pem": "-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----",
                "certificate": "-----BEGIN CERTIFICATE-----\nx",
                "text": "{\"password\": \"p\", \"n\": 1}", "list": "[{\"secret\": 1}]", "untouched": "{\"n\":  1}",
            },
        });
        redact(&mut value);
        assert_eq!(
            value,
            json!({
                "environment": [["HOME", REDACTED], ["API", REDACTED]],
                "configuration": {
                    "clientSecret": REDACTED, "api_key": REDACTED, "tokens": [REDACTED, { "b": REDACTED }], "useTokens": true,
                    "tokenType": "Bearer", "httpCookie": { "name": "user" }, "issuer": "https://idp.test",
                    "jwks": { "keys": [{ "kty": "oct", "k": REDACTED, "kid": "1" }, { "kty": "RSA", "n": "AQAB", "d": REDACTED }] },
                    "upstream": "https://[redacted]@host.test/path@x?y", "plain": "http://host.test/a:b@c",
                    "pem": REDACTED, "certificate": "-----BEGIN CERTIFICATE-----\nx",
                    "text": "{\"n\":1,\"password\":\"[redacted]\"}", "list": "[{\"secret\":\"[redacted]\"}]", "untouched": "{\"n\":  1}",
                },
            })
        );
    }
}
