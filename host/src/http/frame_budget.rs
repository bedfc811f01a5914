//! A bound on HTTP/2 frames that bring nothing. Pings, settings, empty data and the like cost the receiver more than the
//! sender (CVE-2019-9511 to 9518 and their kin), and a limit for each kind is one kind short: all draw on one budget.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How an HTTP/2 connection begins (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection has at first, and at most.
const BUDGET: u64 = 1000;

/// How long one frame more takes: a hundred in a second are nothing.
const REFILL: Duration = Duration::from_millis(10);

/// Bytes of bodies, either way, that pay for one frame: who takes a response has to send window updates, and some
/// measure the line with pings as they do.
const BYTES: u64 = 1024;

/// What a request pays for: its own priority, window update and reset.
const REQUEST: u64 = 3;

/// Flag of HEADERS and CONTINUATION: the header block ends here.
const END_HEADERS: u8 = 4;

/// What settings cost: they have to be applied and acknowledged.
const SETTINGS: u64 = 10;

/// The budget of one connection.
pub(crate) struct FrameBudget {
    left: Cell<u64>,
    refilled: Cell<Instant>,
    spent: Cell<bool>,
    /// Heads that have begun, and whether the last of them is still to come to its end.
    heads: Cell<u64>,
    within_head: Cell<bool>,
}

impl FrameBudget {
    fn new() -> Rc<Self> {
        let (spent, heads, within_head) = Default::default();
        Rc::new(Self { left: Cell::new(BUDGET), refilled: Cell::new(Instant::now()), spent, heads, within_head })
    }

    /// Whether the connection is to end.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.get()
    }

    /// The number of the head that has begun to come and has not ended, if there is one: HEADERS, or what follows
    /// until END_HEADERS.
    pub(crate) fn unfinished_head(&self) -> Option<u64> {
        self.within_head.get().then(|| self.heads.get())
    }

    fn pay(&self, frames: u64) {
        self.left.set(self.left.get().saturating_add(frames).min(BUDGET));
    }

    fn take(&self, frames: u64) {
        if self.left.get() < frames {
            // The clock is read only by those that have used up what they had.
            let passed = self.refilled.replace(Instant::now()).elapsed();
            self.pay(u64::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(BUDGET));
        }
        match self.left.get().checked_sub(frames) {
            Some(left) => self.left.set(left),
            None => self.spent.set(true),
        }
    }

    /// A frame has come.
    fn frame(&self, head: FrameHead) {
        const END_STREAM: u8 = 1;
        match head.kind {
            0 if head.length == 0 && head.flags & END_STREAM == 0 => self.take(1),
            0 => self.pay(1 + u64::from(head.length) / BYTES),
            1 => {
                self.heads.set(self.heads.get() + 1);
                self.pay(REQUEST);
            }
            4 => self.take(SETTINGS),
            _ => self.take(1),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct FrameHead {
    length: u32,
    kind: u8,
    flags: u8,
}

/// A client's connection whose frames are counted as they come. Nothing more is read of it once its budget is spent.
pub(crate) struct Metered<T> {
    transport: T,
    budget: Rc<FrameBudget>,
    scanner: Scanner,
}

/// Finds the heads of frames in bytes as they come.
struct Scanner {
    /// Of the preface, or of the frame whose head was read last.
    skip: usize,
    head: [u8; 9],
    have: usize,
    /// In a HEADERS or CONTINUATION frame, or behind one that another CONTINUATION follows.
    block: Block,
}

/// Where the last header block is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Block {
    Ended,
    /// In its last frame.
    Last,
    /// Another frame is to come.
    Open,
}

impl Scanner {
    fn is_within_head(&self) -> bool {
        match self.block {
            Block::Ended => false,
            Block::Last => self.skip > 0,
            Block::Open => true,
        }
    }

    fn scan(&mut self, mut bytes: &[u8], mut found: impl FnMut(FrameHead)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else { return };
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *first;
            }
            (bytes, self.have) = (rest, self.have + 1);
            if self.have == self.head.len() {
                let [high, middle, low, kind, flags, ..] = self.head;
                let length = u32::from_be_bytes([0, high, middle, low]);
                // Three bytes fit.
                (self.have, self.skip) = (0, usize::try_from(length).unwrap_or(usize::MAX));
                self.block = match kind {
                    1 | 9 if flags & END_HEADERS != 0 => Block::Last,
                    1 | 9 => Block::Open,
                    _ => Block::Ended,
                };
                found(FrameHead { length, kind, flags });
            }
        }
    }
}

impl<T> Metered<T> {
    /// A connection at its start, preface and all.
    pub(crate) fn new(transport: T) -> Self {
        let scanner = Scanner { skip: PREFACE.len(), head: [0; 9], have: 0, block: Block::Ended };
        Self { transport, budget: FrameBudget::new(), scanner }
    }

    pub(crate) fn budget(&self) -> Rc<FrameBudget> {
        self.budget.clone()
    }

    fn paid(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(size)) = written {
            self.budget.pay(u64::try_from(*size).unwrap_or(u64::MAX) / BYTES);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.budget.is_spent() {
            // Whoever asked looks at the budget next.
            return Poll::Pending;
        }
        let before = out.filled().len();
        let read = Pin::new(&mut self.transport).poll_read(cx, out);
        let Self { budget, scanner, .. } = &mut *self;
        scanner.scan(out.filled().get(before..).unwrap_or_default(), |head| budget.frame(head));
        budget.within_head.set(scanner.is_within_head());
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write(cx, bytes);
        self.paid(&written);
        written
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
        let written = Pin::new(&mut self.transport).poll_write_vectored(cx, slices);
        self.paid(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(std::iter::repeat_n(9, usize::from(length)));
        frame
    }

    #[test]
    fn heads_are_found_however_the_bytes_come() {
        let bytes = [PREFACE, &frame(4, 0, 18), &frame(6, 1, 8), &frame(0, 1, 0), &frame(1, 4, 200)].concat();
        for size in [1, 2, 3, 8, 9, 10, 1000] {
            let (mut scanner, mut found) = (Metered::new(()).scanner, Vec::new());
            bytes.chunks(size).for_each(|part| scanner.scan(part, |head| found.push(head)));
            let head = |kind, flags, length| FrameHead { length, kind, flags };
            assert_eq!(found, [head(4, 0, 18), head(6, 1, 8), head(0, 1, 0), head(1, 4, 200)], "{size}");
        }
    }

    #[test]
    fn heads_that_have_not_ended_are_known() {
        let (open, last) = (frame(1, 0, 4), frame(9, 4, 4));
        let within = |bytes: &[u8]| {
            let mut scanner = Metered::new(()).scanner;
            scanner.scan(&[PREFACE, bytes].concat(), |_| ());
            scanner.is_within_head()
        };
        assert!(!within(&[]) && !within(&frame(0, 0, 4)) && !within(&frame(1, 4, 4)[..5]));
        assert!(within(&frame(1, 4, 4)[..9]) && within(&frame(1, 4, 4)[..12]) && !within(&frame(1, 4, 4)));
        assert!(within(&open) && within(&[&open[..], &frame(9, 0, 0)].concat()));
        assert!(!within(&[&open[..], &last].concat()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_brings_nothing_is_bounded() {
        let head = |kind, flags, length| FrameHead { length, kind, flags };
        for (name, each, lasts) in [
            ("pings", head(6, 0, 8), BUDGET),
            ("settings", head(4, 0, 0), BUDGET / SETTINGS),
            ("empty data", head(0, 0, 0), BUDGET),
            ("window updates", head(8, 0, 4), BUDGET),
            ("unknown", head(200, 0, 0), BUDGET),
        ] {
            let budget = FrameBudget::new();
            (0..lasts).for_each(|_| budget.frame(each));
            assert!(!budget.is_spent(), "{name}");
            budget.frame(each);
            assert!(budget.is_spent(), "{name}");
        }
        let budget = FrameBudget::new();
        for _ in 0..20 {
            // A thousand in ten seconds, for ever.
            tokio::time::advance(Duration::from_secs(10)).await;
            (0..BUDGET).for_each(|_| budget.frame(head(6, 0, 8)));
        }
        assert!(!budget.is_spent());
    }

    #[test]
    fn what_brings_something_pays() {
        let head = |kind, flags, length| FrameHead { length, kind, flags };
        let budget = FrameBudget::new();
        for _ in 0..10 * BUDGET {
            budget.frame(head(1, 4, 30));
            (0..REQUEST).for_each(|_| budget.frame(head(8, 0, 4)));
            budget.frame(head(0, 1, 0));
            budget.frame(head(6, 0, 8));
        }
        assert!(!budget.is_spent());
        let metered = Metered::new(());
        for _ in 0..10 * BUDGET {
            metered.paid(&Poll::Ready(Ok(16 << 10)));
            (0..16).for_each(|_| metered.budget.frame(head(8, 0, 4)));
        }
        assert!(!metered.budget.is_spent());
    }
}
