//! An HTTP/2 connection whose writes are gathered: h2 writes every response by itself, and a system call for each is
//! what it costs most. What it writes in one turn of its task goes out at once.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What may wait before the connection has to: as much as a socket takes at a time.
const LIMIT: usize = 64 << 10;

/// What is kept of the memory for it while nothing waits.
const KEPT: usize = 8 << 10;

/// A connection that writes nothing until its [`Outbox`] is told to, or too much waits. A flush does nothing: whoever
/// drives the connection flushes the outbox after every turn.
pub(crate) struct Gathered<T>(Rc<RefCell<Gathering<T>>>);

/// What waits to be written on a connection.
pub(crate) struct Outbox<T>(Rc<RefCell<Gathering<T>>>);

struct Gathering<T> {
    transport: T,
    waiting: Vec<u8>,
    written: usize,
}

impl<T: AsyncWrite + Unpin> Gathered<T> {
    /// A connection with its outbox.
    pub(crate) fn new(transport: T) -> (Self, Outbox<T>) {
        let gathering = Rc::new(RefCell::new(Gathering { transport, waiting: Vec::new(), written: 0 }));
        (Self(gathering.clone()), Outbox(gathering))
    }
}

impl<T: AsyncWrite + Unpin> Outbox<T> {
    /// Writes what waits.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gathering = &mut *self.0.borrow_mut();
        ready!(gathering.poll_write_out(cx))?;
        // TLS keeps what the socket did not take.
        Pin::new(&mut gathering.transport).poll_flush(cx)
    }
}

impl<T: AsyncWrite + Unpin> Gathering<T> {
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.transport).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                size => self.written += size,
            }
        }
        self.written = 0;
        self.waiting.clear();
        self.waiting.shrink_to(KEPT);
        Poll::Ready(Ok(()))
    }

    /// Ready when there is room for more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.len() < LIMIT { Poll::Ready(Ok(())) } else { self.poll_write_out(cx) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().transport).poll_read(cx, out)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gathering = &mut *self.0.borrow_mut();
        ready!(gathering.poll_write_out(cx))?;
        Pin::new(&mut gathering.transport).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gathering = &mut *self.0.borrow_mut();
        ready!(gathering.poll_room(cx))?;
        slices.iter().for_each(|slice| gathering.waiting.extend_from_slice(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::io::{AsyncReadExt, duplex};

    #[tokio::test]
    async fn what_is_written_waits_until_it_is_flushed_or_too_much() {
        let (near, mut far) = duplex(4 * LIMIT);
        let (mut gathered, outbox) = Gathered::new(near);
        let cx = &mut Context::from_waker(Waker::noop());
        let mut read = vec![0; 4 * LIMIT];
        let slices = [IoSlice::new(b"a"), IoSlice::new(b"bc")];
        assert!(matches!(Pin::new(&mut gathered).poll_write_vectored(cx, &slices), Poll::Ready(Ok(3))));
        assert!(Pin::new(&mut gathered).poll_flush(cx).is_ready());
        assert!(Pin::new(&mut far).poll_read(cx, &mut ReadBuf::new(&mut read)).is_pending());
        assert!(outbox.poll_flush(cx).is_ready());
        assert_eq!(far.read(&mut read).await.unwrap(), 3);
        assert_eq!(&read[..3], b"abc");
        for _ in 0..2 {
            assert!(Pin::new(&mut gathered).poll_write(cx, &vec![7; LIMIT]).is_ready());
        }
        assert_eq!(far.read(&mut read).await.unwrap(), LIMIT, "the second finds no room until the first is out");
        assert!(outbox.poll_flush(cx).is_ready());
        assert!(outbox.0.borrow().waiting.capacity() <= KEPT);
    }

    #[tokio::test]
    async fn one_that_takes_nothing_is_waited_for_and_loses_nothing() {
        let (near, mut far) = duplex(10);
        let (mut gathered, outbox) = Gathered::new(near);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut gathered).poll_write(cx, &vec![7; LIMIT]).is_ready());
        assert!(outbox.poll_flush(cx).is_pending());
        assert!(Pin::new(&mut gathered).poll_write(cx, b"more").is_pending());
        let reader = async {
            let mut read = Vec::new();
            far.read_to_end(&mut read).await.unwrap();
            read.len()
        };
        let writer = async move {
            std::future::poll_fn(|cx| outbox.poll_flush(cx)).await.unwrap();
            assert!(matches!(Pin::new(&mut gathered).poll_write(cx, b"more"), Poll::Ready(Ok(4))));
            std::future::poll_fn(|cx| Pin::new(&mut gathered).poll_shutdown(cx)).await.unwrap();
        };
        assert_eq!(tokio::join!(reader, writer).0, LIMIT + 4);
    }
}
