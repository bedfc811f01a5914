//! The other end of a stream, whatever it speaks: what comes from it, what is sent to it.

use crate::http::refused::Refused;
use bytes::Bytes;
use http_match::HeaderList;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection's bytes: TCP, TLS, or a pipe in tests.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin {
    /// The socket at the bottom, where there is one: what it needs to be cut off so that the other end sees it.
    fn socket(&self) -> Option<&TcpStream>;
}

impl Io for TcpStream {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl<I: Io> Io for tokio_rustls::client::TlsStream<I> {
    fn socket(&self) -> Option<&TcpStream> {
        self.get_ref().0.socket()
    }
}

impl<I: Io> Io for tokio_rustls::server::TlsStream<I> {
    fn socket(&self) -> Option<&TcpStream> {
        self.get_ref().0.socket()
    }
}

#[cfg(test)]
impl Io for tokio::io::DuplexStream {
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

/// A connection's bytes. One allocation and one indirect call per read and write, against a copy of all the code for
/// each kind.
pub(crate) type Transport = Box<dyn Io>;

/// What came from the other end.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The head of the message; whether it is all of it. Interim responses do not count.
    Headers { headers: HeaderList, end: bool },
    /// A part of the body, never empty; whether it is known to be the last. One that is not is followed by what ends
    /// the message.
    Data { bytes: Bytes, end: bool },
    /// The end, with trailers.
    Trailers(HeaderList),
    /// The end.
    End,
}

/// Why the other end is of no more use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PeerError {
    /// It closed the connection.
    Closed,
    /// It reset the stream (HTTP/2 RST_STREAM).
    Reset,
    /// It refused the stream without looking at it (HTTP/2 REFUSED_STREAM).
    RefusedStream,
    /// What it sent is no HTTP that may be passed on.
    Protocol(Refused),
    /// What was to be sent to it does not hold together: a body of another length than announced.
    Framing,
}

/// One stream's other end. Everything is polled by the task that serves the stream.
pub(crate) trait Peer {
    /// The next of its message.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, PeerError>>;

    /// Sends the head of a message. A body follows unless it is the end.
    fn send_headers(&mut self, headers: &HeaderList, end: bool) -> Result<(), PeerError>;

    /// Sends a part of the body, which may be empty.
    fn send_data(&mut self, bytes: Bytes, end: bool) -> Result<(), PeerError>;

    /// Sends the end, with trailers.
    fn send_trailers(&mut self, trailers: &HeaderList) -> Result<(), PeerError>;

    /// Whether it takes more now; what is waiting is sent on the way.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>>;

    /// Sends all that is waiting.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>>;
}
