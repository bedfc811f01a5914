//! What an operator says of a stream.

use crate::telemetry::ResponseFlags;
use crate::telemetry::access_log::operator::{Address, CertificatePart, Field, GrpcStatus, Operator, Part, Side};
use crate::telemetry::access_log::time_format::TimeFormat;
use crate::wasm::{CertificateProperties, ConnectionProperties, StreamState};
use http_match::HeaderSelector;
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

impl Operator {
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
