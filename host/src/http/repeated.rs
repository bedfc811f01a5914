//! Headers that are one value however often they are sent: Envoy's codec joins them with commas before any filter sees
//! them, so this proxy does.

use http_match::HeaderList;

/// Joins what is repeated of a request's headers, in place of the first; empty values add nothing.
pub fn join_request(headers: &mut HeaderList) {
    join(headers, is_single_in_requests);
}

/// The same for a response's headers.
pub fn join_response(headers: &mut HeaderList) {
    join(headers, is_single_in_responses);
}

fn join(headers: &mut HeaderList, is_single: fn(&[u8]) -> bool) {
    if !may_repeat(headers) {
        return;
    }
    for name in repeated(headers, is_single) {
        let Some(first) = headers.position(&name) else { continue };
        let mut joined: Vec<u8> = Vec::new();
        for (_, value) in headers.iter().filter(|(other, value)| **other == *name && !value.is_empty()) {
            if !joined.is_empty() {
                joined.push(b',');
            }
            joined.extend_from_slice(value);
        }
        headers.replace_at(first, &joined);
        let mut kept = false;
        headers.retain(|other, _| *other != *name || !std::mem::replace(&mut kept, true));
    }
}

/// Whether two headers may have the same name: nearly never so, and then nothing else is looked at.
fn may_repeat(headers: &HeaderList) -> bool {
    let mut seen = [0_u64; 4];
    headers.iter().any(|(name, _)| {
        let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
        let mixed = usize::from(first).wrapping_mul(31) ^ usize::from(last).wrapping_mul(7) ^ name.len();
        let bit = 1 << (mixed % 64);
        match seen.get_mut(mixed / 64 % 4) {
            Some(word) => std::mem::replace(word, *word | bit) & bit != 0,
            None => true,
        }
    })
}

fn repeated(headers: &HeaderList, is_single: fn(&[u8]) -> bool) -> Vec<Box<[u8]>> {
    let mut found: Vec<Box<[u8]>> = Vec::new();
    for (index, (name, _)) in headers.iter().enumerate() {
        if is_single(name) && headers.position(name) != Some(index) && !found.iter().any(|known| **known == *name) {
            found.push(name.into());
        }
    }
    found
}

/// Envoy 1.40's single-valued request headers, as far as clients may send them.
#[rustfmt::skip] // By kind, one to a line or two.
fn is_single_in_requests(name: &[u8]) -> bool {
    matches!(
        name,
        b"accept" | b"accept-encoding" | b"authorization" | b"cache-control" | b"cdn-loop"
        | b"access-control-request-headers" | b"access-control-request-method" | b"access-control-request-private-network"
        | b"content-encoding" | b"content-type" | b"grpc-accept-encoding" | b"grpc-timeout"
        | b"if-match" | b"if-modified-since" | b"if-none-match" | b"if-range" | b"if-unmodified-since"
        | b"origin" | b"pragma" | b"proxy-status" | b"referer" | b"user-agent" | b"via"
        | b"x-client-trace-id" | b"x-request-id"
        | b"x-forwarded-for" | b"x-forwarded-host" | b"x-forwarded-port" | b"x-forwarded-proto"
    )
}

/// Envoy 1.40's single-valued response headers.
#[rustfmt::skip] // By kind, one to a line or two.
fn is_single_in_responses(name: &[u8]) -> bool {
    matches!(
        name,
        b"access-control-allow-credentials" | b"access-control-allow-headers" | b"access-control-allow-methods"
        | b"access-control-allow-origin" | b"access-control-allow-private-network" | b"access-control-expose-headers"
        | b"access-control-max-age" | b"age" | b"cache-control" | b"content-encoding" | b"content-type" | b"date"
        | b"etag" | b"expires" | b"grpc-message" | b"grpc-status" | b"last-modified" | b"location" | b"proxy-status"
        | b"vary" | b"via" | b"x-request-id" | b"x-envoy-attempt-count" | b"x-envoy-decorator-operation"
        | b"x-envoy-degraded" | b"x-envoy-immediate-health-check-fail" | b"x-envoy-ratelimited"
        | b"x-envoy-upstream-canary" | b"x-envoy-upstream-healthchecked-cluster"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(headers: &[(&str, &str)], join: fn(&mut HeaderList)) -> HeaderList {
        let mut headers = headers.iter().copied().collect();
        join(&mut headers);
        headers
    }

    #[test]
    fn single_ones_are_joined_and_no_others() {
        let headers = [
            (":path", "/"),
            ("user-agent", ""),
            ("x-a", "1"),
            ("origin", "a"),
            ("user-agent", "b"),
            ("cookie", "1"),
            ("origin", ""),
            ("x-a", "2"),
            ("user-agent", "c"),
            ("referer", ""),
            ("referer", ""),
            ("cookie", "2"),
            ("vary", "a"),
            ("vary", "b"),
        ];
        let expected: HeaderList = [
            (":path", "/"),
            ("user-agent", "b,c"),
            ("x-a", "1"),
            ("origin", "a"),
            ("cookie", "1"),
            ("x-a", "2"),
            ("referer", ""),
            ("cookie", "2"),
            ("vary", "a"),
            ("vary", "b"),
        ]
        .into_iter()
        .collect();
        assert_eq!(joined(&headers, join_request), expected);
        let response = joined(&[("vary", "a"), ("set-cookie", "1"), ("vary", "b"), ("set-cookie", "2")], join_response);
        let expected: HeaderList = [("vary", "a,b"), ("set-cookie", "1"), ("set-cookie", "2")].into_iter().collect();
        assert_eq!(response, expected);
    }

    #[test]
    fn what_is_not_repeated_is_not_touched() {
        let headers: HeaderList = [("accept", "a,b"), ("origin", "b")].into_iter().collect();
        assert!(!may_repeat(&headers));
        let pairs: [(&str, &str); 2] = [("accept", "a,b"), ("origin", "b")];
        assert_eq!(joined(&pairs, join_request), headers);
    }
}
