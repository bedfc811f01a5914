//! The copy of a request's headers.

use http_match::HeaderList;

/// Headers of the connection, and of the framing, which belong to whoever sends the copy.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Headers that steer the proxy's router, and must not steer it for the copy.
const CONTROL: [&str; 8] = [
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-max-retries",
    "x-envoy-original-path",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-ms",
];

/// Whether a request is copied at all: tunnels and upgraded connections are no requests with an end.
pub(crate) fn can_be_copied(headers: &HeaderList) -> bool {
    headers.get(":method") != Some(b"CONNECT") && headers.get("upgrade").is_none()
}

/// The headers of a copy: those of the request as the upstream gets them, less what concerns the connection and the
/// proxy itself.
pub(crate) fn headers(request: &HeaderList, shadow_host_suffix: bool) -> HeaderList {
    let mut copy = HeaderList::new();
    for (name, value) in request.iter() {
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        if HOP_BY_HOP.contains(&name) || CONTROL.contains(&name) || name.starts_with("x-outrigger-") {
            continue;
        }
        if shadow_host_suffix && name == ":authority" {
            copy.add(name, &shadow(value));
        } else {
            copy.add(name, value);
        }
    }
    copy
}

/// The authority with `-shadow`, before its port.
fn shadow(authority: &[u8]) -> Vec<u8> {
    let colon = authority.iter().rposition(|&byte| byte == b':');
    let port = colon.filter(|colon| authority.get(colon + 1..).is_some_and(|port| port.iter().all(u8::is_ascii_digit)));
    let (name, port) = authority.split_at_checked(port.unwrap_or(authority.len())).unwrap_or((authority, b""));
    [name, b"-shadow", port].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_the_connection_stays_behind() {
        let request: HeaderList = [
            (":method", "POST"),
            (":path", "/x"),
            (":authority", "h"),
            ("content-length", "3"),
            ("te", "trailers"),
            ("x-outrigger-cluster", "v1"),
            ("x-envoy-retry-on", "5xx"),
            ("x-request-id", "r"),
            ("cookie", "a"),
            ("cookie", "b"),
        ]
        .into_iter()
        .collect();
        let expected: HeaderList = [
            (":method", "POST"),
            (":path", "/x"),
            (":authority", "h"),
            ("x-request-id", "r"),
            ("cookie", "a"),
            ("cookie", "b"),
        ]
        .into_iter()
        .collect();
        assert_eq!(headers(&request, false), expected);
    }

    #[test]
    fn the_suffix_stands_before_the_port() {
        for (authority, expected) in [("h", "h-shadow"), ("h:8080", "h-shadow:8080"), ("[::1]:80", "[::1]-shadow:80")] {
            assert_eq!(shadow(authority.as_bytes()), expected.as_bytes());
        }
    }

    #[test]
    fn tunnels_and_upgrades_are_not_copied() {
        let of = |pairs: &[(&'static str, &'static str)]| pairs.iter().copied().collect::<HeaderList>();
        assert!(can_be_copied(&of(&[(":method", "GET")])));
        assert!(!can_be_copied(&of(&[(":method", "CONNECT")])));
        assert!(!can_be_copied(&of(&[(":method", "GET"), ("upgrade", "websocket")])));
    }
}
