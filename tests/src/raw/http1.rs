//! A strict reader of HTTP/1.1 messages: whatever two readers could take differently is an error here.

use crate::raw::Socket;

/// Fields that a message may have here: more than any test sends.
const FIELDS: usize = 512;

/// A message.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Its first line.
    pub start: String,
    /// Its headers in order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body, as far as it came.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// Whether it has its end.
    pub whole: bool,
    /// Interim responses before it, by status.
    pub interim: Vec<u16>,
}

/// What is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind<'m> {
    /// A request.
    Request,
    /// The response to a request of this method.
    Response(&'m str),
}

/// How a body ends.
enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

impl Message {
    /// The status of a response; 0 for a request.
    pub fn status(&self) -> u16 {
        let status = self.start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status.and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// All values of a header, joined by commas; `None` without one.
    pub fn header(&self, name: &str) -> Option<String> {
        joined(&self.headers, name)
    }

    /// All values of a trailer, joined by commas; `None` without one.
    pub fn trailer(&self, name: &str) -> Option<String> {
        joined(&self.trailers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn joined(fields: &[(String, Vec<u8>)], name: &str) -> Option<String> {
    let values = fields.iter().filter(|(known, _)| known == name);
    let values: Vec<_> = values.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Reads a whole message. `None`: the connection ended before its first byte. A body that is cut has `whole` unset.
///
/// # Errors
/// What is no strict HTTP/1.1, or does not come.
pub fn read(socket: &mut Socket, kind: Kind<'_>) -> Result<Option<Message>, String> {
    let Some(mut message) = read_head(socket, kind)? else { return Ok(None) };
    if kind == Kind::Request || message.status() != 101 {
        read_body(socket, kind, &mut message)?;
    }
    Ok(Some(message))
}

/// Reads a head, and the interim responses before it. The body is left on the socket.
///
/// # Errors
/// As [`read`].
pub fn read_head(socket: &mut Socket, kind: Kind<'_>) -> Result<Option<Message>, String> {
    let mut interim = Vec::new();
    loop {
        let Some(message) = one_head(socket, kind)? else { return Ok(None) };
        match message.status() {
            status @ (100 | 102..=199) => interim.push(status),
            _ => return Ok(Some(Message { interim, ..message })),
        }
    }
}

fn one_head(socket: &mut Socket, kind: Kind<'_>) -> Result<Option<Message>, String> {
    let end = loop {
        if let Some(place) = position(&socket.read, b"\r\n\r\n") {
            break place + 4;
        }
        if !socket.fill()? {
            return match socket.read.is_empty() {
                true => Ok(None),
                false => Err(format!("a head that ends in {:?}", String::from_utf8_lossy(&socket.read))),
            };
        }
    };
    let head = socket.take(end)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&head).into_owned();
    if head.split(|byte| *byte == b'\n').rev().skip(1).any(|line| !line.ends_with(b"\r")) {
        return Err(format!("a bare line feed: {text:?}"));
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let parsed = match kind {
        Kind::Request => httparse::Request::new(&mut fields).parse(&head),
        Kind::Response(_) => httparse::Response::new(&mut fields).parse(&head),
    };
    if !matches!(parsed, Ok(httparse::Status::Complete(size)) if size == head.len()) {
        return Err(format!("{parsed:?}: {text:?}"));
    }
    let start = text.lines().next().unwrap_or_default().to_owned();
    let fields = fields.iter().filter(|field| !field.name.is_empty());
    let headers = fields.map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
    Ok(Some(Message { start, headers, ..Message::default() }))
}

/// Reads the body of a message whose head has been read.
///
/// # Errors
/// As [`read`].
pub fn read_body(socket: &mut Socket, kind: Kind<'_>, message: &mut Message) -> Result<(), String> {
    match framing(message, kind)? {
        Framing::None => message.whole = true,
        Framing::Length(length) => {
            while socket.read.len() < length && socket.fill()? {}
            let size = length.min(socket.read.len());
            message.body = socket.take(size)?.unwrap_or_default();
            message.whole = size == length;
        }
        Framing::UntilClose => {
            let (body, ended) = socket.rest()?;
            (message.body, message.whole) = (body, ended == super::Ended::Closed);
        }
        Framing::Chunked => read_chunks(socket, message)?,
    }
    Ok(())
}

fn framing(message: &Message, kind: Kind<'_>) -> Result<Framing, String> {
    let of = |name| message.headers.iter().filter(move |(known, _)| known == name);
    let (lengths, codings) = (of("content-length").count(), of("transfer-encoding").count());
    if lengths + codings > 1 {
        return Err(format!("two framings: {message:?}"));
    }
    let bodiless = match kind {
        Kind::Request => false,
        Kind::Response(method) => {
            let status = message.status();
            let tunnel = method == "CONNECT" && (200..300).contains(&status);
            method == "HEAD" || tunnel || matches!(status, 100..=199 | 204 | 304)
        }
    };
    if bodiless {
        return Ok(Framing::None);
    }
    if codings == 1 {
        let chunked = message.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
        return if chunked { Ok(Framing::Chunked) } else { Err(format!("an odd coding: {message:?}")) };
    }
    match (message.header("content-length"), kind) {
        (Some(length), _) => {
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            let length = length.parse().ok().filter(|_| digits);
            length.map(Framing::Length).ok_or_else(|| format!("an odd length: {message:?}"))
        }
        (None, Kind::Request) => Ok(Framing::None),
        (None, Kind::Response(_)) => Ok(Framing::UntilClose),
    }
}

fn read_chunks(socket: &mut Socket, message: &mut Message) -> Result<(), String> {
    loop {
        let Some(line) = line(socket)? else { return Ok(()) };
        let size = usize::from_str_radix(&line, 16).map_err(|_| format!("an odd chunk size: {line:?}"))?;
        if size == 0 {
            break;
        }
        while socket.read.len() < size + 2 && socket.fill()? {}
        let whole = socket.read.len() >= size + 2;
        let data = socket.take(size.min(socket.read.len()))?.unwrap_or_default();
        message.body.extend_from_slice(&data);
        if !whole {
            return Ok(());
        }
        if socket.take(2)?.as_deref() != Some(b"\r\n") {
            return Err(format!("a chunk without its end: {message:?}"));
        }
    }
    while let Some(line) = line(socket)? {
        if line.is_empty() {
            message.whole = true;
            return Ok(());
        }
        let (name, value) = line.split_once(':').ok_or_else(|| format!("an odd trailer: {line:?}"))?;
        message.trailers.push((name.to_ascii_lowercase(), value.trim().as_bytes().to_vec()));
    }
    Ok(())
}

/// A line without its end; `None`: cut off.
fn line(socket: &mut Socket) -> Result<Option<String>, String> {
    loop {
        if let Some(place) = position(&socket.read, b"\r\n") {
            let line = socket.take(place + 2)?.unwrap_or_default();
            return Ok(Some(String::from_utf8_lossy(&line[..place]).into_owned()));
        }
        if !socket.fill()? {
            return Ok(None);
        }
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
