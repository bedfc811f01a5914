//! Envoy's format strings (`%REQ(x-user)%`), as far as a filter can compute them from headers and properties.

use crate::{HostError, ROUTE_PROPERTY, Stream};
use http_match::{FormatCommand, FormatFault, FormatPiece, HeaderSelector, read_format};
use plugin_config::{At, Quoted};

/// When a format string is rendered: decides what it may speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatPhase {
    /// While the request headers pass.
    Request,
    /// While the response headers pass. Request headers are gone by then: see [`FormatString::capture`].
    Response,
}

/// A compiled format string: text, `%%` for a percent sign, and commands. A value that does not exist renders as
/// nothing, as Envoy has it in headers.
///
/// | command | from |
/// | --- | --- |
/// | `REQ(name?other):limit`, `REQUEST_HEADER(…)` | the first request header of the name, or of the other name |
/// | `RESP(name?other):limit`, `RESPONSE_HEADER(…)`, `RESPONSE_CODE` | response headers (response only) |
/// | `DOWNSTREAM_REMOTE_ADDRESS`, `…_WITHOUT_PORT`, `DOWNSTREAM_REMOTE_PORT` | property `source.address` |
/// | `DOWNSTREAM_LOCAL_ADDRESS`, `…_WITHOUT_PORT`, `DOWNSTREAM_LOCAL_PORT` | property `destination.address` |
/// | `PROTOCOL`, `REQUESTED_SERVER_NAME`, `DOWNSTREAM_TLS_VERSION` | properties of request and connection |
/// | `DOWNSTREAM_PEER_SUBJECT`, `DOWNSTREAM_LOCAL_SUBJECT`, `…_PEER_URI_SAN`, `…_LOCAL_URI_SAN`, `…_PEER_DNS_SAN`, `…_LOCAL_DNS_SAN`, `DOWNSTREAM_PEER_FINGERPRINT_256` | the certificates; of several alternative names the first, which is all a filter can see |
/// | `ROUTE_NAME` | the route that `header-rules` chose |
/// | `UPSTREAM_HOST`, `UPSTREAM_CLUSTER`, `UPSTREAM_LOCAL_ADDRESS`, `UPSTREAM_REQUEST_ATTEMPT_COUNT`, `RESPONSE_CODE_DETAILS` | properties (response only) |
#[derive(Clone, Debug)]
pub struct FormatString {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(Box<[u8]>),
    Command(Command, usize),
}

#[derive(Clone, Debug)]
enum Command {
    RequestHeader(HeaderSelector),
    ResponseHeader(HeaderSelector),
    Property(&'static [&'static str], Part),
}

/// What of a property is wanted. Addresses are `10.0.0.1:8080`, `[::1]:8080`.
#[derive(Clone, Copy, Debug)]
enum Part {
    Whole,
    /// Of an address.
    WithoutPort,
    /// Of an address.
    Port,
    /// A whole number, in decimal digits.
    Number,
}

/// Request headers kept for the format strings of the response phase.
#[derive(Clone, Debug, Default)]
pub struct CapturedHeaders(Vec<Vec<u8>>);

/// Where rendering finds request headers.
enum RequestValues<'c> {
    Stream,
    Captured(std::slice::Iter<'c, Vec<u8>>),
}

impl FormatString {
    /// Compiles a text. Control characters, percent signs that do not pair, and commands that are unknown or cannot be
    /// computed in this phase are faults.
    pub fn compile(text: &str, phase: FormatPhase, at: &mut At) -> Option<Self> {
        if text.bytes().any(|byte| (byte.is_ascii_control() && byte != b'\t') || byte == 0x7F) {
            return at.fault(Quoted(text), "control characters cannot stand in a header");
        }
        let written = match read_format(text) {
            Ok(written) => written,
            Err(FormatFault { command: Some(command), reason, .. }) => {
                return at.fault(Quoted(text), format!("%{command}%: {reason}"));
            }
            Err(FormatFault { reason, .. }) => return at.fault(Quoted(text), reason),
        };
        let mut pieces = Vec::with_capacity(written.len());
        for piece in written {
            pieces.push(match piece {
                FormatPiece::Text(text) => Piece::Text(text.into_owned().into_bytes().into()),
                FormatPiece::Command(written) => match parse_command(&written, phase) {
                    Ok(command) => Piece::Command(command, written.limit.unwrap_or(usize::MAX)),
                    Err(reason) => return at.fault(Quoted(text), format!("%{}%: {reason}", written.text)),
                },
            });
        }
        Some(Self { pieces })
    }

    /// The text, when it holds no command: it renders the same for every stream.
    pub fn fixed(&self) -> Option<&[u8]> {
        match self.pieces.as_slice() {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// How many request headers a rendering reads.
    pub fn request_headers(&self) -> usize {
        self.pieces.iter().filter(|piece| matches!(piece, Piece::Command(Command::RequestHeader(_), _))).count()
    }

    /// Renders while the request headers pass.
    ///
    /// # Errors
    /// When the host does not give the stream's headers or properties.
    pub fn render_request(&self, stream: &mut Stream<'_>) -> Result<Vec<u8>, HostError> {
        self.render(&mut RequestValues::Stream, stream)
    }

    /// Keeps what [`FormatString::render_response`] will need of the request.
    ///
    /// # Errors
    /// As [`FormatString::render_request`].
    pub fn capture(&self, stream: &mut Stream<'_>, captured: &mut CapturedHeaders) -> Result<(), HostError> {
        for piece in &self.pieces {
            if let Piece::Command(Command::RequestHeader(selector), limit) = piece {
                let mut value = Vec::new();
                append(&mut value, of_request(selector, stream)?, *limit);
                captured.0.push(value);
            }
        }
        Ok(())
    }

    fn render(&self, request: &mut RequestValues<'_>, stream: &mut Stream<'_>) -> Result<Vec<u8>, HostError> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Command(command, limit) => append(&mut out, command.value(request, stream)?, *limit),
            }
        }
        Ok(out)
    }
}

/// Renders several format strings of the response phase, in the order in which they were captured.
pub struct ResponseRenderer<'c> {
    request: RequestValues<'c>,
}

impl<'c> ResponseRenderer<'c> {
    /// Over what was captured of the request.
    pub fn new(captured: &'c CapturedHeaders) -> Self {
        Self { request: RequestValues::Captured(captured.0.iter()) }
    }

    /// Renders the next one.
    ///
    /// # Errors
    /// When the host does not give the response headers or a property.
    pub fn render(&mut self, format: &FormatString, stream: &mut Stream<'_>) -> Result<Vec<u8>, HostError> {
        format.render(&mut self.request, stream)
    }
}

impl Command {
    fn value(&self, request: &mut RequestValues<'_>, stream: &mut Stream<'_>) -> Result<Option<Vec<u8>>, HostError> {
        match self {
            Self::RequestHeader(selector) => match request {
                RequestValues::Stream => of_request(selector, stream),
                RequestValues::Captured(values) => Ok(values.next().cloned()),
            },
            Self::ResponseHeader(selector) => of_response(selector, stream),
            Self::Property(path, part) => Ok(stream.property(path)?.map(|value| part.of(value))),
        }
    }
}

fn of_request(selector: &HeaderSelector, stream: &mut Stream<'_>) -> Result<Option<Vec<u8>>, HostError> {
    match (stream.request_header(&selector.name)?, &selector.otherwise) {
        (None, Some(otherwise)) => stream.request_header(otherwise),
        (value, _) => Ok(value),
    }
}

fn of_response(selector: &HeaderSelector, stream: &mut Stream<'_>) -> Result<Option<Vec<u8>>, HostError> {
    let headers = stream.response_headers()?;
    let value = headers.get(&selector.name).or_else(|| headers.get(selector.otherwise.as_deref()?));
    Ok(value.map(<[u8]>::to_vec))
}

impl Part {
    fn of(self, mut value: Vec<u8>) -> Vec<u8> {
        let colon = value.iter().rposition(|&byte| byte == b':');
        match (self, colon) {
            (Self::WithoutPort, Some(colon)) => {
                value.truncate(colon);
                // Envoy writes an IPv6 address without its brackets when it stands alone.
                let bare = value.strip_prefix(b"[").and_then(|value| value.strip_suffix(b"]")).map(<[u8]>::to_vec);
                bare.unwrap_or(value)
            }
            (Self::Number, _) => match <[u8; 8]>::try_from(value.as_slice()) {
                Ok(number) => u64::from_le_bytes(number).to_string().into_bytes(),
                Err(_) => Vec::new(),
            },
            (Self::Port, Some(colon)) => value.split_off(colon + 1),
            (Self::Port, None) => Vec::new(),
            (Self::Whole, _) | (Self::WithoutPort, None) => value,
        }
    }
}

fn append(out: &mut Vec<u8>, value: Option<Vec<u8>>, limit: usize) {
    let value = value.unwrap_or_default();
    out.extend_from_slice(value.get(..limit).unwrap_or(&value));
}

/// What a command says.
fn parse_command(written: &FormatCommand<'_>, phase: FormatPhase) -> Result<Command, &'static str> {
    let response_only = |command| match phase {
        FormatPhase::Request => Err("not known before the response"),
        FormatPhase::Response => Ok(command),
    };
    if let Some((name, path, part)) = PROPERTIES.iter().find(|(known, ..)| *known == written.name) {
        let command = Command::Property(path, *part);
        let command = if RESPONSE_PROPERTIES.contains(name) { response_only(command)? } else { command };
        let bare = written.argument.is_none() && written.limit.is_none();
        return if bare { Ok(command) } else { Err("takes no argument and no length") };
    }
    match (written.name, written.argument) {
        ("REQ" | "REQUEST_HEADER", Some(argument)) => Ok(Command::RequestHeader(HeaderSelector::read(argument)?)),
        ("RESP" | "RESPONSE_HEADER", Some(argument)) => {
            response_only(Command::ResponseHeader(HeaderSelector::read(argument)?))
        }
        ("RESPONSE_CODE", None) => response_only(Command::ResponseHeader(HeaderSelector::read(":status")?)),
        ("REQ" | "REQUEST_HEADER" | "RESP" | "RESPONSE_HEADER", None) => Err("a header name is missing"),
        ("RESPONSE_CODE", Some(_)) => Err("takes no argument and no length"),
        _ => Err("not a command, or one that a filter cannot compute"),
    }
}

type PropertyCommand = (&'static str, &'static [&'static str], Part);

const PROPERTIES: [PropertyCommand; 22] = [
    ("DOWNSTREAM_REMOTE_ADDRESS", &["source", "address"], Part::Whole),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", &["source", "address"], Part::WithoutPort),
    ("DOWNSTREAM_REMOTE_PORT", &["source", "address"], Part::Port),
    ("DOWNSTREAM_LOCAL_ADDRESS", &["destination", "address"], Part::Whole),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", &["destination", "address"], Part::WithoutPort),
    ("DOWNSTREAM_LOCAL_PORT", &["destination", "address"], Part::Port),
    ("PROTOCOL", &["request", "protocol"], Part::Whole),
    ("REQUESTED_SERVER_NAME", &["connection", "requested_server_name"], Part::Whole),
    ("DOWNSTREAM_TLS_VERSION", &["connection", "tls_version"], Part::Whole),
    ("DOWNSTREAM_PEER_SUBJECT", &["connection", "subject_peer_certificate"], Part::Whole),
    ("DOWNSTREAM_LOCAL_SUBJECT", &["connection", "subject_local_certificate"], Part::Whole),
    ("DOWNSTREAM_PEER_URI_SAN", &["connection", "uri_san_peer_certificate"], Part::Whole),
    ("DOWNSTREAM_LOCAL_URI_SAN", &["connection", "uri_san_local_certificate"], Part::Whole),
    ("DOWNSTREAM_PEER_DNS_SAN", &["connection", "dns_san_peer_certificate"], Part::Whole),
    ("DOWNSTREAM_LOCAL_DNS_SAN", &["connection", "dns_san_local_certificate"], Part::Whole),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", &["connection", "sha256_peer_certificate_digest"], Part::Whole),
    ("ROUTE_NAME", &[ROUTE_PROPERTY], Part::Whole),
    ("UPSTREAM_HOST", &["upstream", "address"], Part::Whole),
    ("UPSTREAM_CLUSTER", &["xds", "cluster_name"], Part::Whole),
    ("UPSTREAM_LOCAL_ADDRESS", &["upstream", "local_address"], Part::Whole),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", &["upstream", "request_attempt_count"], Part::Number),
    ("RESPONSE_CODE_DETAILS", &["response", "code_details"], Part::Whole),
];

/// Those of [`PROPERTIES`] that exist only once there is a response.
const RESPONSE_PROPERTIES: [&str; 5] = [
    "UPSTREAM_HOST",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "RESPONSE_CODE_DETAILS",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(text: &str, phase: FormatPhase) -> Result<FormatString, String> {
        let mut at = At::root();
        let format = FormatString::compile(text, phase, &mut at);
        format.ok_or_else(|| at.into_faults().to_string())
    }

    #[test]
    fn text_without_commands_is_fixed() {
        for (text, fixed) in [("", ""), ("plain", "plain"), ("100%%", "100%"), ("%%%%", "%%"), ("ü\t", "ü\t")] {
            let format = compile(text, FormatPhase::Request).unwrap();
            assert_eq!(format.fixed(), Some(fixed.as_bytes()), "{text}");
        }
        assert!(compile("%PROTOCOL%", FormatPhase::Request).unwrap().fixed().is_none());
    }

    #[test]
    fn every_command_is_one_in_the_response_phase() {
        for (name, ..) in PROPERTIES {
            assert!(compile(&format!("a%{name}%b"), FormatPhase::Response).is_ok(), "{name}");
            let request = compile(&format!("%{name}%"), FormatPhase::Request);
            assert_eq!(request.is_err(), RESPONSE_PROPERTIES.contains(&name), "{name}");
        }
        for text in ["%REQ(a)%", "%REQ(:path?b):3%", "%RESP(a)%", "%RESPONSE_CODE%", "%REQUEST_HEADER(A)%%%%PROTOCOL%"]
        {
            assert!(compile(text, FormatPhase::Response).is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_with_the_command_and_the_reason() {
        let cases = [
            ("100%", "write %% for a percent sign"),
            ("%REQ(x)", "write %% for a percent sign"),
            ("%%%", "write %% for a percent sign"),
            ("%%REQ(x)%", "write %% for a percent sign"),
            ("%START_TIME(%s)%", "%START_TIME(%s)%: not a command"),
            ("%NOPE%", "%NOPE%: not a command"),
            ("%REQ(x)y%", "%REQ(x)y%: expected nothing"),
            ("%REQ(x):%", "expected a length"),
            ("%REQ(x):-1%", "expected a length"),
            ("%REQ(%", "write %% for a percent sign"),
            ("%REQ()%", "not a header name"),
            ("%REQ(a?)%", "not a header name behind the ?"),
            ("%REQ%", "a header name is missing"),
            ("%PROTOCOL():3%", "takes no argument"),
            ("%RESP(x)%", "not known before the response"),
            ("%RESPONSE_CODE%", "not known before the response"),
            ("a\nb", "control characters"),
            ("a\u{7f}", "control characters"),
        ];
        for (text, reason) in cases {
            let faults = compile(text, FormatPhase::Request).unwrap_err();
            assert!(faults.contains(reason), "{text}: {faults}");
        }
    }

    #[test]
    fn parts_of_properties() {
        let of = |part: Part, value: &[u8]| String::from_utf8(part.of(value.to_vec())).unwrap();
        for (value, name, port) in
            [("10.0.0.1:80", "10.0.0.1", "80"), ("[::1]:8080", "::1", "8080"), ("/sock", "/sock", "")]
        {
            assert_eq!(of(Part::WithoutPort, value.as_bytes()), name);
            assert_eq!(of(Part::Port, value.as_bytes()), port);
            assert_eq!(of(Part::Whole, value.as_bytes()), value);
        }
        assert_eq!(of(Part::Number, &3u64.to_le_bytes()), "3");
        assert_eq!(of(Part::Number, b"3"), "");
    }

    #[test]
    fn limits_cut_bytes() {
        let cut = |limit| {
            let mut out = b">".to_vec();
            append(&mut out, Some(b"a\xffb".to_vec()), limit);
            out
        };
        assert_eq!((cut(0), cut(2), cut(9)), (b">".to_vec(), b">a\xff".to_vec(), b">a\xffb".to_vec()));
    }
}
