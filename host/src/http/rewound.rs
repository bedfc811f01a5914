//! A connection of which something has been read already.

use crate::http::http1_io::Http1Io;
use crate::http::peer::{Io, Transport};
use bytes::{Buf, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Gives what was read before, then the rest.
#[derive(Debug)]
pub(crate) struct Rewound<T = Transport> {
    transport: T,
    read: BytesMut,
}

impl<T> Rewound<T> {
    pub(crate) fn new(transport: T, read: BytesMut) -> Self {
        // One that is empty may still hold on to memory.
        let read = if read.is_empty() { BytesMut::new() } else { read };
        Self { transport, read }
    }
}

impl From<Http1Io> for Rewound {
    fn from(io: Http1Io) -> Self {
        let (transport, read) = io.into_parts();
        Self { transport, read }
    }
}

impl<T: Io> Io for Rewound<T> {
    fn socket(&self) -> Option<&TcpStream> {
        self.transport.socket()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.transport).poll_read(cx, out);
        }
        let size = self.read.len().min(out.remaining());
        out.put_slice(self.read.get(..size).unwrap_or_default());
        self.read.advance(size);
        if self.read.is_empty() {
            // Not held on to for as long as the connection lasts.
            self.read = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}
