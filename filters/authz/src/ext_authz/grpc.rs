//! ext_authz over gRPC: the request as an `AttributeContext`, the answer as a `CheckResponse`.

use super::{Change, Changes, How, Outcome, removable};
use crate::attributes::{Facts, Surroundings, Unavailable, headers, property};
use crate::wire::{self, Malformed, Writer};
use filter_api::{HeaderEdit, LocalReply};
use http_match::HeaderList;

/// The encoded `CheckRequest` about a request. Numbers are those of the fields of `envoy.service.auth.v3`.
///
/// # Errors
/// When the host does not tell what the provider must know.
pub(super) fn request(facts: &mut dyn Facts, surroundings: &Surroundings) -> Result<Vec<u8>, Unavailable> {
    // The direct peer where it is known, else the client as the host derived it.
    let source = match surroundings.peer_address.is_empty() {
        true => property(facts, "source.address")?,
        false => surroundings.direct_address(facts)?,
    };
    let source = peer(source, property(facts, "connection.uri_san_peer_certificate")?);
    let destination = property(facts, "destination.address")?;
    let destination = peer(destination, property(facts, "connection.uri_san_local_certificate")?);
    let time = property(facts, "request.time")?.unwrap_or_default();
    let id = property(facts, "request.id")?.unwrap_or_default();
    let protocol = property(facts, "request.protocol")?.unwrap_or_default();
    let mut http = Writer::default();
    http.bytes(1, utf8(&id).as_bytes()).bytes(10, utf8(&protocol).as_bytes());
    write_http(headers(facts)?, &mut http);
    let request = Writer::default().message(1, &timestamp(&time)).message(2, &http.finish()).finish();
    let attributes = Writer::default().message(1, &source).message(2, &destination).message(4, &request).finish();
    Ok(Writer::default().message(1, &attributes).finish())
}

/// `AttributeContext.Peer`
fn peer(address: Option<Vec<u8>>, principal: Option<Vec<u8>>) -> Vec<u8> {
    let mut peer = Writer::default();
    if let Some((host, port)) = address.as_deref().map(utf8).as_deref().and_then(host_and_port) {
        let socket = Writer::default().bytes(2, host.as_bytes()).number(3, port.into()).finish();
        peer.message(1, &Writer::default().message(1, &socket).finish());
    }
    peer.bytes(4, utf8(&principal.unwrap_or_default()).as_bytes()).finish()
}

fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        _ => (address, 0),
    };
    Some((host.trim_matches(['[', ']']), port))
}

/// `google.protobuf.Timestamp` of the host's nanoseconds.
fn timestamp(nanos: &[u8]) -> Vec<u8> {
    let nanos = <[u8; 8]>::try_from(nanos).map_or(0, u64::from_le_bytes);
    Writer::default().number(1, nanos / 1_000_000_000).number(2, nanos % 1_000_000_000).finish()
}

/// The fields of `AttributeContext.HttpRequest` that come from headers.
fn write_http(list: &HeaderList, http: &mut Writer) {
    for (field, name) in [(2, ":method"), (4, ":path"), (5, ":authority"), (6, ":scheme")] {
        http.bytes(field, utf8(list.get(name).unwrap_or_default()).as_bytes());
    }
    let size = list.get("content-length").and_then(|size| std::str::from_utf8(size).ok()?.parse::<i64>().ok());
    // −1 says unknown.
    http.number(9, size.unwrap_or(-1).cast_unsigned());
    let mut headers: Vec<(&[u8], String)> = Vec::with_capacity(list.len());
    for (name, value) in list.iter() {
        // Every value is told: a provider that saw one of several could be deceived about the others.
        match headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.extend([",", &utf8(value)]),
            None => headers.push((name, utf8(value))),
        }
    }
    for (name, value) in headers {
        http.message(3, &Writer::default().bytes(1, utf8(name).as_bytes()).bytes(2, value.as_bytes()).finish());
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
    read(message).unwrap_or_else(|Malformed| Outcome::Failed("the answer is not a CheckResponse".into()))
}

/// `CheckResponse`
fn read(message: &[u8]) -> Result<Outcome, Malformed> {
    let (mut status, mut denied, mut ok): (_, &[u8], &[u8]) = (0, &[], &[]);
    wire::read(message, &mut |number, value| {
        match number {
            1 => status = first_number(value.bytes())?,
            2 => denied = value.bytes(),
            3 => ok = value.bytes(),
            _ => {}
        }
        Ok(())
    })?;
    if status == 0 { changes(ok).map(Outcome::Allow) } else { refusal(denied) }
}

/// Field 1, a number, of `google.rpc.Status`, `envoy.type.v3.HttpStatus` and `google.protobuf.BoolValue`.
fn first_number(message: &[u8]) -> Result<u64, Malformed> {
    let mut first = 0;
    wire::read(message, &mut |number, value| {
        if number == 1 {
            first = value.number();
        }
        Ok(())
    })?;
    Ok(first)
}

/// `DeniedHttpResponse`
fn refusal(message: &[u8]) -> Result<Outcome, Malformed> {
    let mut reply = LocalReply::new(403, "ext_authz_denied");
    let mut code = 0;
    wire::read(message, &mut |number, value| {
        match number {
            1 => code = first_number(value.bytes())?,
            2 => {
                let (change, _) = change(value.bytes())?;
                reply.headers.push((change.name, change.value));
            }
            3 => reply.body = value.bytes().to_vec(),
            _ => {}
        }
        Ok(())
    })?;
    if code != 0 {
        match u16::try_from(code) {
            Ok(status @ 200..=599) => reply.status = status,
            _ => return Ok(Outcome::Failed(format!("a refusal with status {code}"))),
        }
    }
    Ok(Outcome::Deny(reply))
}

/// `OkHttpResponse`
fn changes(message: &[u8]) -> Result<Changes, Malformed> {
    let mut changes = Changes::default();
    let mut removed = Vec::new();
    wire::read(message, &mut |number, value| {
        match number {
            2 => {
                let (Change { name, value, .. }, appended) = change(value.bytes())?;
                // Without an explicit `append` the provider's value replaces the client's.
                let edit = if appended { HeaderEdit::Add } else { HeaderEdit::Set };
                changes.request.push(edit(name, value));
            }
            5 => removed.push(wire::text(value.bytes())?),
            6 => changes.response.push(change(value.bytes())?.0),
            7 => {
                let (name, value) = name_and_value(value.bytes())?;
                changes.query.push((name, Some(String::from_utf8(value).map_err(|_| Malformed)?)));
            }
            8 => changes.query.push((wire::text(value.bytes())?, None)),
            _ => {}
        }
        Ok(())
    })?;
    removed.retain(|name| removable(name));
    changes.request.extend(removed.into_iter().map(|name| HeaderEdit::Remove(name.to_ascii_lowercase())));
    Ok(changes)
}

/// `HeaderValue` and `QueryParameter`: a name in field 1, a value in field 2, or (raw) in 3.
fn name_and_value(message: &[u8]) -> Result<(String, Vec<u8>), Malformed> {
    let (mut name, mut value) = (String::new(), Vec::new());
    wire::read(message, &mut |number, part| {
        match number {
            1 => name = wire::text(part.bytes())?,
            2 | 3 if value.is_empty() => value = part.bytes().to_vec(),
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, value))
}

/// `HeaderValueOption`, and whether it says `append` in so many words.
fn change(message: &[u8]) -> Result<(Change, bool), Malformed> {
    let (mut header, mut append, mut action) = ((String::new(), Vec::new()), None, 0);
    wire::read(message, &mut |number, value| {
        match number {
            1 => header = name_and_value(value.bytes())?,
            2 => append = Some(first_number(value.bytes())? != 0),
            3 => action = value.number(),
            _ => {}
        }
        Ok(())
    })?;
    let how = match (append, action) {
        (Some(true), _) | (None, 0) => How::Append,
        (None, 1) => How::AddIfAbsent,
        (None, 3) => How::OverwriteIfExists,
        _ => How::Overwrite,
    };
    let (name, value) = header;
    Ok((Change { name: name.to_ascii_lowercase(), value, how }, append == Some(true)))
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::super::messages::{
        Address, BoolValue, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption,
        HttpRequest, HttpStatus, OkHttpResponse, Peer, QueryParameter, SocketAddress, Status, Timestamp,
    };
    use super::*;
    use filter_api::HostError;
    use prost::Message;

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

    struct Described {
        headers: HeaderList,
    }

    impl Facts for Described {
        fn headers(&mut self) -> Result<&HeaderList, HostError> {
            Ok(&self.headers)
        }

        fn property(&mut self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
            Ok(match path.join(".").as_str() {
                "source.address" => Some(b"10.0.0.1:4711".to_vec()),
                "destination.address" => Some(b"[::1]:80".to_vec()),
                "connection.uri_san_peer_certificate" => Some(b"spiffe://td/ns/a/sa/b".to_vec()),
                "request.time" => Some(1_782_000_000_500_000_000_u64.to_le_bytes().to_vec()),
                "request.id" => Some(b"id-1".to_vec()),
                "request.protocol" => Some(b"HTTP/1.1".to_vec()),
                _ => None,
            })
        }
    }

    #[test]
    fn the_request_is_what_generated_code_reads() {
        let headers: HeaderList =
            [(":method", &b"GET"[..]), (":path", b"/p?q"), (":authority", b"a"), ("x", b"a"), ("x", b"b\xff")]
                .into_iter()
                .collect();
        let message = request(&mut Described { headers }, &Surroundings::default()).unwrap();
        let attributes = CheckRequest::decode(message.as_slice()).unwrap().attributes.unwrap();
        let socket = |address: &str, port_value| {
            Some(Address { socket_address: Some(SocketAddress { address: address.into(), port_value }) })
        };
        let source = Peer { address: socket("10.0.0.1", 4711), principal: "spiffe://td/ns/a/sa/b".into() };
        assert_eq!(attributes.source, Some(source));
        assert_eq!(attributes.destination, Some(Peer { address: socket("::1", 80), principal: String::new() }));
        let request = attributes.request.unwrap();
        assert_eq!(request.time, Some(Timestamp { seconds: 1_782_000_000, nanos: 500_000_000 }));
        let http = request.http.unwrap();
        assert_eq!(http.headers["x"], "a,b!");
        assert_eq!(http.headers.len(), 4);
        let expected = HttpRequest {
            id: "id-1".into(),
            method: "GET".into(),
            headers: http.headers.clone(),
            path: "/p?q".into(),
            host: "a".into(),
            size: -1,
            protocol: "HTTP/1.1".into(),
            ..HttpRequest::default()
        };
        assert_eq!(http, expected);
    }

    #[test]
    fn addresses_with_ports() {
        assert_eq!(host_and_port("10.0.0.1:80"), Some(("10.0.0.1", 80)));
        assert_eq!(host_and_port("[::1]:80"), Some(("::1", 80)));
        assert_eq!(host_and_port("10.0.0.1"), Some(("10.0.0.1", 0)));
        assert_eq!(host_and_port("::1"), Some(("::1", 0)));
        assert_eq!(host_and_port("a:b"), None);
    }
}
