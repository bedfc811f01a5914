//! The operators of access logs, and how each is written.

use crate::telemetry::access_log::time_format::TimeFormat;
use http_match::{FormatCommand, HeaderSelector};

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
