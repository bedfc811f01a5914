//! The operators of access logs: how each is written, and what it says of a stream.

use crate::telemetry::ResponseFlags;
use crate::telemetry::access_log::time_format::TimeFormat;
use crate::wasm::{CertificateProperties, ConnectionProperties, StreamState};
use http_match::{FormatCommand, HeaderSelector};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

/// What a line is about.
pub(super) struct Logged<'s> {
    pub(super) state: &'s StreamState,
    pub(super) flags: ResponseFlags,
    pub(super) duration: Duration,
}

/// What an operator had to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Said {
    /// Nothing: `-` in text, null in JSON.
    Nothing,
    Number,
    Text,
}

/// A compiled operator.
pub(super) enum Operator {
    Request(HeaderSelector),
    /// Without what follows a `?` in the value.
    RequestWithoutQuery(HeaderSelector),
    Response(HeaderSelector),
    Trailer(HeaderSelector),
    StartTime(TimeFormat),
    FilterState(Box<[u8]>),
    GrpcStatus(GrpcStatus),
    Address(Address, Part),
    Certificate(Side, CertificatePart),
    Fixed(Box<[u8]>),
    Field(Field),
    /// Known, but there never is a value here.
    Never,
}

/// How a gRPC status is written.
#[derive(Clone, Copy)]
pub(super) enum GrpcStatus {
    Camel,
    Snake,
    Number,
}

#[derive(Clone, Copy)]
pub(super) enum Address {
    Upstream,
    UpstreamLocal,
    DownstreamLocal,
    DownstreamRemote,
    DownstreamDirectRemote,
}

#[derive(Clone, Copy)]
pub(super) enum Part {
    Whole,
    Ip,
    Port,
}

#[derive(Clone, Copy)]
pub(super) enum Side {
    Peer,
    Local,
}

#[derive(Clone, Copy)]
pub(super) enum CertificatePart {
    UriSan,
    DnsSan,
    Subject,
    Fingerprint,
    Pem,
}

/// Operators that take no argument.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    TerminationDetails,
    TransportFailure,
    BytesReceived,
    BytesSent,
    RequestHeadersBytes,
    ResponseHeadersBytes,
    ResponseTrailersBytes,
    Duration,
    RequestDuration,
    ResponseDuration,
    ResponseTxDuration,
    UpstreamCluster,
    UpstreamAttempts,
    ConnectionId,
    RequestedServerName,
    RouteName,
    TlsVersion,
}

const FIELDS: [(&str, Field); 22] = [
    ("PROTOCOL", Field::Protocol),
    ("RESPONSE_CODE", Field::ResponseCode),
    ("RESPONSE_CODE_DETAILS", Field::ResponseCodeDetails),
    ("RESPONSE_FLAGS", Field::ResponseFlags),
    ("CONNECTION_TERMINATION_DETAILS", Field::TerminationDetails),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", Field::TransportFailure),
    ("BYTES_RECEIVED", Field::BytesReceived),
    ("BYTES_SENT", Field::BytesSent),
    ("REQUEST_HEADERS_BYTES", Field::RequestHeadersBytes),
    ("RESPONSE_HEADERS_BYTES", Field::ResponseHeadersBytes),
    ("RESPONSE_TRAILERS_BYTES", Field::ResponseTrailersBytes),
    ("DURATION", Field::Duration),
    ("REQUEST_DURATION", Field::RequestDuration),
    ("RESPONSE_DURATION", Field::ResponseDuration),
    ("RESPONSE_TX_DURATION", Field::ResponseTxDuration),
    ("UPSTREAM_CLUSTER", Field::UpstreamCluster),
    ("UPSTREAM_CLUSTER_RAW", Field::UpstreamCluster),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Field::UpstreamAttempts),
    ("CONNECTION_ID", Field::ConnectionId),
    ("REQUESTED_SERVER_NAME", Field::RequestedServerName),
    ("ROUTE_NAME", Field::RouteName),
    ("DOWNSTREAM_TLS_VERSION", Field::TlsVersion),
];

/// Names of addresses, to which `_WITHOUT_PORT` and `_PORT` may be added.
const ADDRESSES: [(&str, Address); 6] = [
    ("UPSTREAM_HOST", Address::Upstream),
    ("UPSTREAM_REMOTE_ADDRESS", Address::Upstream),
    ("UPSTREAM_LOCAL_ADDRESS", Address::UpstreamLocal),
    ("DOWNSTREAM_LOCAL_ADDRESS", Address::DownstreamLocal),
    ("DOWNSTREAM_REMOTE_ADDRESS", Address::DownstreamRemote),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Address::DownstreamDirectRemote),
];

/// What follows `DOWNSTREAM_PEER_` and `DOWNSTREAM_LOCAL_`.
const CERTIFICATE: [(&str, CertificatePart); 5] = [
    ("URI_SAN", CertificatePart::UriSan),
    ("DNS_SAN", CertificatePart::DnsSan),
    ("SUBJECT", CertificatePart::Subject),
    ("FINGERPRINT_256", CertificatePart::Fingerprint),
    ("CERT", CertificatePart::Pem),
];

/// Operators of Envoy about what this proxy does not have.
const NEVER: [&str; 5] =
    ["DYNAMIC_METADATA", "CLUSTER_METADATA", "UPSTREAM_METADATA", "METADATA", "DOWNSTREAM_TRANSPORT_FAILURE_REASON"];

impl Operator {
    /// Reads a command.
    pub(super) fn read(command: &FormatCommand<'_>, hostname: &str) -> Result<Self, String> {
        if NEVER.contains(&command.name) {
            return Ok(Self::Never);
        }
        match command.argument {
            Some(argument) => Self::with_argument(command.name, argument),
            None => Self::bare(command.name, hostname),
        }
    }

    fn with_argument(name: &str, argument: &str) -> Result<Self, String> {
        let header = || HeaderSelector::read(argument).map_err(str::to_owned);
        match name {
            "REQ" | "REQUEST_HEADER" => Ok(Self::Request(header()?)),
            "REQ_WITHOUT_QUERY" => Ok(Self::RequestWithoutQuery(header()?)),
            "RESP" | "RESPONSE_HEADER" => Ok(Self::Response(header()?)),
            "TRAILER" | "RESPONSE_TRAILER" => Ok(Self::Trailer(header()?)),
            "START_TIME" => TimeFormat::compile(argument).map(Self::StartTime),
            "FILTER_STATE" => filter_state(argument),
            "GRPC_STATUS" => match argument {
                "" | "CAMEL_STRING" => Ok(Self::GrpcStatus(GrpcStatus::Camel)),
                "SNAKE_STRING" => Ok(Self::GrpcStatus(GrpcStatus::Snake)),
                "NUMBER" => Ok(Self::GrpcStatus(GrpcStatus::Number)),
                _ => Err("expected CAMEL_STRING, SNAKE_STRING or NUMBER".into()),
            },
            _ if Self::bare(name, "").is_ok() => Err("takes no argument".into()),
            _ => Err("not an operator of access logs".into()),
        }
    }

    fn bare(name: &str, hostname: &str) -> Result<Self, String> {
        match name {
            "START_TIME" => return TimeFormat::compile("").map(Self::StartTime),
            "HOSTNAME" => return Ok(Self::Fixed(hostname.as_bytes().into())),
            "GRPC_STATUS" => return Ok(Self::GrpcStatus(GrpcStatus::Camel)),
            "GRPC_STATUS_NUMBER" => return Ok(Self::GrpcStatus(GrpcStatus::Number)),
            _ => {}
        }
        let field = FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| Self::Field(*field));
        field.or_else(|| address(name)).or_else(|| certificate(name)).ok_or_else(|| match name {
            "REQ" | "REQ_WITHOUT_QUERY" | "RESP" | "TRAILER" | "FILTER_STATE" => "an argument is missing".into(),
            _ => "not an operator of access logs".into(),
        })
    }

    /// Writes what it says of a stream, as bytes that nobody has escaped yet.
    pub(super) fn write(&self, logged: &Logged<'_>, out: &mut Vec<u8>) -> Said {
        let state = logged.state;
        match self {
            Self::Request(selector) => bytes(header(&state.request, selector), out),
            Self::RequestWithoutQuery(selector) => {
                let value = header(&state.request, selector);
                bytes(value.and_then(|value| value.split(|byte| *byte == b'?').next()), out)
            }
            Self::Response(selector) => bytes(header(&state.response, selector), out),
            Self::Trailer(selector) => bytes(header(&state.response_trailers, selector), out),
            Self::StartTime(format) => start_time(state.started, format, out),
            Self::FilterState(path) => bytes(property(state, path), out),
            Self::GrpcStatus(how) => grpc_status(state, *how, out),
            Self::Address(which, part) => part.write(which.of(state), out),
            Self::Certificate(side, part) => part.write(side.of(&state.connection), out),
            Self::Fixed(value) => bytes(Some(value), out),
            Self::Field(field) => field.write(logged, out),
            Self::Never => Said::Nothing,
        }
    }
}

fn address(name: &str) -> Option<Operator> {
    ADDRESSES
        .iter()
        .find_map(|(known, which)| {
            let part = match name.strip_prefix(known)? {
                "" => Part::Whole,
                "_WITHOUT_PORT" => Part::Ip,
                "_PORT" => Part::Port,
                _ => return None,
            };
            Some(Operator::Address(*which, part))
        })
        .or_else(|| {
            // Envoy says `DOWNSTREAM_REMOTE_PORT` for `DOWNSTREAM_REMOTE_ADDRESS_PORT`.
            let start = name.strip_suffix("_PORT")?;
            let known = |(known, _): &&(&str, Address)| known.strip_suffix("_ADDRESS") == Some(start);
            ADDRESSES.iter().find(known).map(|(_, which)| Operator::Address(*which, Part::Port))
        })
}

fn certificate(name: &str) -> Option<Operator> {
    let (side, rest) = match name.strip_prefix("DOWNSTREAM_PEER_") {
        Some(rest) => (Side::Peer, rest),
        None => (Side::Local, name.strip_prefix("DOWNSTREAM_LOCAL_")?),
    };
    CERTIFICATE.iter().find(|(known, _)| *known == rest).map(|(_, part)| Operator::Certificate(side, *part))
}

/// `wasm.outrigger.route:PLAIN`: what a plugin has set, in Envoy under a name that begins with `wasm.`.
fn filter_state(argument: &str) -> Result<Operator, String> {
    let (key, how) = argument.split_once(':').unwrap_or((argument, "PLAIN"));
    if key.is_empty() || !matches!(how, "PLAIN" | "TYPED") {
        return Err("expected a key, or a key with :PLAIN or :TYPED".into());
    }
    Ok(Operator::FilterState(key.strip_prefix("wasm.").unwrap_or(key).as_bytes().into()))
}

fn bytes(value: Option<&[u8]>, out: &mut Vec<u8>) -> Said {
    let Some(value) = value else { return Said::Nothing };
    out.extend_from_slice(value);
    Said::Text
}

fn text(value: &str, out: &mut Vec<u8>) -> Said {
    bytes((!value.is_empty()).then_some(value.as_bytes()), out)
}

fn number(value: impl Into<u64>, out: &mut Vec<u8>) -> Said {
    out.extend_from_slice(itoa::Buffer::new().format(value.into()).as_bytes());
    Said::Number
}

fn size(value: usize, out: &mut Vec<u8>) -> Said {
    number(u64::try_from(value).unwrap_or(u64::MAX), out)
}

fn milliseconds(value: Option<Duration>, out: &mut Vec<u8>) -> Said {
    match value {
        Some(value) => number(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), out),
        None => Said::Nothing,
    }
}

fn header<'s>(headers: &'s http_match::HeaderList, selector: &HeaderSelector) -> Option<&'s [u8]> {
    headers.get(&selector.name).or_else(|| headers.get(selector.otherwise.as_deref()?))
}

fn property<'s>(state: &'s StreamState, path: &[u8]) -> Option<&'s [u8]> {
    state.properties.iter().find(|(known, _)| known == path).map(|(_, value)| value.as_slice())
}

fn start_time(started: SystemTime, format: &TimeFormat, out: &mut Vec<u8>) -> Said {
    if format.write(started, out) { Said::Text } else { Said::Nothing }
}

/// The names of gRPC's statuses by number.
const GRPC: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

fn grpc_status(state: &StreamState, how: GrpcStatus, out: &mut Vec<u8>) -> Said {
    let Some(status) = state.grpc_status().filter(|_| state.is_grpc()) else { return Said::Nothing };
    let name = GRPC.get(usize::from(status));
    match (how, name) {
        (GrpcStatus::Camel, Some((camel, _))) => text(camel, out),
        (GrpcStatus::Snake, Some((_, snake))) => text(snake, out),
        _ => number(status, out),
    }
}

impl Address {
    fn of(self, state: &StreamState) -> Option<SocketAddr> {
        match self {
            Self::Upstream => state.upstream,
            Self::UpstreamLocal => state.upstream_local,
            Self::DownstreamLocal => Some(state.connection.destination),
            Self::DownstreamRemote => Some(state.connection.source),
            Self::DownstreamDirectRemote => Some(state.connection.direct_peer),
        }
    }
}

impl Part {
    fn write(self, address: Option<SocketAddr>, out: &mut Vec<u8>) -> Said {
        let Some(address) = address else { return Said::Nothing };
        match (self, address) {
            (Self::Port, _) => return number(address.port(), out),
            (_, SocketAddr::V4(address)) => ipv4(*address.ip(), out),
            // Writing to memory does not fail; so below.
            (Self::Whole, _) => drop(write!(out, "[{}]", address.ip())),
            (Self::Ip, _) => drop(write!(out, "{}", address.ip())),
        }
        if matches!(self, Self::Whole) {
            out.push(b':');
            number(address.port(), out);
        }
        Said::Text
    }
}

/// As `Display` writes it, at a third of the cost.
fn ipv4(address: Ipv4Addr, out: &mut Vec<u8>) {
    for (index, octet) in address.octets().into_iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"." });
        number(octet, out);
    }
}

impl Side {
    fn of(self, connection: &ConnectionProperties) -> Option<&CertificateProperties> {
        match self {
            Self::Peer => connection.peer.as_deref(),
            Self::Local => connection.local.as_deref(),
        }
    }
}

impl CertificatePart {
    fn write(self, certificate: Option<&CertificateProperties>, out: &mut Vec<u8>) -> Said {
        let Some(certificate) = certificate else { return Said::Nothing };
        match self {
            Self::UriSan => list(&certificate.uri_sans, out),
            Self::DnsSan => list(&certificate.dns_sans, out),
            Self::Subject => text(&certificate.subject, out),
            Self::Fingerprint => text(&certificate.sha256, out),
            Self::Pem => text(&certificate.pem, out),
        }
    }
}

/// With commas, as Envoy has it.
fn list(names: &[String], out: &mut Vec<u8>) -> Said {
    for (index, name) in names.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"," });
        out.extend_from_slice(name.as_bytes());
    }
    if names.is_empty() { Said::Nothing } else { Said::Text }
}

impl Field {
    fn write(self, logged: &Logged<'_>, out: &mut Vec<u8>) -> Said {
        let Logged { state, flags, duration } = logged;
        let [received, sent] = state.body_bytes;
        match self {
            Self::Protocol => text(state.protocol, out),
            Self::ResponseCode => number(state.status().unwrap_or(0), out),
            Self::ResponseCodeDetails => text(&state.details, out),
            Self::ResponseFlags => {
                let _ = write!(out, "{flags}");
                Said::Text
            }
            Self::TerminationDetails => text(&state.termination_details, out),
            Self::TransportFailure => {
                let start = out.len();
                let said = text(&state.transport_failure, out);
                // As Envoy has it: one word.
                out.iter_mut().skip(start).filter(|byte| **byte == b' ').for_each(|byte| *byte = b'_');
                said
            }
            Self::BytesReceived => number(received, out),
            Self::BytesSent => number(sent, out),
            Self::RequestHeadersBytes => size(state.request.size(), out),
            Self::ResponseHeadersBytes => size(state.response.size(), out),
            Self::ResponseTrailersBytes => size(state.response_trailers.size(), out),
            Self::Duration => milliseconds(Some(*duration), out),
            Self::RequestDuration => milliseconds(state.request_ended, out),
            Self::ResponseDuration => milliseconds(state.response_began, out),
            Self::ResponseTxDuration => {
                milliseconds(state.response_began.map(|began| duration.saturating_sub(began)), out)
            }
            Self::UpstreamCluster => text(&state.cluster, out),
            Self::UpstreamAttempts => number(state.attempts, out),
            Self::ConnectionId => number(state.connection.id, out),
            Self::RequestedServerName => text(&state.connection.requested_server_name, out),
            Self::RouteName => match state.route.is_empty() {
                true => bytes(property(state, ROUTE), out),
                false => text(&state.route, out),
            },
            Self::TlsVersion => text(state.connection.tls_version.unwrap_or_default(), out),
        }
    }
}

/// What `header-rules` says of the route it chose.
const ROUTE: &[u8] = b"outrigger.route";
