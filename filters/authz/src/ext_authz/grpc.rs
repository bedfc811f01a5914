//! ext_authz over gRPC: the request as an `AttributeContext`, the answer as a `CheckResponse`.

use super::messages::{
    Address, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderEntry, HeaderValueOption, HttpRequest,
    OkHttpResponse, Peer, Request, SocketAddress, Timestamp,
};
use super::{Change, Changes, How, Outcome, removable};
use crate::attributes::{Facts, Surroundings, Unavailable, property};
use filter_api::{HeaderEdit, LocalReply};
use http_match::HeaderList;
use prost::Message;

/// The encoded `CheckRequest` about a request.
///
/// # Errors
/// When the host does not tell what the provider must know.
pub(super) fn request(facts: &mut dyn Facts, surroundings: &Surroundings) -> Result<Vec<u8>, Unavailable> {
    let source = Peer {
        address: source_address(facts, surroundings)?,
        principal: text(facts, "connection.uri_san_peer_certificate")?,
    };
    let destination = Peer {
        address: address(property(facts, "destination.address")?),
        principal: text(facts, "connection.uri_san_local_certificate")?,
    };
    let time = property(facts, "request.time")?.and_then(|nanos| timestamp(&nanos));
    let id = text(facts, "request.id")?;
    let protocol = text(facts, "request.protocol")?;
    let http = HttpRequest { id, protocol, ..http_request(crate::attributes::headers(facts)?) };
    let request = Some(Request { time, http: Some(http) });
    let attributes = AttributeContext { source: Some(source), destination: Some(destination), request };
    Ok(CheckRequest { attributes: Some(attributes) }.encode_to_vec())
}

/// The direct peer where it is known, else the client as the host derived it.
fn source_address(facts: &mut dyn Facts, surroundings: &Surroundings) -> Result<Option<Address>, Unavailable> {
    let value = match surroundings.peer_address.is_empty() {
        true => property(facts, "source.address")?,
        false => surroundings.direct_address(facts)?,
    };
    Ok(address(value))
}

fn text(facts: &mut dyn Facts, what: &'static str) -> Result<String, Unavailable> {
    Ok(property(facts, what)?.map(|value| utf8(&value)).unwrap_or_default())
}

fn address(value: Option<Vec<u8>>) -> Option<Address> {
    let text = utf8(&value?);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        _ => (text.as_str(), 0),
    };
    let address = host.trim_matches(['[', ']']).to_owned();
    Some(Address { socket_address: Some(SocketAddress { address, port_value: port }) })
}

fn timestamp(nanos: &[u8]) -> Option<Timestamp> {
    let nanos = i64::from_le_bytes(nanos.try_into().ok()?);
    Some(Timestamp {
        seconds: nanos.div_euclid(1_000_000_000),
        nanos: i32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?,
    })
}

fn http_request(list: &HeaderList) -> HttpRequest {
    let first = |name| utf8(list.get(name).unwrap_or_default());
    let mut headers: Vec<HeaderEntry> = Vec::with_capacity(list.len());
    for (name, value) in list.iter() {
        let (key, value) = (utf8(name), utf8(value));
        // Every value is told: a provider that saw one of several could be deceived about the others.
        match headers.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.value.extend([",", &value]),
            None => headers.push(HeaderEntry { key, value }),
        }
    }
    let size = list.get("content-length").and_then(|size| std::str::from_utf8(size).ok()?.parse().ok());
    HttpRequest {
        method: first(":method"),
        path: first(":path"),
        host: first(":authority"),
        scheme: first(":scheme"),
        headers,
        size: size.unwrap_or(-1),
        ..HttpRequest::default()
    }
}

/// Text for a protobuf `string`: bytes that are not UTF-8 become `!`, as in Envoy.
fn utf8(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '!'));
    }
    out
}

/// What an answer means. Any status but OK refuses.
pub(super) fn outcome(message: &[u8]) -> Outcome {
    let Ok(response) = CheckResponse::decode(message) else {
        return Outcome::Failed("the answer is not a CheckResponse".into());
    };
    match response.status.map_or(0, |status| status.code) {
        0 => Outcome::Allow(changes(response.ok.unwrap_or_default())),
        _ => refusal(response.denied.unwrap_or_default()),
    }
}

fn refusal(denied: DeniedHttpResponse) -> Outcome {
    let status = match denied.status.map_or(0, |status| status.code) {
        0 => 403,
        code => match u16::try_from(code) {
            Ok(status @ 200..=599) => status,
            _ => return Outcome::Failed(format!("a refusal with status {code}")),
        },
    };
    let mut reply = LocalReply::new(status, "ext_authz_denied").body(denied.body);
    reply.headers.extend(denied.headers.into_iter().filter_map(change).map(|change| (change.name, change.value)));
    Outcome::Deny(reply)
}

fn changes(ok: OkHttpResponse) -> Changes {
    let mut changes = Changes::default();
    for option in ok.headers {
        let appended = option.append.as_ref().is_some_and(|append| append.value);
        if let Some(Change { name, value, .. }) = change(option) {
            // Without an explicit `append` the provider's value replaces the client's.
            changes.request.push(if appended { HeaderEdit::Add(name, value) } else { HeaderEdit::Set(name, value) });
        }
    }
    let removed = ok.headers_to_remove.into_iter().filter(|name| removable(name));
    changes.request.extend(removed.map(|name| HeaderEdit::Remove(name.to_ascii_lowercase())));
    changes.response = ok.response_headers_to_add.into_iter().filter_map(change).collect();
    let set = ok.query_parameters_to_set.into_iter().map(|parameter| (parameter.key, Some(parameter.value)));
    changes.query = set.chain(ok.query_parameters_to_remove.into_iter().map(|name| (name, None))).collect();
    changes
}

fn change(option: HeaderValueOption) -> Option<Change> {
    let header = option.header?;
    let how = match (option.append, option.append_action) {
        (Some(append), _) if !append.value => How::Overwrite,
        (Some(_), _) | (None, 0) => How::Append,
        (None, 1) => How::AddIfAbsent,
        (None, 3) => How::OverwriteIfExists,
        (None, _) => How::Overwrite,
    };
    let value = if header.value.is_empty() { header.raw_value } else { header.value };
    Some(Change { name: header.key.to_ascii_lowercase(), value, how })
}

#[cfg(test)]
mod tests {
    use super::super::messages::{BoolValue, HeaderValue, HttpStatus, QueryParameter, Status};
    use super::*;

    fn option(name: &str, value: &str, append: Option<bool>, append_action: i32) -> HeaderValueOption {
        let header = HeaderValue { key: name.into(), value: value.into(), raw_value: Vec::new() };
        HeaderValueOption { header: Some(header), append: append.map(|value| BoolValue { value }), append_action }
    }

    #[test]
    fn any_status_but_ok_refuses() {
        let denied = DeniedHttpResponse {
            status: Some(HttpStatus { code: 418 }),
            headers: vec![option("X-Why", "tea", None, 0)],
            body: b"no".to_vec(),
        };
        let response = CheckResponse { status: Some(Status { code: 7 }), denied: Some(denied), ok: None };
        let expected = LocalReply::new(418, "ext_authz_denied").body("no").header("x-why", "tea");
        assert_eq!(outcome(&response.encode_to_vec()), Outcome::Deny(expected));
        let bare = CheckResponse { status: Some(Status { code: 16 }), ..CheckResponse::default() };
        assert_eq!(outcome(&bare.encode_to_vec()), Outcome::Deny(LocalReply::new(403, "ext_authz_denied")));
    }

    #[test]
    fn what_cannot_be_read_is_a_failure() {
        assert!(matches!(outcome(b"\xff"), Outcome::Failed(_)));
        let odd = DeniedHttpResponse { status: Some(HttpStatus { code: 42 }), ..DeniedHttpResponse::default() };
        let response = CheckResponse { status: Some(Status { code: 7 }), denied: Some(odd), ok: None };
        assert!(matches!(outcome(&response.encode_to_vec()), Outcome::Failed(_)));
    }

    #[test]
    fn ok_changes_headers_and_query() {
        let ok = OkHttpResponse {
            headers: vec![option("X-A", "1", None, 0), option("x-b", "2", Some(true), 0)],
            headers_to_remove: vec!["Secret".into(), ":path".into(), "Host".into()],
            response_headers_to_add: vec![option("x-r", "3", None, 2), option("x-s", "4", Some(false), 0)],
            query_parameters_to_set: vec![QueryParameter { key: "k".into(), value: "v".into() }],
            query_parameters_to_remove: vec!["token".into()],
        };
        let response = CheckResponse { status: None, denied: None, ok: Some(ok) };
        let Outcome::Allow(changes) = outcome(&response.encode_to_vec()) else { panic!("refused") };
        assert_eq!(
            changes.request,
            [
                HeaderEdit::Set("x-a".into(), b"1".into()),
                HeaderEdit::Add("x-b".into(), b"2".into()),
                HeaderEdit::Remove("secret".into()),
            ]
        );
        assert!(changes.response.iter().all(|change| change.how == How::Overwrite));
        assert_eq!(changes.query, [("k".to_owned(), Some("v".to_owned())), ("token".to_owned(), None)]);
    }

    #[test]
    fn every_value_of_a_header_is_told() {
        let list: HeaderList =
            [(":path", &b"/p"[..]), ("x", b"a"), ("x", b"b\xff"), ("content-length", b"7")].into_iter().collect();
        let request = http_request(&list);
        assert!(request.headers.contains(&HeaderEntry { key: "x".into(), value: "a,b!".into() }));
        assert_eq!((request.path.as_str(), request.size), ("/p", 7));
    }

    #[test]
    fn addresses_with_ports() {
        let parse = |text: &str| {
            let socket = address(Some(text.into())).and_then(|address| address.socket_address).unwrap();
            (socket.address, socket.port_value)
        };
        assert_eq!(parse("10.0.0.1:80"), ("10.0.0.1".into(), 80));
        assert_eq!(parse("[::1]:80"), ("::1".into(), 80));
        assert_eq!(parse("10.0.0.1"), ("10.0.0.1".into(), 0));
        assert_eq!(parse("::1"), ("::1".into(), 0));
    }
}
