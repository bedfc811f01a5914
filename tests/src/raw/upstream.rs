//! An upstream that does as it is told: exact bytes, cuts, stalls, resets.

use crate::raw::http1::{self, Kind, Message};
use crate::raw::{Ended, Socket};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who waits for so long for a request gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an upstream does after a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum After {
    /// Reads the next request.
    Keep,
    /// Closes with FIN.
    Close,
    /// Closes with RST.
    Reset,
    /// Says nothing more, until the other side ends.
    Stall,
}

/// A server on the loopback address; a thread for each connection.
pub struct Upstream {
    /// Where it listens.
    pub port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Requests>,
    more: Condvar,
    connections: AtomicUsize,
}

#[derive(Default)]
struct Requests {
    all: Vec<Message>,
    /// By connection.
    of: Vec<usize>,
    faults: Vec<String>,
    ended: Vec<(usize, Ended)>,
}

/// A connection to an upstream.
pub struct Visit {
    /// Its number, from 0.
    pub connection: usize,
    /// Its bytes.
    pub socket: Socket,
    seen: Arc<Seen>,
}

impl Upstream {
    /// Starts one. `script` serves a connection; it is closed when that returns.
    ///
    /// # Errors
    /// When no port is to be had.
    pub fn start(script: impl Fn(Visit) -> Result<(), String> + Send + Sync + 'static) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let seen = Arc::new(Seen::default());
        let upstream = Self { port, seen: seen.clone() };
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = seen.connections.fetch_add(1, Ordering::SeqCst);
                let (seen, script) = (seen.clone(), script.clone());
                std::thread::spawn(move || {
                    let visit = Socket::over(stream).map(|socket| Visit { connection, socket, seen: seen.clone() });
                    if let Err(fault) = visit.and_then(|visit| script(visit)) {
                        seen.requests().faults.push(format!("connection {connection}: {fault}"));
                    }
                });
            }
        });
        Ok(upstream)
    }

    /// One that answers every request with these bytes.
    ///
    /// # Errors
    /// When no port is to be had.
    pub fn answering(reply: impl Into<Vec<u8>>, after: After) -> Result<Self, String> {
        let reply = reply.into();
        Self::start(move |mut visit| {
            while visit.request()?.is_some() {
                visit.socket.send(&reply)?;
                match after {
                    After::Keep => {}
                    _ => return visit.after(after),
                }
            }
            Ok(())
        })
    }

    /// One whose requests, over all connections, are answered one after the other as these say; then with the last.
    ///
    /// # Errors
    /// When no port is to be had.
    pub fn in_turn(replies: Vec<(Vec<u8>, After)>) -> Result<Self, String> {
        let next = AtomicUsize::new(0);
        Self::start(move |mut visit| {
            while visit.request()?.is_some() {
                let turn = next.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1);
                let (reply, after) = &replies[turn];
                visit.socket.send(reply)?;
                if *after != After::Keep {
                    return visit.after(*after);
                }
            }
            Ok(())
        })
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Message> {
        self.seen.requests().all.clone()
    }

    /// The number of the connection that each request came on.
    pub fn connections_of_requests(&self) -> Vec<usize> {
        self.seen.requests().of.clone()
    }

    /// Takes the requests so far.
    pub fn take(&self) -> Vec<Message> {
        let mut requests = self.seen.requests();
        requests.of.clear();
        std::mem::take(&mut requests.all)
    }

    /// Waits until so many requests have come, since they were taken last.
    ///
    /// # Errors
    /// When they do not come.
    pub fn wait_for(&self, count: usize) -> Result<(), String> {
        self.wait(|requests| requests.all.len() >= count).map_err(|seen| format!("not {count} requests: {seen}"))
    }

    /// Waits until the other side has ended a connection that stalls: how.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_for_end(&self, connection: usize) -> Result<Ended, String> {
        let of = move |requests: &Requests| requests.ended.iter().find(|(number, _)| *number == connection).copied();
        self.wait(|requests| of(requests).is_some())
            .map_err(|seen| format!("connection {connection} goes on: {seen}"))?;
        Ok(of(&self.seen.requests()).map_or(Ended::Closed, |(_, ended)| ended))
    }

    fn wait(&self, done: impl Fn(&Requests) -> bool) -> Result<(), String> {
        let requests = self.seen.requests();
        let waited = self.seen.more.wait_timeout_while(requests, PATIENCE, |requests| !done(requests));
        let (requests, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        match waited.timed_out() {
            true => Err(format!("{} requests, faults {:?}", requests.all.len(), requests.faults)),
            false => Ok(()),
        }
    }

    /// Everything that came and was no strict HTTP, or otherwise not as a script wanted it.
    pub fn faults(&self) -> Vec<String> {
        self.seen.requests().faults.clone()
    }
}

impl Seen {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// The next request, recorded when it is whole or cut. `None` at the end.
    ///
    /// # Errors
    /// When it is no strict HTTP.
    pub fn request(&mut self) -> Result<Option<Message>, String> {
        let request = http1::read(&mut self.socket, Kind::Request)?;
        request.iter().for_each(|request| self.record(request.clone()));
        Ok(request)
    }

    /// The next request's head, recorded when it is there; its body is left on the socket.
    ///
    /// # Errors
    /// When it is no strict HTTP.
    pub fn head(&mut self) -> Result<Option<Message>, String> {
        let head = http1::read_head(&mut self.socket, Kind::Request)?;
        head.iter().for_each(|head| self.record(head.clone()));
        Ok(head)
    }

    /// Records a request.
    pub fn record(&self, request: Message) {
        let mut requests = self.seen.requests();
        requests.all.push(request);
        requests.of.push(self.connection);
        self.seen.more.notify_all();
    }

    /// Ends as told.
    ///
    /// # Errors
    /// When it stalls and the other side does not end.
    pub fn after(mut self, after: After) -> Result<(), String> {
        match after {
            After::Keep | After::Close => {}
            After::Reset => self.socket.reset(),
            After::Stall => {
                let ended = self.socket.ended()?;
                self.seen.requests().ended.push((self.connection, ended));
                self.seen.more.notify_all();
            }
        }
        Ok(())
    }
}
