//! One end of a proxied TCP connection: how far reading from it and writing to it have come.

use crate::filter_chain::ClosedBy;
use crate::http::Transport;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Chunks that are written with one call.
const VECTORED: usize = 16;

/// What may wait to be written before the bytes for it have to wait elsewhere.
const WAITING: usize = 64 << 10;

/// A client or an endpoint.
pub(super) struct Side {
    transport: Transport,
    reading: Reading,
    writing: Writing,
    waiting: VecDeque<Bytes>,
    unflushed: bool,
    /// Bytes read from it.
    pub(super) received: u64,
    /// Bytes written to it.
    pub(super) sent: u64,
    /// Grows with everything that happens.
    pub(super) steps: u64,
    /// Who was last to say that no more comes.
    pub(super) closed_by: ClosedBy,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reading {
    Open,
    /// It has sent its FIN.
    Ended,
    Broken,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Writing {
    Open,
    /// The FIN follows what waits.
    Ending,
    Ended,
    Broken,
}

/// What reading has brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// The end.
    End,
    /// The connection is cut.
    Broken,
}

impl Side {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            reading: Reading::Open,
            writing: Writing::Open,
            waiting: VecDeque::new(),
            unflushed: false,
            received: 0,
            sent: 0,
            steps: 0,
            closed_by: ClosedBy::Local,
        }
    }

    /// Whether it is of no more use: what it has said before is read first.
    pub(super) fn is_broken(&self) -> bool {
        self.reading == Reading::Broken || (self.writing == Writing::Broken && self.reading == Reading::Ended)
    }

    /// Whether everything has been said, both ways.
    pub(super) fn is_complete(&self) -> bool {
        self.reading == Reading::Ended && self.writing == Writing::Ended
    }

    /// Whether it takes more.
    pub(super) fn takes_more(&self) -> bool {
        self.writing == Writing::Open && self.waiting.iter().map(Bytes::len).sum::<usize>() < WAITING
    }

    /// Queues bytes. They go nowhere when it can no longer be written to.
    pub(super) fn queue(&mut self, bytes: Bytes) {
        if self.writing == Writing::Open && !bytes.is_empty() {
            self.waiting.push_back(bytes);
        }
    }

    /// Queues the end.
    pub(super) fn end(&mut self) {
        if self.writing == Writing::Open {
            self.writing = Writing::Ending;
        }
    }

    /// Reads into `buffer`. After the end there is nothing more.
    pub(super) fn poll_read(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<Read> {
        if self.reading != Reading::Open {
            return Poll::Pending;
        }
        let mut read = ReadBuf::new(buffer);
        let result = ready!(Pin::new(&mut self.transport).poll_read(cx, &mut read));
        self.steps += 1;
        let size = read.filled().len();
        Poll::Ready(match result {
            Ok(()) if size > 0 => {
                self.received = self.received.saturating_add(count(size));
                Read::Bytes(size)
            }
            // The first to ask is told of a reset; whoever asks after a write that failed is told of an end.
            Ok(()) if self.writing != Writing::Broken => {
                self.reading = Reading::Ended;
                self.closed_by = ClosedBy::Remote;
                Read::End
            }
            _ => {
                self.reading = Reading::Broken;
                Read::Broken
            }
        })
    }

    /// Writes what waits, and the end if it is due. Ready: nothing waits.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let drained = ready!(self.poll_write_all(cx));
        if drained.is_err() {
            self.writing = Writing::Broken;
            self.waiting.clear();
            self.steps += 1;
        }
        Poll::Ready(())
    }

    /// Moves bytes from here to the other end as far as they go, without keeping any that it takes at once.
    pub(super) fn relay(&mut self, to: &mut Self, buffer: &mut [u8], cx: &mut Context<'_>) {
        while to.poll_drain(cx).is_ready() && to.writing == Writing::Open {
            match self.poll_read(buffer, cx) {
                Poll::Ready(Read::Bytes(size)) => to.write(buffer.get(..size).unwrap_or_default(), cx),
                Poll::Ready(Read::End) => to.end(),
                Poll::Ready(Read::Broken) | Poll::Pending => return,
            }
        }
    }

    /// Cuts the connection off when this is dropped: with a reset, so that nobody takes it for the end.
    pub(super) fn cut(&self) {
        if let Some(socket) = self.transport.socket() {
            // Where it cannot be told so, it closes as usual.
            let _ = socket.set_zero_linger();
        }
    }

    /// Writes bytes when none wait; what is not taken waits.
    fn write(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        let written = match Pin::new(&mut self.transport).poll_write(cx, bytes) {
            Poll::Ready(Ok(size)) => size,
            // An error comes again when the rest is written.
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.wrote(written);
        self.queue(Bytes::copy_from_slice(bytes.get(written..).unwrap_or_default()));
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let mut slices = [IoSlice::new(&[]); VECTORED];
            slices.iter_mut().zip(&self.waiting).for_each(|(slice, chunk)| *slice = IoSlice::new(chunk));
            let slices = slices.get(..self.waiting.len().min(VECTORED)).unwrap_or_default();
            match ready!(Pin::new(&mut self.transport).poll_write_vectored(cx, slices))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.advance(written),
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
            self.unflushed = false;
        }
        if self.writing == Writing::Ending {
            ready!(Pin::new(&mut self.transport).poll_shutdown(cx))?;
            self.writing = Writing::Ended;
            self.closed_by = ClosedBy::Local;
            self.steps += 1;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        self.wrote(written);
        let mut left = written;
        while let Some(chunk) = self.waiting.front_mut().filter(|_| left > 0) {
            let size = left.min(chunk.len());
            chunk.advance(size);
            left -= size;
            if chunk.is_empty() {
                self.waiting.pop_front();
            }
        }
    }

    fn wrote(&mut self, size: usize) {
        if size > 0 {
            self.unflushed = true;
            self.steps += 1;
            self.sent = self.sent.saturating_add(count(size));
        }
    }
}

fn count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
