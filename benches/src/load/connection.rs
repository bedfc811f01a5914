//! One connection of a load: what is to be written, what has been read, how many requests are on their way.

use crate::load::http1::Http1;
use crate::load::http2::Http2;
use crate::load::transport::Transport;
use crate::load::{Protocol, Target};
use mio::{Registry, Token};
use std::io;

/// What is read at a time.
const READ: usize = 64 << 10;

/// How requests are written and answers are told apart.
pub(super) trait Codec {
    /// Writes what comes before the first request.
    fn open(&mut self, out: &mut Vec<u8>);

    /// Writes a request.
    fn request(&mut self, out: &mut Vec<u8>);

    /// Takes whole messages off the front of what was read, replying to what must be replied to: how many bytes, and
    /// how many answers were complete. Any status but 200 is an error.
    fn take(&mut self, read: &[u8], out: &mut Vec<u8>) -> io::Result<(usize, usize)>;
}

pub(super) struct Connection {
    transport: Transport,
    codec: Box<dyn Codec>,
    streams: usize,
    under_way: usize,
    out: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    /// Bytes of `read` that count.
    filled: usize,
}

impl Connection {
    pub(super) fn open(target: &Target, registry: &Registry, number: usize) -> io::Result<Self> {
        let mut transport = Transport::open(target)?;
        transport.register(registry, Token(number))?;
        let (mut codec, streams): (Box<dyn Codec>, usize) = match target.protocol {
            Protocol::Http1 => (Box::new(Http1::new()), 1),
            Protocol::Http2 { streams } => (Box::new(Http2::new(target.tls.is_some())), streams),
        };
        let mut out = Vec::new();
        codec.open(&mut out);
        Ok(Self { transport, codec, streams, under_way: 0, out, written: 0, read: vec![0; READ], filled: 0 })
    }

    pub(super) fn has_resumed(&self) -> bool {
        self.transport.has_resumed()
    }

    pub(super) fn request(&mut self) {
        self.under_way += 1;
        self.codec.request(&mut self.out);
    }

    /// Makes as many requests as may be on their way, but no more than that: how many.
    pub(super) fn fill(&mut self, most: usize) -> usize {
        let count = most.min(self.streams - self.under_way);
        (0..count).for_each(|_| self.request());
        count
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.transport.write(&self.out[self.written..]) {
                Ok(size) => self.written += size,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads what is there: how many answers became complete.
    pub(super) fn receive(&mut self) -> io::Result<usize> {
        let mut answers = 0;
        loop {
            let room = self.read.len() - self.filled;
            let size = match self.transport.read(&mut self.read[self.filled..]) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the proxy closed a connection")),
                Ok(size) => size,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            self.filled += size;
            let (used, complete) = self.codec.take(&self.read[..self.filled], &mut self.out)?;
            self.read.copy_within(used..self.filled, 0);
            self.filled -= used;
            answers += complete;
            // A socket that gave less than it could have is empty; the records of TLS say nothing of that.
            if size < room && !self.transport.is_tls() {
                break;
            }
        }
        self.under_way -= answers;
        Ok(answers)
    }
}
