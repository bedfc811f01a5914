//! Headers that must not pass: what belongs to one connection, and what only the proxy itself may say.
//! Runs before anything reads the headers, so that no filter and no route trusts a client's word.

use http_match::HeaderList;

use crate::http::refused::Refused;
use crate::http::syntax::{elements, is_token};

/// Most elements that all Connection fields of a request may have together; Envoy's limit.
const NOMINATIONS: usize = 10;

/// Whether a header belongs to one connection (RFC 9110 section 7.6.1, RFC 9113 section 8.2.2): it is never passed
/// on, and is malformed in HTTP/2. `te` is decided by its value and not among them. Lower-case names.
pub fn is_connection_specific(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" | b"http2-settings"
    )
}

/// The protocol of the first Upgrade field: what goes on to the upstream of a request that may upgrade. To be read
/// before the headers are stripped.
pub fn upgrade_token(headers: &HeaderList) -> Option<&[u8]> {
    headers.get("upgrade").filter(|value| !value.is_empty())
}

/// Removes from a client's request what no client may say: the fields its Connection nominates, connection-specific
/// ones (Transfer-Encoding among them, as Envoy does: framing is a matter of each hop), `te` but for exactly
/// `trailers`, `x-envoy-*`, `x-outrigger-*` and `x-forwarded-client-cert`; and `expect`, which this proxy has met
/// itself. Pseudo-headers stay.
///
/// # Errors
/// 400 when Connection nominates Host, framing, forwarding or control headers, names a pseudo-header or anything
/// else that is no token, or has more than ten elements.
pub fn strip_client_headers(headers: &mut HeaderList) -> Result<(), Refused> {
    let nominated = nominations(headers)?;
    headers.retain(|name, value| {
        if nominated.is_empty() && !may_be_stripped(name) {
            return true;
        }
        let kept = match name {
            b"te" => value == b"trailers",
            b"x-forwarded-client-cert" | b"expect" => false,
            _ => !is_connection_specific(name) && !is_control(name),
        };
        kept && !is_nominated(&nominated, name)
    });
    Ok(())
}

/// Whether a name begins as one does that must not pass: most do not, and then nothing else is compared.
fn may_be_stripped(name: &[u8]) -> bool {
    matches!(name, [b'c' | b'e' | b'h' | b'k' | b'p' | b't' | b'u', ..] | [b'x', b'-', b'e' | b'f' | b'o', ..])
}

/// Removes from trailers what must not be merged into the head or would be read as if it were: RFC 9110 section
/// 6.5.1. Requests and responses alike.
pub fn strip_trailers(trailers: &mut HeaderList) {
    trailers.retain(|name, _| {
        !is_head_only(name) && !is_connection_specific(name) && !is_forwarding(name) && !is_control(name)
    });
}

/// Removes from an upstream's response what belongs to its connection: connection-specific fields, `te`, and what
/// its Connection nominates, but for the framing, which the parser has judged. Content-Length stays: it is the
/// length that a response to HEAD would have.
pub fn strip_hop_by_hop_response(headers: &mut HeaderList) {
    let mut nominated = Vec::new();
    for element in headers.values("connection").flat_map(elements).take(NOMINATIONS) {
        nominate(&mut nominated, element);
    }
    headers.retain(|name, _| {
        if nominated.is_empty() && !may_be_stripped(name) {
            return true;
        }
        let kept = matches!(name, b"content-length" | [b':', ..]) || !is_nominated(&nominated, name);
        kept && name != b"te" && !is_connection_specific(name)
    });
}

/// Names that Connection nominates, beyond those that go in any case: nearly always none, and then nothing is
/// allocated.
fn nominations(headers: &HeaderList) -> Result<Vec<Box<[u8]>>, Refused> {
    let mut nominated = Vec::new();
    for (count, element) in headers.values("connection").flat_map(elements).enumerate() {
        if count >= NOMINATIONS || !is_token(element) || is_needed(element) {
            return Err(Refused::CONNECTION_HEADER);
        }
        nominate(&mut nominated, element);
    }
    Ok(nominated)
}

fn nominate(nominated: &mut Vec<Box<[u8]>>, element: &[u8]) {
    let lower = element.to_ascii_lowercase();
    // `te: trailers` is what Connection has to nominate for it to be sent at all.
    if !matches!(lower.as_slice(), b"close" | b"te") && !is_connection_specific(&lower) {
        nominated.push(lower.into());
    }
}

fn is_nominated(nominated: &[Box<[u8]>], name: &[u8]) -> bool {
    nominated.iter().any(|nominated| **nominated == *name)
}

/// What the proxy, its filters and the framing rely on: a client that could have it removed could hide where a
/// request comes from. Any case.
fn is_needed(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    let framing = matches!(lower.as_slice(), b"host" | b"content-length" | b"transfer-encoding");
    framing || is_forwarding(&lower) || is_control(&lower)
}

/// Where a request came from, by the proxies before this one.
fn is_forwarding(name: &[u8]) -> bool {
    name == b"forwarded" || name.starts_with(b"x-forwarded-")
}

/// What steers the proxy.
fn is_control(name: &[u8]) -> bool {
    name.starts_with(b"x-envoy-") || name.starts_with(b"x-outrigger-")
}

/// What has a meaning in a head only: routing, framing and form of the content, authentication, cookies, controls of
/// the request, and what identifies it.
#[rustfmt::skip] // By kind, one to a line or two.
fn is_head_only(name: &[u8]) -> bool {
    matches!(
        name,
        b"" | [b':', ..] | b"host" | b"te" | b"via" | b"max-forwards" | b"x-real-ip" | b"x-request-id"
        | b"content-length" | b"content-encoding" | b"content-type" | b"content-range" | b"trailer"
        | b"authorization" | b"proxy-authorization" | b"proxy-authenticate" | b"www-authenticate"
        | b"authentication-info" | b"proxy-authentication-info" | b"cookie" | b"set-cookie"
        | b"expect" | b"range" | b"cache-control" | b"pragma"
        | b"age" | b"date" | b"expires" | b"location" | b"retry-after" | b"vary" | b"warning"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(headers: &HeaderList) -> Vec<String> {
        headers.iter().map(|(name, _)| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    #[test]
    fn of_a_client() {
        let mut headers: HeaderList = [
            (":authority", "a"),
            (":path", "/"),
            (":method", "GET"),
            ("connection", "Keep-Alive, X-Hop, ,te"),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("http2-settings", "AAA"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("te", "gzip, trailers"),
            ("te", "Trailers"),
            ("x-hop", "1"),
            ("x-hops", "1"),
            ("x-envoy-retry-on", "5xx"),
            ("x-envoy-", ""),
            ("x-envoyage", "1"),
            ("x-outrigger-tenant", "t"),
            ("x-forwarded-client-cert", "By=spiffe://a"),
            ("x-forwarded-for", "10.0.0.1"),
            ("content-length", "3"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("cookie", "a"),
        ]
        .into_iter()
        .collect();
        assert_eq!(upgrade_token(&headers), Some(&b"websocket"[..]));
        assert_eq!(strip_client_headers(&mut headers), Ok(()));
        assert_eq!(
            names(&headers),
            [
                ":authority",
                ":path",
                ":method",
                "te",
                "x-hops",
                "x-envoyage",
                "x-forwarded-for",
                "content-length",
                "proxy-authorization",
                "cookie"
            ]
        );
        assert_eq!(headers.get("te"), Some(&b"trailers"[..]));
        assert_eq!(upgrade_token(&headers), None);
    }

    #[test]
    fn connection_that_nominates_too_much() {
        for value in [
            "host",
            "Host",
            "close, content-length",
            "Transfer-Encoding",
            ":path",
            ":authority",
            "x-forwarded-for",
            "X-Forwarded-Proto",
            "x-forwarded-client-cert",
            "forwarded",
            "x-envoy-internal",
            "x-outrigger-a",
            "a b",
            "a;b",
            "\"a\"",
            "a,b,c,d,e,f,g,h,i,j,k",
        ] {
            let mut headers: HeaderList = [("a", "1"), ("connection", value)].into_iter().collect();
            let before = headers.clone();
            assert_eq!(strip_client_headers(&mut headers), Err(Refused::CONNECTION_HEADER), "{value}");
            assert_eq!(headers, before);
        }
        let mut headers: HeaderList = [("connection", "a,b,c,d,e"), ("connection", "f,g,h,i,j")].into_iter().collect();
        assert_eq!(strip_client_headers(&mut headers), Ok(()));
        headers = [("connection", "a,b,c,d,e"), ("connection", "f,g,h,i,j,k")].into_iter().collect();
        assert_eq!(strip_client_headers(&mut headers), Err(Refused::CONNECTION_HEADER));
    }

    #[test]
    fn of_trailers() {
        let dropped = [
            ":status",
            ":path",
            "host",
            "content-length",
            "transfer-encoding",
            "trailer",
            "te",
            "connection",
            "keep-alive",
            "upgrade",
            "proxy-connection",
            "http2-settings",
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "www-authenticate",
            "x-forwarded-for",
            "x-forwarded-client-cert",
            "forwarded",
            "x-envoy-retry-on",
            "x-outrigger-x",
            "content-type",
            "content-encoding",
            "expect",
            "cache-control",
            "x-real-ip",
            "",
        ];
        let kept = ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-checksum", "etag", "server-timing"];
        let mut trailers: HeaderList = dropped.iter().chain(&kept).map(|name| (*name, "1")).collect();
        strip_trailers(&mut trailers);
        assert_eq!(names(&trailers), kept);
    }

    #[test]
    fn of_a_response() {
        let mut headers: HeaderList = [
            (":status", "200"),
            ("connection", "close, X-Hop, content-length, bad token, :status"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("content-length", "4"),
            ("x-hop", "1"),
            ("x-envoy-upstream-service-time", "3"),
            ("set-cookie", "a"),
        ]
        .into_iter()
        .collect();
        strip_hop_by_hop_response(&mut headers);
        assert_eq!(names(&headers), [":status", "content-length", "x-envoy-upstream-service-time", "set-cookie"]);
    }
}
