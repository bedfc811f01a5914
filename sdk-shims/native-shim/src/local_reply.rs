//! What a client sees of a local reply: Envoy's form of it.

use crate::Message;
use filter_api::LocalReply;
use http_match::HeaderList;

/// Whether a request speaks gRPC: `application/grpc`, alone or with a suffix (`+proto`), but not gRPC-Web.
pub(crate) fn is_grpc(request: &HeaderList) -> bool {
    let rest = request.get("content-type").and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
}

/// The message a reply becomes.
pub(crate) fn message(reply: &LocalReply, request: &HeaderList) -> Message {
    let mut headers = HeaderList::new();
    if is_grpc(request) {
        let code = reply.grpc_status.unwrap_or_else(|| grpc_status(reply.status));
        headers.add(":status", b"200");
        headers.add("content-type", b"application/grpc");
        headers.add("grpc-status", code.to_string().as_bytes());
        if !reply.body.is_empty() {
            headers.add("grpc-message", &reply.body);
        }
        add_own(&mut headers, reply);
        return Message { headers, ..Message::default() };
    }
    headers.add(":status", reply.status.to_string().as_bytes());
    add_own(&mut headers, reply);
    headers.set("content-length", reply.body.len().to_string().as_bytes());
    if !reply.body.is_empty() && headers.get("content-type").is_none() {
        headers.add("content-type", b"text/plain");
    }
    Message { headers, body: reply.body.clone(), ..Message::default() }
}

fn add_own(headers: &mut HeaderList, reply: &LocalReply) {
    for (name, value) in &reply.headers {
        headers.add(name, value);
    }
}

/// The gRPC code for an HTTP status, as gRPC's "HTTP to gRPC Status Code Mapping" has it.
fn grpc_status(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}
