//! What a filter may have left of a head: checked once more before it is written, so that no filter can split a
//! message or send one without its parts.

use http_match::HeaderList;

use crate::http::authority;
use crate::http::http1::head::HeadLimits;
use crate::http::http1::response::status;
use crate::http::syntax::{decimal, is_field_value, is_lower_token, is_token, is_visible};

/// A head that cannot be sent, and why: for the log, not for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong, as half a sentence.
    pub reason: &'static str,
}

/// Longest method.
const LONGEST_METHOD: usize = 32;

/// Bytes that one field costs beyond its name and value: `: ` and CRLF.
const FIELD_OVERHEAD: usize = 4;

/// Checks a request's head: one `:method`, `:authority` and `:path` each (CONNECT: no `:path`), at most one
/// `:scheme`, no other pseudo-header, names that are lower-case tokens, values without control bytes but TAB,
/// Content-Length at most once and a number, and all within `limits`. The order of headers does not count.
///
/// # Errors
/// The first thing that is wrong.
pub fn request(headers: &HeaderList, limits: &HeadLimits) -> Result<(), Invalid> {
    let mut pseudo = Request::default();
    check_fields(headers, limits, |name, value| {
        let slot = match name {
            b":method" => &mut pseudo.method,
            b":authority" => &mut pseudo.authority,
            b":path" => &mut pseudo.path,
            b":scheme" => &mut pseudo.scheme,
            _ => return Err(invalid("a pseudo-header that requests do not have")),
        };
        set(slot, value)
    })?;
    pseudo.check(limits)
}

/// Checks a final response's head, as [`request`]: one `:status`, 200 to 599 or 101, and no other pseudo-header.
/// Returns the status.
///
/// # Errors
/// The first thing that is wrong.
pub fn response(headers: &HeaderList, limits: &HeadLimits) -> Result<u16, Invalid> {
    let mut found = None;
    check_fields(headers, limits, |name, value| match name {
        b":status" => set(&mut found, value),
        _ => Err(invalid("a pseudo-header that responses do not have")),
    })?;
    let status = found.and_then(status).ok_or(invalid("no :status of three digits"))?;
    match status {
        101 | 200..=599 => Ok(status),
        _ => Err(invalid("an interim :status in a final response")),
    }
}

/// Checks trailers: as the fields of a head, and no pseudo-header at all.
///
/// # Errors
/// The first thing that is wrong.
pub fn trailers(trailers: &HeaderList, limits: &HeadLimits) -> Result<(), Invalid> {
    check_fields(trailers, limits, |_, _| Err(invalid("a pseudo-header in trailers")))
}

/// Whether a filter may write this header: the name is a token in any case or one of the five pseudo-headers of
/// RFC 9113, and the value has no control bytes but TAB.
pub fn name_and_value(name: &[u8], value: &[u8]) -> bool {
    let known = is_token(name) || matches!(name, b":method" | b":authority" | b":path" | b":scheme" | b":status");
    known && is_field_value(value)
}

#[derive(Default)]
struct Request<'l> {
    method: Option<&'l [u8]>,
    authority: Option<&'l [u8]>,
    path: Option<&'l [u8]>,
    scheme: Option<&'l [u8]>,
}

impl Request<'_> {
    fn check(&self, limits: &HeadLimits) -> Result<(), Invalid> {
        let method = self.method.filter(|method| is_token(method) && method.len() <= LONGEST_METHOD);
        let method = method.ok_or(invalid("no :method that is a token"))?;
        if !self.authority.is_some_and(authority::is_valid) {
            return Err(invalid("no :authority that is host or host:port"));
        }
        if !matches!(self.scheme, None | Some(b"http" | b"https")) {
            return Err(invalid("a :scheme other than http and https"));
        }
        match (method, self.path) {
            (b"CONNECT", None) => Ok(()),
            (b"CONNECT", Some(_)) => Err(invalid("a :path in CONNECT")),
            (b"OPTIONS", Some(b"*")) => Ok(()),
            (_, Some(path)) if path.len() > limits.target => Err(invalid("a :path beyond its limit")),
            (_, Some(path @ [b'/', ..])) if is_visible(path) && !path.contains(&b'#') => Ok(()),
            _ => Err(invalid("no :path that starts with a slash and is visible ASCII")),
        }
    }
}

fn check_fields<'l>(
    headers: &'l HeaderList,
    limits: &HeadLimits,
    mut pseudo: impl FnMut(&'l [u8], &'l [u8]) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    let (mut bytes, mut fields, mut length) = (0_usize, 0, None);
    for (name, value) in headers.iter() {
        bytes = bytes.saturating_add(name.len() + value.len() + FIELD_OVERHEAD);
        if name.starts_with(b":") {
            pseudo(name, value)?;
            continue;
        }
        fields += 1;
        if !is_lower_token(name) {
            return Err(invalid("a name that is no lower-case token"));
        }
        if !is_field_value(value) {
            return Err(invalid("a control byte in a value"));
        }
        if name == b"content-length" {
            set(&mut length, value)?;
            decimal(value).ok_or(invalid("a content-length that is no number"))?;
        }
    }
    if bytes > limits.bytes {
        return Err(invalid("more bytes than a head may have"));
    }
    if fields > limits.fields { Err(invalid("more fields than a head may have")) } else { Ok(()) }
}

fn set<'l>(slot: &mut Option<&'l [u8]>, value: &'l [u8]) -> Result<(), Invalid> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid("a header twice that may be there once")),
    }
}

const fn invalid(reason: &'static str) -> Invalid {
    Invalid { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 200, fields: 3, target: 20 };

    fn list(text: &str) -> HeaderList {
        let pairs = text.split('|').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap()).collect()
    }

    #[test]
    fn requests() {
        for text in [
            ":method=GET|:authority=a|:path=/",
            "x-a=1|:path=/p?q|:scheme=https|:authority=a:8080|:method=x-custom",
            ":method=OPTIONS|:authority=a|:path=*",
            ":method=CONNECT|:authority=a:443",
            ":method=POST|:authority=[::1]|:path=/|content-length=18446744073709551615|x=\u{e9}\t",
            ":method=GET|:authority=a|:path=/1234567890123456789",
        ] {
            assert_eq!(request(&list(text), &LIMITS), Ok(()), "{text}");
        }
        let get = ":method=GET|:authority=a|:path=/|";
        for (text, reason) in [
            ("", "no :method that is a token"),
            (":authority=a|:path=/", "no :method that is a token"),
            (":method=|:authority=a|:path=/", "no :method that is a token"),
            (":method=G T|:authority=a|:path=/", "no :method that is a token"),
            (":method=GET|:path=/", "no :authority that is host or host:port"),
            (":method=GET|:authority=|:path=/", "no :authority that is host or host:port"),
            (":method=GET|:authority=a b|:path=/", "no :authority that is host or host:port"),
            (":method=GET|:authority=a\r\nx: y|:path=/", "no :authority that is host or host:port"),
            (":method=GET|:authority=a", "no :path that starts with a slash and is visible ASCII"),
            (":method=GET|:authority=a|:path=", "no :path that starts with a slash and is visible ASCII"),
            (":method=GET|:authority=a|:path=a", "no :path that starts with a slash and is visible ASCII"),
            (":method=GET|:authority=a|:path=*", "no :path that starts with a slash and is visible ASCII"),
            (":method=GET|:authority=a|:path=/ HTTP/1.1\r\n", "no :path that starts with a slash and is visible ASCII"),
            (":method=GET|:authority=a|:path=/#f", "no :path that starts with a slash and is visible ASCII"),
            (":method=GET|:authority=a|:path=/12345678901234567890", "a :path beyond its limit"),
            (":method=CONNECT|:authority=a:1|:path=/", "a :path in CONNECT"),
            (":method=GET|:authority=a|:path=/|:path=/b", "a header twice that may be there once"),
            (&format!("{get}:method=GET"), "a header twice that may be there once"),
            (&format!("{get}:status=200"), "a pseudo-header that requests do not have"),
            (&format!("{get}:protocol=websocket"), "a pseudo-header that requests do not have"),
            (&format!("{get}:=x"), "a pseudo-header that requests do not have"),
            (&format!("{get}:scheme=ftp"), "a :scheme other than http and https"),
            (&format!("{get}=x"), "a name that is no lower-case token"),
            (&format!("{get}a b=x"), "a name that is no lower-case token"),
            (&format!("{get}a:b=x"), "a name that is no lower-case token"),
            (&format!("{get}a\r\nb=x"), "a name that is no lower-case token"),
            (&format!("{get}a=x\r\ny: z"), "a control byte in a value"),
            (&format!("{get}a=x\0"), "a control byte in a value"),
            (&format!("{get}a=\u{7f}"), "a control byte in a value"),
            (&format!("{get}content-length=+1"), "a content-length that is no number"),
            (&format!("{get}content-length=1|content-length=1"), "a header twice that may be there once"),
            (&format!("{get}a=1|b=2|c=3|d=4"), "more fields than a head may have"),
            (&format!("{get}a={}", "x".repeat(200)), "more bytes than a head may have"),
        ] {
            assert_eq!(request(&list(text), &LIMITS), Err(Invalid { reason }), "{text:?}");
        }
    }

    #[test]
    fn an_upper_case_name_from_a_foreign_buffer() {
        let entry = |name, value| http_match::Entry { name, value };
        let bytes = b":method:authority:pathGETa/X".to_vec();
        let pseudo = [entry((0, 7), (22, 25)), entry((7, 17), (25, 26)), entry((17, 22), (26, 27))];
        let mut entries = pseudo.to_vec();
        assert_eq!(request(&HeaderList::from_parts(bytes.clone(), entries.clone()), &LIMITS), Ok(()));
        entries.push(entry((27, 28), (0, 0)));
        let list = HeaderList::from_parts(bytes, entries);
        assert_eq!(request(&list, &LIMITS), Err(Invalid { reason: "a name that is no lower-case token" }));
    }

    #[test]
    fn responses_and_trailers() {
        for (text, expected) in [
            (":status=200|a=b", Ok(200)),
            ("a=b|:status=599", Ok(599)),
            (":status=101", Ok(101)),
            (":status=100", Err("an interim :status in a final response")),
            (":status=103", Err("an interim :status in a final response")),
            (":status=600", Err("no :status of three digits")),
            (":status=099", Err("no :status of three digits")),
            (":status=20", Err("no :status of three digits")),
            (":status=0200", Err("no :status of three digits")),
            (":status=abc", Err("no :status of three digits")),
            (":status=", Err("no :status of three digits")),
            ("a=b", Err("no :status of three digits")),
            (":status=200|:status=200", Err("a header twice that may be there once")),
            (":status=200|:path=/", Err("a pseudo-header that responses do not have")),
            (":status=200|a=\n", Err("a control byte in a value")),
        ] {
            assert_eq!(response(&list(text), &LIMITS).map_err(|invalid| invalid.reason), expected, "{text:?}");
        }
        assert_eq!(trailers(&list("grpc-status=0"), &LIMITS), Ok(()));
        assert_eq!(trailers(&list(":status=200"), &LIMITS), Err(Invalid { reason: "a pseudo-header in trailers" }));
    }

    #[test]
    fn what_a_filter_writes() {
        for (name, value, allowed) in [
            ("x-a", "1", true),
            ("X-A", "", true),
            (":path", "/", true),
            (":status", "200", true),
            (":protocol", "websocket", false),
            ("", "1", false),
            ("a b", "1", false),
            ("a\r\n", "1", false),
            ("a", "1\r\nb: 2", false),
            ("a", "\0", false),
            ("a", "\t\u{e9}", true),
        ] {
            assert_eq!(name_and_value(name.as_bytes(), value.as_bytes()), allowed, "{name:?} {value:?}");
        }
    }
}
