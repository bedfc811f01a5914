//! Heads, chunks and trailers onto the wire. Headers are written as they stand: they were validated before, see
//! [`validate`](crate::http::validate).

use http_match::HeaderList;

use super::head::Framing;
use super::response::status;
use crate::http::hygiene::is_connection_specific;
use crate::http::validate::Invalid;

/// What ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends a request's head for an upstream: request line from `:method` and `:path` (CONNECT: `:authority`), Host
/// from `:authority`, the fields without connection-specific ones, Host, Content-Length and any `te` but `trailers`,
/// then the field that `framing` needs, and `Connection: upgrade` with `upgrade`'s protocol. Names are lower-case.
/// `UntilClose` ends no request and is written as chunked. A POST without a body should be `Length(0)`.
///
/// # Errors
/// A pseudo-header is missing; nothing is written then.
pub fn request_head(
    out: &mut Vec<u8>,
    headers: &HeaderList,
    framing: Framing,
    upgrade: Option<&[u8]>,
) -> Result<(), Invalid> {
    let part = |name, reason| headers.get(name).filter(|value| !value.is_empty()).ok_or(Invalid { reason });
    let method = part(":method", "no :method")?;
    let authority = part(":authority", "no :authority")?;
    let target = if method == b"CONNECT" { authority } else { part(":path", "no :path")? };
    out.reserve(room(headers));
    for piece in [method, b" ", target, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(piece);
    }
    field(out, b"host", authority);
    for (name, value) in headers.iter() {
        if is_passed_on(name, value) && name != b"host" {
            field(out, name, value);
        }
    }
    let framing = if framing == Framing::UntilClose { Framing::Chunked } else { framing };
    end_of_head(out, framing, false, upgrade);
    Ok(())
}

/// Appends a response's head for a client: status line from `:status` with its standard reason phrase, the fields
/// as in [`request_head`], the field that `framing` needs, `Connection: close` when `connection_close`, and the
/// upgrade of a 101.
///
/// `Framing::None` is for a response that cannot have a body (HEAD, 1xx, 204, 304, a tunnel): its Content-Length, if
/// there is a valid one, then stays for HEAD and 304, being the length a body would have; not on 1xx and 204, nor with
/// an upgrade. Of a successful response to CONNECT the caller removes it.
///
/// # Errors
/// There is no valid `:status`; nothing is written then.
pub fn response_head(
    out: &mut Vec<u8>,
    headers: &HeaderList,
    framing: Framing,
    connection_close: bool,
    upgrade: Option<&[u8]>,
) -> Result<(), Invalid> {
    let digits = headers.get(":status").unwrap_or_default();
    let status = status(digits).ok_or(Invalid { reason: "no :status of three digits" })?;
    out.reserve(room(headers));
    for piece in [b"HTTP/1.1 ", digits, b" ", reason_phrase(status).as_bytes(), b"\r\n"] {
        out.extend_from_slice(piece);
    }
    for (name, value) in headers.iter() {
        if is_passed_on(name, value) {
            field(out, name, value);
        }
    }
    let hypothetical = framing == Framing::None && status >= 200 && status != 204 && upgrade.is_none();
    let length = headers.get("content-length").filter(|_| hypothetical);
    let framing = length.and_then(crate::http::syntax::decimal).map_or(framing, Framing::Length);
    end_of_head(out, framing, connection_close, upgrade);
    Ok(())
}

/// Appends what comes before a chunk of `size` bytes; behind the chunk comes [`CHUNK_END`]. There is no chunk of no
/// bytes, it would end the body: for 0 nothing is written, and the caller writes no end either.
pub fn chunk_header(out: &mut Vec<u8>, size: usize) {
    if size > 0 {
        digits::<16>(out, size as u64);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the last chunk, the trailers if there are any, and the end of the body. Pseudo-headers and framing are
/// left out of the trailers.
pub fn last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderList>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.iter().flat_map(|trailers| trailers.iter()) {
        if is_passed_on(name, value) && name != b"host" {
            field(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status: IANA's registry, "Unknown" for what it does not have, as Envoy writes it.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200..=299 => success_phrase(status),
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400..=499 => client_error_phrase(status),
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => UNKNOWN_STATUS,
    }
}

const UNKNOWN_STATUS: &str = "Unknown";

fn success_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        _ => UNKNOWN_STATUS,
    }
}

fn client_error_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        _ => UNKNOWN_STATUS,
    }
}

/// Whether a field is written as it stands.
fn is_passed_on(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"" | [b':', ..] | b"content-length" => false,
        b"te" => value == b"trailers",
        _ => !is_connection_specific(name),
    }
}

/// About the bytes a head takes, so that writing it grows the buffer once at most.
fn room(headers: &HeaderList) -> usize {
    const LINES_OF_OUR_OWN: usize = 128;
    headers.size() + headers.len() * ": \r\n".len() + LINES_OF_OUR_OWN
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for piece in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(piece);
    }
}

fn end_of_head(out: &mut Vec<u8>, framing: Framing, close: bool, upgrade: Option<&[u8]>) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Chunked => field(out, b"transfer-encoding", b"chunked"),
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            digits::<10>(out, length);
            out.extend_from_slice(b"\r\n");
        }
    }
    if let Some(protocol) = upgrade {
        field(out, b"connection", b"upgrade");
        field(out, b"upgrade", protocol);
    } else if close || framing == Framing::UntilClose {
        field(out, b"connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a number to the base 10 or 16, without leading zeros.
fn digits<const BASE: u64>(out: &mut Vec<u8>, number: u64) {
    let start = out.len();
    let mut rest = number;
    loop {
        // A remainder below 16 fits; the fallback is never taken.
        let digit = u8::try_from(rest % BASE).unwrap_or(0);
        out.push(if digit < 10 { b'0' + digit } else { b'a' + (digit - 10) });
        rest /= BASE;
        if rest == 0 {
            break;
        }
    }
    if let Some(written) = out.get_mut(start..) {
        written.reverse();
    }
}
