//! Responses that the proxy makes by itself, for its own reasons or a filter's.

use crate::filter_chain::stream::Event;
use crate::wasm::LocalReply;
use bytes::Bytes;
use http_match::HeaderList;

/// A response of the proxy's own: what a client sees, and what the log says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostReply {
    /// Status.
    pub status: u16,
    /// Text; may be empty.
    pub body: String,
    /// `RESPONSE_CODE_DETAILS`.
    pub details: String,
    /// Headers beside those that every local reply has.
    pub headers: Vec<(&'static str, &'static str)>,
    /// What a gRPC client is told, where that is not what the status stands for.
    pub grpc_status: Option<u32>,
}

/// What gRPC calls an HTTP status (as Envoy maps them).
pub fn grpc_status(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

impl From<HostReply> for LocalReply {
    fn from(reply: HostReply) -> Self {
        Self {
            status: reply.status,
            details: reply.details,
            body: reply.body.into_bytes(),
            headers: reply.headers.into_iter().collect(),
            grpc_status: reply.grpc_status,
        }
    }
}

/// The response's headers, and the events that make it. A gRPC client gets 200 with the status in its headers.
pub fn to_events(reply: LocalReply, grpc: bool, head: bool) -> (HeaderList, Vec<Event>) {
    let mut headers = HeaderList::new();
    let LocalReply { status, body, headers: own, grpc_status: number, .. } = reply;
    let own = own.iter().filter(|(name, _)| !name.starts_with(b":") && *name != b"content-length");
    if grpc {
        headers.add(":status", b"200");
        headers.add("content-type", b"application/grpc");
        headers.add("grpc-status", number.unwrap_or_else(|| grpc_status(status)).to_string().as_bytes());
        if !body.is_empty() {
            headers.add("grpc-message", percent_encoded(&body).as_bytes());
        }
        own.filter(|(name, _)| *name != b"content-type").for_each(|(name, value)| headers.append(name, value));
        return (headers, vec![Event::Headers { end: true }]);
    }
    headers.add(":status", status.to_string().as_bytes());
    own.for_each(|(name, value)| headers.append(name, value));
    headers.add("content-length", body.len().to_string().as_bytes());
    if body.is_empty() {
        return (headers, vec![Event::Headers { end: true }]);
    }
    if headers.get("content-type").is_none() {
        headers.add("content-type", b"text/plain");
    }
    if head {
        return (headers, vec![Event::Headers { end: true }]);
    }
    (headers, vec![Event::Headers { end: false }, Event::Data { bytes: Bytes::from(body), end: true }])
}

/// `grpc-message` carries printable ASCII; the rest as `%XX` (gRPC over HTTP/2, "Status-Message").
fn percent_encoded(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> LocalReply {
        LocalReply { status, body: body.into(), ..LocalReply::default() }
    }

    #[test]
    fn a_body_has_a_type_and_a_length() {
        let (headers, events) = to_events(reply(403, "no"), false, false);
        let expected = [(":status", "403"), ("content-length", "2"), ("content-type", "text/plain")];
        assert_eq!(headers, expected.into_iter().collect());
        assert_eq!(events.len(), 2);
        let (headers, events) = to_events(reply(404, ""), false, false);
        assert_eq!(headers, [(":status", "404"), ("content-length", "0")].into_iter().collect());
        assert_eq!(events, [Event::Headers { end: true }]);
        let (headers, events) = to_events(reply(403, "no"), false, true);
        assert_eq!((headers.get("content-length"), events.len()), (Some(&b"2"[..]), 1), "HEAD");
    }

    #[test]
    fn grpc_clients_get_trailers_only() {
        let (headers, events) = to_events(reply(403, "RBAC: 10%\n"), true, false);
        let expected = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "7"),
            ("grpc-message", "RBAC: 10%25%0A"),
        ];
        assert_eq!(headers, expected.into_iter().collect());
        assert_eq!(events, [Event::Headers { end: true }]);
    }
}
