//! The key of a client: in a header, a cookie, a query parameter, or its address.

use crate::config::{Cookie, HashKey, Sticky};
use filter_api::{HostError, Stream, header_name};
use http_match::split_target;
use plugin_config::{At, Quoted};

/// Where the key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Header(Box<str>),
    Cookie { name: String, set: Option<String> },
    Address,
    QueryParam(String),
}

/// A key found, or made for a client that had none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Found(Vec<u8>),
    /// With the `set-cookie` that gives it to the client.
    Made(Vec<u8>, Vec<u8>),
    Missing,
}

impl Source {
    pub(crate) fn sticky(written: &Sticky, at: &mut At) -> Option<Self> {
        match (&written.header, &written.cookie) {
            (Some(header), None) => at.field("header", |at| header_source(header, at)),
            (None, Some(cookie)) => at.field("cookie", |at| cookie_source(cookie, at)),
            _ => at.fault("{}", "expected exactly one of header, cookie"),
        }
    }

    pub(crate) fn hash(written: &HashKey, at: &mut At) -> Option<Self> {
        match (
            &written.http_header_name,
            &written.http_cookie,
            written.use_source_ip,
            &written.http_query_parameter_name,
        ) {
            (Some(header), None, false, None) => at.field("httpHeaderName", |at| header_source(header, at)),
            (None, Some(cookie), false, None) => at.field("httpCookie", |at| cookie_source(cookie, at)),
            (None, None, true, None) => Some(Self::Address),
            (None, None, false, Some(name)) if !name.is_empty() => Some(Self::QueryParam(name.clone())),
            _ => {
                at.fault("{}", "expected exactly one of httpHeaderName, httpCookie, useAddress, httpQueryParameterName")
            }
        }
    }

    /// The key of a request.
    pub(crate) fn find(&self, stream: &mut Stream<'_>) -> Result<Key, HostError> {
        let found = match self {
            Source::Header(name) => stream.request_header(name)?,
            Source::Cookie { name, set } => {
                let headers = stream.request_headers()?;
                let value = headers.values("cookie").find_map(|cookies| cookie(cookies, name)).map(<[u8]>::to_vec);
                match value {
                    Some(value) => Some(value),
                    None => return made(set.as_deref(), name, stream),
                }
            }
            Source::Address => stream.property(&["source", "address"])?.map(without_port),
            Source::QueryParam(name) => {
                let target = stream.request_header(":path")?.unwrap_or_default();
                let (_, query) = split_target(&target);
                query.and_then(|query| parameter(query, name)).map(<[u8]>::to_vec)
            }
        };
        Ok(found.map_or(Key::Missing, Key::Found))
    }
}

fn made(set: Option<&str>, name: &str, stream: &mut Stream<'_>) -> Result<Key, HostError> {
    let Some(attributes) = set else {
        return Ok(Key::Missing);
    };
    let value = hex(stream.root().random()?);
    let cookie = format!("{name}=\"{value}\"{attributes}; HttpOnly");
    Ok(Key::Made(value.into_bytes(), cookie.into_bytes()))
}

/// Sixteen digits.
pub(crate) fn hex(number: u64) -> String {
    format!("{number:016x}")
}

fn header_source(name: &str, at: &mut At) -> Option<Source> {
    match header_name(name) {
        Some(name) => Some(Source::Header(name)),
        None => at.fault(Quoted(name), "expected a header name"),
    }
}

fn cookie_source(cookie: &Cookie, at: &mut At) -> Option<Source> {
    if header_name(&cookie.name).is_none() || cookie.name.starts_with(':') {
        return at.field("name", |at| at.fault(Quoted(&cookie.name), "expected the name of a cookie"));
    }
    let path = cookie.path.as_deref().unwrap_or_default();
    if path.bytes().any(|byte| byte == b';' || byte.is_ascii_control()) {
        return at
            .field("path", |at| at.fault(Quoted(path), "a cookie's path has no semicolon and no control character"));
    }
    let set = cookie.ttl.map(|ttl| {
        let mut attributes = String::new();
        if !ttl.0.is_zero() {
            attributes.push_str(&format!("; Max-Age={}", ttl.0.as_secs()));
        }
        if !path.is_empty() {
            attributes.push_str("; Path=");
            attributes.push_str(path);
        }
        attributes
    });
    Some(Source::Cookie { name: cookie.name.clone(), set })
}

/// The value of a cookie in a `cookie` header, without quotes around it.
fn cookie<'c>(cookies: &'c [u8], name: &str) -> Option<&'c [u8]> {
    cookies.split(|&byte| byte == b';').find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

fn parameter<'q>(query: &'q [u8], name: &str) -> Option<&'q [u8]> {
    query.split(|&byte| byte == b'&').find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

fn without_port(mut address: Vec<u8>) -> Vec<u8> {
    if let Some(colon) = address.iter().rposition(|&byte| byte == b':') {
        address.truncate(colon);
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let cases = [
            ("a=1; session=x", Some("x")),
            ("session=\"x y\"", Some("x y")),
            ("mysession=x", None),
            ("session", None),
            ("session=; a=1", Some("")),
        ];
        for (cookies, expected) in cases {
            assert_eq!(cookie(cookies.as_bytes(), "session"), expected.map(str::as_bytes), "{cookies}");
        }
    }

    #[test]
    fn a_cookie_that_is_set_has_envoys_attributes() {
        let set = |json: &str| {
            let cookie: Cookie = plugin_config::from_slice(json.as_bytes()).unwrap();
            match cookie_source(&cookie, &mut At::root()) {
                Some(Source::Cookie { set, .. }) => set,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(set(r#"{"name": "c", "ttl": "60s", "path": "/x"}"#).unwrap(), "; Max-Age=60; Path=/x");
        assert_eq!(set(r#"{"name": "c", "ttl": "0s"}"#).unwrap(), "");
        assert_eq!(set(r#"{"name": "c", "path": "/"}"#), None);
    }

    #[test]
    fn addresses_lose_their_port() {
        assert_eq!(without_port(b"10.0.0.1:1234".to_vec()), b"10.0.0.1");
        assert_eq!(without_port(b"[::1]:80".to_vec()), b"[::1]");
    }
}
