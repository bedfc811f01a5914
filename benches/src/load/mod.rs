//! A load of requests on one proxy, from one thread with one event loop: cheap enough not to be what is measured.

mod connection;
mod http1;
mod http2;
mod timer;
mod transport;

use connection::Connection;
use mio::{Events, Poll};
use rustls::ClientConfig;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timer::Timer;

pub(crate) use transport::SERVER_NAME;

/// An ordinary request: nine headers. The authority is HTTP/1's `Host`.
pub const REQUEST: [(&str, &str); 9] = [
    (":authority", "store.example.com"),
    ("user-agent", "bench/1"),
    ("accept", "*/*"),
    ("accept-language", "en"),
    ("accept-encoding", "gzip"),
    ("x-user", "4711"),
    ("x-tenant", "blue"),
    ("cookie", "session=abcdef0123456789"),
    ("x-forwarded-for", "10.1.2.3"),
];

/// Its path.
pub const PATH: &str = "/store/items?page=2";

/// After so much silence a load has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a load goes, and what is spoken.
#[derive(Clone)]
pub struct Target {
    /// On the loopback address.
    pub port: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// With TLS, how.
    pub tls: Option<Arc<ClientConfig>>,
}

/// What a load speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// One request at a time on a connection.
    Http1,
    /// So many at a time, with prior knowledge.
    Http2 {
        /// At a time.
        streams: usize,
    },
}

/// Open connections to one proxy. Each has been answered once: what is measured begins with everything in place.
pub struct Load {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
}

impl Load {
    /// Opens connections, and makes a request on each.
    ///
    /// # Errors
    /// When one cannot be opened, or is not answered with 200.
    pub fn open(target: &Target, connections: usize) -> io::Result<Self> {
        let mut load = Self::connect(target, connections)?;
        load.ask_each()?;
        load.hear_each()?;
        Ok(load)
    }

    /// Opens connections, and says nothing on them.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn connect(target: &Target, connections: usize) -> io::Result<Self> {
        let mut load = Self { poll: Poll::new()?, events: Events::with_capacity(1024), connections: Vec::new() };
        for number in 0..connections {
            load.connections.push(Connection::open(target, load.poll.registry(), number)?);
        }
        Ok(load)
    }

    /// Whether every connection has resumed a session.
    pub fn has_resumed(&self) -> bool {
        self.connections.iter().all(Connection::has_resumed)
    }

    /// Makes one request on each connection.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn ask_each(&mut self) -> io::Result<()> {
        for connection in &mut self.connections {
            connection.request();
            connection.flush()?;
        }
        Ok(())
    }

    /// Waits for as many answers as there are connections.
    ///
    /// # Errors
    /// When a request is not answered with 200.
    pub fn hear_each(&mut self) -> io::Result<()> {
        let mut left = self.connections.len();
        while left > 0 {
            self.wait()?;
            for event in &self.events {
                let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
                left = left.saturating_sub(connection.receive()?);
                connection.flush()?;
            }
        }
        Ok(())
    }

    /// So many requests, each connection making the next as soon as one is answered: how long it took.
    ///
    /// # Errors
    /// When one is not answered with 200.
    pub fn closed_loop(&mut self, requests: usize) -> io::Result<Duration> {
        let begin = Instant::now();
        let (mut to_send, mut to_come) = (requests, requests);
        for connection in &mut self.connections {
            to_send -= connection.fill(to_send);
            connection.flush()?;
        }
        while to_come > 0 {
            self.wait()?;
            for event in &self.events {
                let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
                to_come -= connection.receive()?;
                to_send -= connection.fill(to_send);
                connection.flush()?;
            }
        }
        Ok(begin.elapsed())
    }

    /// So many requests at a fixed rate per second, whether earlier ones are answered or not: the time from when each
    /// was due to its answer. One that finds every connection busy waits, and its wait counts.
    ///
    /// # Errors
    /// When one is not answered with 200.
    pub fn open_loop(&mut self, rate: u32, requests: usize) -> io::Result<Vec<Duration>> {
        let timer = Timer::start(self.poll.registry(), Duration::from_secs(1) / rate)?;
        let begin = Instant::now();
        let due = |number: usize| begin + Duration::from_secs(1) / rate * u32::try_from(number).unwrap_or(u32::MAX);
        let mut idle: VecDeque<usize> = (0..self.connections.len()).collect();
        let mut sent_at = vec![begin; self.connections.len()];
        let (mut allowed, mut sent, mut latencies) = (0, 0, Vec::with_capacity(requests));
        while latencies.len() < requests {
            self.wait()?;
            for event in &self.events {
                let number = event.token().0;
                let Some(connection) = self.connections.get_mut(number) else {
                    allowed = requests.min(allowed + timer.elapsed()?);
                    continue;
                };
                if connection.receive()? > 0 {
                    latencies.extend(sent_at.get(number).map(Instant::elapsed));
                    idle.push_back(number);
                }
                connection.flush()?;
            }
            while sent < allowed
                && let Some(number) = idle.pop_front()
            {
                sent_at[number] = due(sent + 1);
                sent += 1;
                let connection = &mut self.connections[number];
                connection.request();
                connection.flush()?;
            }
        }
        Ok(latencies)
    }

    fn wait(&mut self) -> io::Result<()> {
        loop {
            match self.poll.poll(&mut self.events, Some(PATIENCE)) {
                Ok(()) if self.events.is_empty() => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "an answer does not come"));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}
