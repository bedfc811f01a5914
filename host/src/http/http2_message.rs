//! HTTP/2 messages as the proxy's header lists, and back; the two halves of a stream.

use crate::http::http1::head::HeadLimits;
use crate::http::hygiene;
use crate::http::peer::{Incoming, PeerError};
use crate::http::refused::Refused;
use crate::http::validate;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, request, response};
use http_match::HeaderList;
use std::task::{Context, Poll, ready};

/// A request's head as a header list; `host` is the authority where there is no `:authority`, and must agree with it.
pub(crate) fn request_headers(
    parts: &request::Parts,
    scheme: &str,
    limits: &HeadLimits,
) -> Result<HeaderList, Refused> {
    let size = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    if size > limits.bytes {
        return Err(Refused::HEAD_TOO_LARGE);
    }
    if parts.headers.len() > limits.fields {
        return Err(Refused::TOO_MANY_HEADERS);
    }
    // Whoever comes next may read the other one.
    if ["host", "content-length"].iter().any(|name| parts.headers.get_all(*name).iter().nth(1).is_some()) {
        return Err(Refused::CODEC_ERROR);
    }
    let host = parts.headers.get("host").map(HeaderValue::as_bytes);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes()).or(host);
    let authority = authority.ok_or(Refused::MISSING_HOST)?;
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
        return Err(Refused::INVALID_AUTHORITY);
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    if target.len() > limits.target {
        return Err(Refused::TARGET_TOO_LONG);
    }
    let mut headers = HeaderList::with_capacity(parts.headers.len() + 4, size + 128);
    headers.add(":authority", authority);
    if parts.method != Method::CONNECT {
        headers.add(":path", target.as_bytes());
    }
    headers.add(":method", parts.method.as_str().as_bytes());
    if parts.method != Method::CONNECT {
        headers.add(":scheme", scheme.as_bytes());
    }
    append(&mut headers, &parts.headers)?;
    Ok(headers)
}

/// A response's head as a header list.
pub(crate) fn response_headers(parts: &response::Parts) -> Result<HeaderList, Refused> {
    let mut headers = HeaderList::with_capacity(parts.headers.len() + 1, 256);
    headers.add(":status", parts.status.as_str().as_bytes());
    append(&mut headers, &parts.headers)?;
    Ok(headers)
}

/// Fields of one connection do not belong here (RFC 9113 section 8.2.2); cookies become one field, which they are to
/// everyone but HTTP/2's compression.
fn append(headers: &mut HeaderList, map: &HeaderMap) -> Result<(), Refused> {
    let mut cookies: Vec<u8> = Vec::new();
    for (name, value) in map {
        let (name, value) = (name.as_str(), value.as_bytes());
        match name {
            "host" => {}
            "cookie" => {
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value);
            }
            "te" if value != b"trailers" => return Err(Refused::CODEC_ERROR),
            _ if hygiene::is_connection_specific(name.as_bytes()) => return Err(Refused::CODEC_ERROR),
            _ => headers.add(name, value),
        }
    }
    if !cookies.is_empty() {
        headers.add("cookie", &cookies);
    }
    Ok(())
}

/// A header list as a request's head.
pub(crate) fn to_request(headers: &HeaderList) -> Option<Request<()>> {
    let method = Method::from_bytes(headers.get(":method")?).ok()?;
    let authority = headers.get(":authority")?;
    let mut uri = Uri::builder().authority(authority);
    if method != Method::CONNECT {
        uri = uri.scheme(headers.get(":scheme").unwrap_or(b"http")).path_and_query(headers.get(":path")?);
    }
    let mut request = Request::new(());
    *request.uri_mut() = uri.build().ok()?;
    *request.method_mut() = method;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = fields(headers)?;
    Some(request)
}

/// A header list as a response's head.
pub(crate) fn to_response(headers: &HeaderList) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_bytes(headers.get(":status")?).ok()?;
    *response.headers_mut() = fields(headers)?;
    Some(response)
}

/// The fields of a list, without pseudo-headers and what belongs to one connection.
fn fields(headers: &HeaderList) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter() {
        let skipped = name.starts_with(b":") || name == b"host" || hygiene::is_connection_specific(name);
        if !skipped {
            map.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
    }
    Some(map)
}

/// The receiving half of a stream.
pub(crate) struct Http2Receive {
    body: h2::RecvStream,
    data_done: bool,
    limits: HeadLimits,
}

impl Http2Receive {
    pub(crate) fn new(body: h2::RecvStream, limits: HeadLimits) -> Self {
        Self { body, data_done: false, limits }
    }

    /// Whether nothing more comes.
    pub(crate) fn is_end(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, PeerError>> {
        while !self.data_done {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    // The window is given back as the bytes are taken: whoever does not poll makes the peer wait.
                    let _ = self.body.flow_control().release_capacity(bytes.len());
                    if !bytes.is_empty() {
                        return Poll::Ready(Ok(Incoming::Data { bytes, end: self.body.is_end_stream() }));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(error_of(&error))),
                None => self.data_done = true,
            }
        }
        match ready!(self.body.poll_trailers(cx)) {
            Ok(Some(map)) => {
                let mut trailers = HeaderList::new();
                map.iter().for_each(|(name, value)| trailers.add(name.as_str(), value.as_bytes()));
                if validate::trailers(&trailers, &self.limits).is_err() {
                    return Poll::Ready(Err(PeerError::Protocol(Refused::TRAILERS_TOO_LARGE)));
                }
                Poll::Ready(Ok(Incoming::Trailers(trailers)))
            }
            Ok(None) => Poll::Ready(Ok(Incoming::End)),
            Err(error) => Poll::Ready(Err(error_of(&error))),
        }
    }
}

/// The sending half of a stream.
pub(crate) struct Http2Send {
    stream: h2::SendStream<Bytes>,
    waiting: Bytes,
    end: bool,
    trailers: Option<HeaderMap>,
}

/// What is asked of the flow control at a time.
const WINDOW: usize = 64 << 10;

impl Http2Send {
    pub(crate) fn new(stream: h2::SendStream<Bytes>) -> Self {
        Self { stream, waiting: Bytes::new(), end: false, trailers: None }
    }

    /// Queues bytes; only after [`Self::poll_ready`].
    pub(crate) fn send_data(&mut self, bytes: Bytes, end: bool) -> Result<(), PeerError> {
        if self.waiting.is_empty() {
            self.waiting = bytes;
        } else if !bytes.is_empty() {
            self.waiting = [&self.waiting[..], &bytes[..]].concat().into();
        }
        self.end = end;
        Ok(())
    }

    pub(crate) fn send_trailers(&mut self, trailers: &HeaderList) -> Result<(), PeerError> {
        self.trailers = Some(fields(trailers).ok_or(PeerError::Framing)?);
        self.end = true;
        Ok(())
    }

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        self.poll_flush(cx)
    }

    /// Hands what is waiting to the connection, as far as the other side's window allows.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        while !self.waiting.is_empty() {
            if self.stream.capacity() == 0 {
                self.stream.reserve_capacity(self.waiting.len().min(WINDOW));
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(error_of(&error))),
                    None => return Poll::Ready(Err(PeerError::Closed)),
                }
            }
            let part = self.waiting.split_to(self.stream.capacity().min(self.waiting.len()));
            let last = self.end && self.waiting.is_empty() && self.trailers.is_none();
            self.stream.send_data(part, last).map_err(|error| error_of(&error))?;
            if last {
                self.end = false;
                return Poll::Ready(Ok(()));
            }
        }
        if self.end {
            self.end = false;
            let sent = match self.trailers.take() {
                Some(trailers) => self.stream.send_trailers(trailers),
                None => self.stream.send_data(Bytes::new(), true),
            };
            sent.map_err(|error| error_of(&error))?;
        }
        // A client that has gone is noticed here as well, so that its upstream work ends at once.
        if let Poll::Ready(reset) = self.stream.poll_reset(cx) {
            return Poll::Ready(Err(reset.map_or_else(|error| error_of(&error), |_| PeerError::Closed)));
        }
        Poll::Ready(Ok(()))
    }

    /// Cuts the stream off.
    pub(crate) fn reset(&mut self) {
        self.stream.send_reset(h2::Reason::INTERNAL_ERROR);
    }
}

pub(crate) fn error_of(error: &h2::Error) -> PeerError {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => PeerError::RefusedStream,
        // Told of streams above its last one only: it has not looked at them (RFC 9113 section 6.8).
        Some(_) if error.is_go_away() && error.is_remote() => PeerError::RefusedStream,
        Some(_) if error.is_reset() && error.is_remote() => PeerError::Reset,
        _ => PeerError::Closed,
    }
}
