//! What `proxy_get_property` answers: names of Envoy's attributes, and what plugins set themselves.
//!
//! Paths have their segments separated by NUL. Integers are 8 bytes, little-endian; booleans one byte; times and
//! durations nanoseconds; maps a list of pairs.

use crate::wasm::abi::header_pairs;
use crate::wasm::stream_context::{CertificateProperties, ConnectionProperties, StreamState};
use crate::wasm::vm_state::VmState;
use http_match::{HeaderList, split_target};
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A value; short ones are not allocated.
pub(crate) type Value = SmallVec<[u8; 64]>;

/// What was found under a path.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    Bytes(Value),
    Missing,
    /// A whole object that has no encoding of its own.
    NotSerializable,
}

/// Pairs as properties and hostcalls carry them.
pub fn encode_pairs<'l>(pairs: &[(&'l [u8], &'l [u8])]) -> Vec<u8> {
    let mut out = vec![0; header_pairs::encoded_size(pairs.iter().copied())];
    // The size has just been computed.
    let _ = header_pairs::encode(pairs.len(), pairs.iter().copied(), &mut out);
    out
}

/// Finds a property for the effective context.
pub(crate) fn find(state: &VmState, path: &[u8]) -> Found {
    if path.is_empty() {
        return Found::NotSerializable;
    }
    let path = path.strip_suffix(&[0]).unwrap_or(path);
    let of_plugin = of_plugin(state, path);
    if let Some(value) = of_plugin {
        return Found::Bytes(value);
    }
    state.on_stream(|stream, _| of_stream(stream, path)).unwrap_or(Found::Missing)
}

fn of_plugin(state: &VmState, path: &[u8]) -> Option<Value> {
    let settings = state.root.as_ref().map_or(&state.settings, |root| &root.settings);
    Some(Value::from_slice(match path {
        b"plugin_name" => settings.name.as_bytes(),
        b"plugin_root_id" => settings.root_id.as_bytes(),
        b"plugin_vm_id" => settings.vm_id.as_bytes(),
        _ => return None,
    }))
}

fn of_stream(stream: &StreamState, path: &[u8]) -> Found {
    let set = path.strip_prefix(b"filter_state\0wasm.").unwrap_or(path);
    if let Some((_, value)) = stream.properties.iter().find(|(known, _)| known == set) {
        return Found::Bytes(Value::from_slice(value));
    }
    let (root, rest) = match path.iter().position(|&byte| byte == 0) {
        Some(end) => path.split_at_checked(end).unwrap_or((path, b"")),
        None => (path, &b""[..]),
    };
    let rest = rest.strip_prefix(&[0]).unwrap_or(rest);
    let value = match root {
        b"request" | b"filter_state" | b"response" if rest.is_empty() => return Found::NotSerializable,
        b"upstream_filter_state" if rest.is_empty() && stream.upstream.is_some() => return Found::NotSerializable,
        b"request" => request(stream, rest),
        b"response" => response(stream, rest),
        b"source" => source(&stream.connection, rest),
        b"destination" => address(stream.connection.destination, rest),
        b"connection" => connection(&stream.connection, rest),
        b"connection_id" if rest.is_empty() => Some(number(stream.connection.id)),
        b"upstream" => upstream(stream, rest),
        b"xds" => xds(stream, rest),
        // Names that Envoy has moved below xds, and that many plugins still ask for.
        b"cluster_name" | b"route_name" | b"listener_direction" if rest.is_empty() => xds(stream, root),
        _ => None,
    };
    value.map_or(Found::Missing, Found::Bytes)
}

fn request(stream: &StreamState, name: &[u8]) -> Option<Value> {
    let headers = &stream.request;
    let header = |name: &str| headers.get(name).map(Value::from_slice);
    let target = || headers.get(":path").map(split_target);
    match name {
        b"path" => header(":path"),
        b"url_path" => target().map(|(path, _)| Value::from_slice(path)),
        b"query" => Some(Value::from_slice(target()?.1.unwrap_or_default())),
        b"host" => header(":authority"),
        b"scheme" => header(":scheme"),
        b"method" => header(":method"),
        b"referer" => header("referer"),
        b"useragent" => header("user-agent"),
        b"id" => header("x-request-id"),
        b"protocol" => Some(Value::from_slice(stream.protocol.as_bytes())),
        b"time" => Some(time(stream.started)),
        b"duration" => stream.duration.map(duration),
        b"size" => {
            let declared = headers.get("content-length").and_then(|length| str::from_utf8(length).ok()?.parse().ok());
            Some(number(declared.unwrap_or(stream.body_bytes[0])))
        }
        b"headers_bytes" => Some(size(headers.size())),
        b"total_size" => Some(number(stream.body_bytes[0].saturating_add(count(headers.size())))),
        b"headers" => Some(map(headers)),
        _ => joined(headers, name.strip_prefix(b"headers\0")?),
    }
}

fn response(stream: &StreamState, name: &[u8]) -> Option<Value> {
    let headers = &stream.response;
    match name {
        b"code" => stream.status().map(|status| number(status.into())),
        b"code_details" => (!stream.details.is_empty()).then(|| Value::from_slice(stream.details.as_bytes())),
        b"flags" => Some(number(stream.flags)),
        b"size" => Some(number(stream.body_bytes[1])),
        b"headers_bytes" => Some(size(headers.size())),
        b"total_size" => Some(number(stream.body_bytes[1].saturating_add(count(headers.size())))),
        b"grpc_status" => stream.grpc_status().map(|status| number(status.into())),
        b"headers" => (!headers.is_empty()).then(|| map(headers)),
        b"trailers" => (!stream.response_trailers.is_empty()).then(|| map(&stream.response_trailers)),
        _ => match name.strip_prefix(b"headers\0") {
            Some(name) => joined(headers, name),
            None => joined(&stream.response_trailers, name.strip_prefix(b"trailers\0")?),
        },
    }
}

fn source(connection: &ConnectionProperties, name: &[u8]) -> Option<Value> {
    match name {
        // Envoy has no name for it: its source.address follows x-forwarded-for.
        b"direct_address" => Some(text_of(connection.direct_peer)),
        _ => address(connection.source, name),
    }
}

fn address(address: SocketAddr, name: &[u8]) -> Option<Value> {
    match name {
        b"address" => Some(text_of(address)),
        b"port" => Some(number(address.port().into())),
        _ => None,
    }
}

/// As `Display` has it. Plugins ask for addresses on every request: those of four bytes are written without its detours.
fn text_of(address: SocketAddr) -> Value {
    let SocketAddr::V4(address) = address else { return Value::from_slice(address.to_string().as_bytes()) };
    let (mut text, mut length) = ([0; "255.255.255.255:65535".len()], 0);
    let mut write = |number: &str, end: &[u8]| {
        for part in [number.as_bytes(), end] {
            if let Some(place) = text.get_mut(length..length + part.len()) {
                place.copy_from_slice(part);
            }
            length += part.len();
        }
    };
    let mut buffer = itoa::Buffer::new();
    for (octet, end) in address.ip().octets().into_iter().zip([b".", b".", b".", b":"]) {
        write(buffer.format(octet), end);
    }
    write(buffer.format(address.port()), b"");
    Value::from_slice(text.get(..length).unwrap_or_default())
}

fn connection(connection: &ConnectionProperties, name: &[u8]) -> Option<Value> {
    let text = |text: &str| Value::from_slice(text.as_bytes());
    match name {
        b"id" => return Some(number(connection.id)),
        b"mtls" => return Some(Value::from_slice(&[u8::from(connection.peer.is_some())])),
        b"requested_server_name" => return Some(text(&connection.requested_server_name)),
        b"tls_version" => return connection.tls_version.map(text),
        b"sha256_peer_certificate_digest" => return Some(text(&connection.peer.as_ref()?.sha256)),
        b"peer_certificate" => return Some(text(&connection.peer.as_ref()?.pem)),
        _ => {}
    }
    if let Some(name) = name.strip_suffix(b"_peer_certificate") {
        return certificate(connection.peer.as_ref()?, name);
    }
    certificate(connection.local.as_ref()?, name.strip_suffix(b"_local_certificate")?)
}

fn certificate(certificate: &CertificateProperties, name: &[u8]) -> Option<Value> {
    let text = match name {
        b"subject" => Some(&certificate.subject),
        b"uri_san" => certificate.uri_sans.first(),
        b"dns_san" => certificate.dns_sans.first(),
        _ => None,
    };
    text.map(|text| Value::from_slice(text.as_bytes()))
}

fn upstream(stream: &StreamState, name: &[u8]) -> Option<Value> {
    match name {
        b"request_attempt_count" => Some(number(stream.attempts.into())),
        b"local_address" => Some(text_of(stream.upstream_local?)),
        b"transport_failure_reason" => stream.upstream.map(|_| Value::from_slice(stream.transport_failure.as_bytes())),
        _ => address(stream.upstream?, name),
    }
}

fn xds(stream: &StreamState, name: &[u8]) -> Option<Value> {
    let text = |text: &str| (!text.is_empty()).then(|| Value::from_slice(text.as_bytes()));
    match name {
        b"cluster_name" => text(&stream.cluster),
        b"route_name" => text(&stream.route),
        b"listener_direction" => Some(Value::from_slice(&stream.direction.to_le_bytes())),
        _ => None,
    }
}

/// Every value of a header, joined with commas.
fn joined(headers: &HeaderList, name: &[u8]) -> Option<Value> {
    let mut joined: Option<Value> = None;
    for (_, value) in headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)) {
        match &mut joined {
            Some(joined) => {
                joined.push(b',');
                joined.extend_from_slice(value);
            }
            None => joined = Some(Value::from_slice(value)),
        }
    }
    joined
}

fn map(headers: &HeaderList) -> Value {
    let mut out = SmallVec::from_elem(0, header_pairs::encoded_size(headers.iter()));
    // The size has just been computed.
    let _ = header_pairs::encode(headers.len(), headers.iter(), &mut out);
    out
}

fn number(number: u64) -> Value {
    Value::from_slice(&number.to_le_bytes())
}

fn count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn size(size: usize) -> Value {
    number(count(size))
}

fn time(time: SystemTime) -> Value {
    duration(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn duration(duration: Duration) -> Value {
    number(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn stream() -> StreamState {
        let request = [(":authority", "a.test"), (":path", "/p?q=1"), (":method", "GET"), ("x-m", "1"), ("x-m", "2")];
        let connection = ConnectionProperties {
            id: 7,
            source: "10.0.0.9:1000".parse().unwrap(),
            direct_peer: "10.0.0.1:2000".parse().unwrap(),
            destination: "10.0.0.2:8080".parse().unwrap(),
            redirected: false,
            requested_server_name: String::new(),
            tls_version: None,
            peer: None,
            local: None,
        };
        let started = UNIX_EPOCH + Duration::from_secs(1);
        let mut state = StreamState::new(request.into_iter().collect(), 0, Rc::new(connection), started);
        state.protocol = "HTTP/1.1";
        state.properties.push((b"outrigger.route".to_vec(), b"r1".to_vec()));
        state
    }

    #[test]
    fn addresses_are_written_as_everywhere() {
        for address in ["0.0.0.0:0", "10.0.20.255:65535", "[2001:db8::1]:80", "[::ffff:1.2.3.4]:8080"] {
            assert_eq!(text_of(address.parse().unwrap()).as_slice(), address.as_bytes());
        }
    }

    #[test]
    fn values_have_the_encoding_of_their_type() {
        let stream = stream();
        let text = |text: &str| Found::Bytes(Value::from_slice(text.as_bytes()));
        let rows: &[(&str, Found)] = &[
            ("request\0path", text("/p?q=1")),
            ("request\0url_path", text("/p")),
            ("request\0query", text("q=1")),
            ("request\0host", text("a.test")),
            ("request\0headers\0X-M", text("1,2")),
            ("request\0headers\0x-none", Found::Missing),
            ("request\0time", Found::Bytes(number(1_000_000_000))),
            ("request\0duration", Found::Missing),
            ("request", Found::NotSerializable),
            ("request\0", Found::NotSerializable),
            ("request\0size", Found::Bytes(number(0))),
            ("source\0address", text("10.0.0.9:1000")),
            ("source\0direct_address", text("10.0.0.1:2000")),
            ("destination\0port", Found::Bytes(number(8080))),
            ("connection\0mtls", Found::Bytes(Value::from_slice(&[0]))),
            ("connection\0requested_server_name", text("")),
            ("connection\0uri_san_peer_certificate", Found::Missing),
            ("connection_id", Found::Bytes(number(7))),
            ("response\0code", Found::Missing),
            ("response\0flags", Found::Bytes(number(0))),
            ("outrigger.route", text("r1")),
            ("filter_state\0wasm.outrigger.route", text("r1")),
            ("listener_direction", Found::Bytes(number(0))),
            ("", Found::Missing),
            ("\0", Found::Missing),
        ];
        for (path, expected) in rows {
            let path = path.as_bytes();
            let found = of_stream(&stream, path.strip_suffix(&[0]).unwrap_or(path));
            assert_eq!(&found, expected, "{}", path.escape_ascii());
        }
    }
}
