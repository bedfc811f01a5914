//! The bytes of an HTTP/1 connection: what has been read and not yet understood, what is to be written.

use crate::http::http1::body::{BodyDecoder, Decoded};
use crate::http::http1::encode;
use crate::http::http1::head::Framing;
use crate::http::peer::{Incoming, PeerError, Transport};
use bytes::{Buf, Bytes, BytesMut};
use http_match::HeaderList;
use std::cell::Cell;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// What is read at a time, at first and when there is more to come.
const READ_SIZE: usize = 4 << 10;
const LARGE_READ_SIZE: usize = 16 << 10;

thread_local! {
    /// A buffer that a connection has read into and needs no longer: most connections are idle most of the time, and those
    /// that are not take turns.
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// The spare buffer, or a new one.
fn spare() -> BytesMut {
    SPARE.take().unwrap_or_else(|| BytesMut::with_capacity(READ_SIZE))
}

/// A chunk of a body up to this size is copied behind what is waiting, to be written with it.
const COPIED: usize = 16 << 10;

/// What may wait to be written before the other side is made to wait.
const WRITE_LIMIT: usize = 64 << 10;

/// A connection's bytes in both directions, and the framing of the message being sent.
pub(crate) struct Http1Io {
    transport: Transport,
    pub(crate) read: BytesMut,
    /// Nothing more will be read.
    pub(crate) ended: bool,
    write: Vec<u8>,
    written: usize,
    /// Follows `write`.
    chunk: Bytes,
    sending: Framing,
}

impl Http1Io {
    pub(crate) fn new(transport: Transport, read: BytesMut) -> Self {
        let (write, chunk) = (Vec::new(), Bytes::new());
        Self { transport, read, ended: false, write, written: 0, chunk, sending: Framing::None }
    }

    /// Reads more: how much. 0: the other side has ended.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, PeerError>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        if self.read.capacity() - self.read.len() < READ_SIZE / 2 {
            match self.read.is_empty() {
                true if self.read.try_reclaim(READ_SIZE) => {}
                true => self.read = spare(),
                false => self.read.reserve(LARGE_READ_SIZE),
            }
        }
        let read = tokio_util::io::poll_read_buf(Pin::new(&mut self.transport), cx, &mut self.read);
        if read.is_pending() && self.read.is_empty() {
            let mut unused = std::mem::take(&mut self.read);
            // Not where what was read last is still held.
            if unused.try_reclaim(READ_SIZE) {
                SPARE.set(Some(unused));
            }
        }
        let read = ready!(read);
        match read {
            Ok(0) | Err(_) => {
                self.ended = true;
                Poll::Ready(read.map_err(|_| PeerError::Closed))
            }
            Ok(size) => Poll::Ready(Ok(size)),
        }
    }

    /// What a decoder finds next of a body.
    pub(crate) fn poll_body(
        &mut self,
        decoder: &mut BodyDecoder,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Incoming, PeerError>> {
        loop {
            match decoder.decode(&mut self.read).map_err(PeerError::Protocol)? {
                Decoded::Data(bytes) => {
                    return Poll::Ready(Ok(Incoming::Data { bytes, end: decoder.is_done() }));
                }
                Decoded::End => return Poll::Ready(Ok(Incoming::End)),
                Decoded::Trailers(trailers) => return Poll::Ready(Ok(Incoming::Trailers(trailers))),
                Decoded::NeedMore => {}
            }
            if ready!(self.poll_fill(cx))? == 0 {
                // Only a body that lasts until the close ends here; any other is cut.
                let whole = decoder.eof().is_ok();
                return Poll::Ready(if whole { Ok(Incoming::End) } else { Err(PeerError::Closed) });
            }
        }
    }

    /// What to write next is put here.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        if !self.chunk.is_empty() {
            let chunk = std::mem::take(&mut self.chunk);
            self.write.extend_from_slice(&chunk);
        }
        &mut self.write
    }

    /// How the body to come is framed.
    pub(crate) fn begin_body(&mut self, framing: Framing) {
        self.sending = framing;
    }

    /// Whether the whole body has been handed over.
    pub(crate) fn body_complete(&self) -> bool {
        matches!(self.sending, Framing::None | Framing::Length(0))
    }

    /// Queues a part of a body.
    pub(crate) fn send_data(&mut self, bytes: Bytes, end: bool) -> Result<(), PeerError> {
        match self.sending {
            Framing::Length(left) => {
                let size = u64::try_from(bytes.len()).map_err(|_| PeerError::Framing)?;
                let left = left.checked_sub(size).filter(|left| *left == 0 || !end).ok_or(PeerError::Framing)?;
                self.sending = Framing::Length(left);
                self.queue(bytes);
            }
            Framing::Chunked => {
                if !bytes.is_empty() {
                    let size = bytes.len();
                    encode::chunk_header(self.out(), size);
                    self.queue(bytes);
                    self.out().extend_from_slice(encode::CHUNK_END);
                }
                if end {
                    encode::last_chunk(self.out(), None);
                    self.sending = Framing::None;
                }
            }
            Framing::UntilClose => {
                self.queue(bytes);
            }
            // The message cannot have a body: what a guest or an upstream gave it goes nowhere.
            Framing::None => {}
        }
        Ok(())
    }

    /// Queues the end of a body, with trailers where its framing has room for them.
    pub(crate) fn send_trailers(&mut self, trailers: &HeaderList) -> Result<(), PeerError> {
        match self.sending {
            Framing::Chunked => {
                encode::last_chunk(self.out(), Some(trailers));
                self.sending = Framing::None;
                Ok(())
            }
            _ => self.send_data(Bytes::new(), true),
        }
    }

    fn queue(&mut self, bytes: Bytes) {
        if bytes.len() <= COPIED || !self.chunk.is_empty() {
            self.out().extend_from_slice(&bytes);
        } else {
            self.chunk = bytes;
        }
    }

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        if self.waiting() < WRITE_LIMIT {
            return Poll::Ready(Ok(()));
        }
        while self.waiting() >= WRITE_LIMIT {
            ready!(self.poll_write(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        while self.waiting() > 0 {
            ready!(self.poll_write(cx))?;
        }
        // TLS keeps what the socket did not take.
        Pin::new(&mut self.transport).poll_flush(cx).map_err(|_| PeerError::Closed)
    }

    /// Closes the writing side.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.transport).poll_shutdown(cx).map_err(|_| PeerError::Closed)
    }

    /// Gives back the memory of an idle connection.
    pub(crate) fn relax(&mut self) {
        if self.read.is_empty() && self.read.capacity() > READ_SIZE {
            self.read = BytesMut::new();
        }
        if self.write.is_empty() && self.write.capacity() > READ_SIZE {
            self.write = Vec::new();
        }
    }

    /// The connection and what has been read of it: for what follows HTTP on it.
    pub(crate) fn into_parts(self) -> (Transport, BytesMut) {
        (self.transport, self.read)
    }

    fn waiting(&self) -> usize {
        self.write.len() - self.written + self.chunk.len()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        let transport = Pin::new(&mut self.transport);
        let head = self.write.get(self.written..).unwrap_or_default();
        let written = match self.chunk.is_empty() {
            true => transport.poll_write(cx, head),
            false => transport.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(&self.chunk)]),
        };
        let size = match ready!(written) {
            Ok(size) if size > 0 => size,
            _ => return Poll::Ready(Err(PeerError::Closed)),
        };
        let of_head = size.min(head.len());
        self.written += of_head;
        if self.written == self.write.len() {
            self.write.clear();
            self.written = 0;
        }
        self.chunk.advance((size - of_head).min(self.chunk.len()));
        Poll::Ready(Ok(()))
    }
}
