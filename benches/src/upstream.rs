//! What stands behind the proxies: answers every request with the same bytes, and can be told to wait until so many
//! have come.

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of an answer's body.
const BODY: usize = 1024;

const LISTENER: Token = Token(usize::MAX - 1);
const CONTROL: Token = Token(usize::MAX - 2);

/// An upstream that answers every request; stops when dropped.
pub struct Upstream {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    hold: AtomicBool,
    held: AtomicUsize,
}

impl Upstream {
    /// Starts it on a free port of the loopback address.
    ///
    /// # Errors
    /// When there is no port or no thread left.
    pub fn start() -> io::Result<Self> {
        let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let port = listener.local_addr()?.port();
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), CONTROL)?;
        let shared = Arc::new(Shared::default());
        let server =
            Server { listener, connections: HashMap::new(), next: 0, held: Vec::new(), shared: shared.clone() };
        let thread = std::thread::Builder::new().name("upstream".into()).spawn(move || server.run(poll))?;
        Ok(Self { port, shared, waker, thread: Some(thread) })
    }

    /// Answers nothing from now on.
    pub fn hold(&self) {
        self.shared.hold.store(true, Relaxed);
    }

    /// Waits until so many requests wait for an answer.
    ///
    /// # Errors
    /// When they do not come.
    pub fn await_held(&self, requests: usize) -> io::Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        while self.shared.held.load(Relaxed) < requests {
            if Instant::now() > end {
                let held = self.shared.held.load(Relaxed);
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{held} requests of {requests} came")));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Answers what waits, and everything after.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn release(&self) -> io::Result<()> {
        self.shared.hold.store(false, Relaxed);
        self.waker.wake()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            // One that panicked has said so already.
            let _ = thread.join();
        }
    }
}

struct Server {
    listener: TcpListener,
    connections: HashMap<usize, Connection>,
    next: usize,
    /// Connections whose requests wait for an answer.
    held: Vec<usize>,
    shared: Arc<Shared>,
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    write: Vec<u8>,
}

impl Server {
    fn run(mut self, mut poll: Poll) {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ndate: Sun, 22 Nov 2026 10:00:00 GMT\r\nserver: upstream\r\ncontent-type: text/plain\r\n\
             cache-control: no-store\r\ncontent-length: {BODY}\r\n\r\n{}",
            "x".repeat(BODY)
        );
        let mut events = Events::with_capacity(1024);
        while !self.shared.stop.load(Relaxed) {
            if poll.poll(&mut events, None).is_err() {
                continue;
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(poll.registry()),
                    CONTROL => {}
                    Token(number) => self.serve(number, answer.as_bytes()),
                }
            }
            if !self.shared.hold.load(Relaxed) {
                self.shared.held.store(0, Relaxed);
                std::mem::take(&mut self.held).into_iter().for_each(|number| self.reply(number, answer.as_bytes()));
            }
        }
    }

    fn accept(&mut self, registry: &Registry) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            if stream.set_nodelay(true).is_ok() && registry.register(&mut stream, Token(self.next), interest).is_ok() {
                self.connections.insert(self.next, Connection { stream, read: Vec::new(), write: Vec::new() });
                self.next += 1;
            }
        }
    }

    fn serve(&mut self, number: usize, answer: &[u8]) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.requests() {
            Ok(count) if self.shared.hold.load(Relaxed) => {
                self.held.extend(std::iter::repeat_n(number, count));
                self.shared.held.store(self.held.len(), Relaxed);
            }
            Ok(count) if connection.answer(count, answer).is_ok() => {}
            _ => drop(self.connections.remove(&number)),
        }
    }

    fn reply(&mut self, number: usize, answer: &[u8]) {
        if self.connections.get_mut(&number).is_some_and(|connection| connection.answer(1, answer).is_err()) {
            self.connections.remove(&number);
        }
    }
}

impl Connection {
    /// Reads what is there: how many heads became complete.
    fn requests(&mut self) -> io::Result<usize> {
        let mut count = 0;
        let mut chunk = [0; 16 << 10];
        loop {
            let size = match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(size) => size,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
                Err(error) => return Err(error),
            };
            self.read.extend_from_slice(&chunk[..size]);
            let end = |read: &[u8]| memchr::memmem::find(read, b"\r\n\r\n");
            while let Some(place) = end(&self.read) {
                self.read.drain(..place + 4);
                count += 1;
            }
            if size < chunk.len() {
                return Ok(count);
            }
        }
    }

    /// Writes so many answers, and what could not be written before.
    fn answer(&mut self, count: usize, answer: &[u8]) -> io::Result<()> {
        (0..count).for_each(|_| self.write.extend_from_slice(answer));
        while !self.write.is_empty() {
            match self.stream.write(&self.write) {
                Ok(size) => drop(self.write.drain(..size)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
