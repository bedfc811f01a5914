//! A TCP connection, byte by byte.

use crate::live::wait_until;
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Who waits for so long without a byte or an end gives up: the other side hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the other side ended a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// With FIN.
    Closed,
    /// With RST.
    Reset,
}

/// One end of a connection.
pub struct Socket {
    stream: TcpStream,
    /// What has been read and not been taken yet.
    pub read: Vec<u8>,
    ended: Option<Ended>,
}

impl Socket {
    /// Connects to a port of the loopback address.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(port: u16) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| format!("connect: {error}"))?;
        Self::over(stream)
    }

    /// Over a connection that is there.
    ///
    /// # Errors
    /// As the system's calls.
    pub fn over(stream: TcpStream) -> Result<Self, String> {
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
        set.and_then(|()| stream.set_write_timeout(Some(PATIENCE))).map_err(|error| error.to_string())?;
        Ok(Self { stream, read: Vec::new(), ended: None })
    }

    /// Bounds what the system buffers of what comes, so that a slow reader is one soon.
    ///
    /// # Errors
    /// As the system's calls.
    pub fn bound_receive_buffer(&self, bytes: usize) -> Result<(), String> {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(bytes).map_err(|error| error.to_string())
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// When the other side has gone, or takes nothing for too long.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), String> {
        self.stream.write_all(bytes.as_ref()).map_err(|error| format!("send: {error}"))
    }

    /// Writes what the system takes at once: how much.
    ///
    /// # Errors
    /// When the other side has gone.
    pub fn send_some(&mut self, bytes: &[u8]) -> Result<usize, String> {
        self.stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        let written = match self.stream.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            written => written.map_err(|error| format!("send: {error}")),
        };
        self.stream.set_nonblocking(false).map_err(|error| error.to_string())?;
        written
    }

    /// Reads more: false at the end.
    ///
    /// # Errors
    /// When nothing comes for too long.
    pub fn fill(&mut self) -> Result<bool, String> {
        if self.ended.is_some() {
            return Ok(false);
        }
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = Some(Ended::Closed),
            Ok(size) => self.read.extend_from_slice(&buffer[..size]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let seen = String::from_utf8_lossy(&self.read[..self.read.len().min(200)]).into_owned();
                return Err(format!("nothing more within {PATIENCE:?} after {seen:?}"));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.ended = Some(Ended::Reset),
        }
        Ok(self.ended.is_none())
    }

    /// Takes so many bytes; `None` if the other side ends before.
    ///
    /// # Errors
    /// When nothing comes for too long.
    pub fn take(&mut self, count: usize) -> Result<Option<Vec<u8>>, String> {
        while self.read.len() < count {
            if !self.fill()? {
                return Ok(None);
            }
        }
        let rest = self.read.split_off(count);
        Ok(Some(std::mem::replace(&mut self.read, rest)))
    }

    /// Takes everything up to the end, and says how it ended.
    ///
    /// # Errors
    /// When nothing comes for too long.
    pub fn rest(&mut self) -> Result<(Vec<u8>, Ended), String> {
        while self.fill()? {}
        Ok((std::mem::take(&mut self.read), self.ended.unwrap_or(Ended::Closed)))
    }

    /// Takes and forgets everything up to the end, and says how it ended.
    ///
    /// # Errors
    /// When nothing comes for too long.
    pub fn ended(&mut self) -> Result<Ended, String> {
        while self.fill()? {
            self.read.clear();
        }
        Ok(self.ended.unwrap_or(Ended::Closed))
    }

    /// Waits until the other side has ended without taking anything that it sends before.
    ///
    /// # Errors
    /// When it does not end.
    pub fn wait_for_end_without_reading(&mut self) -> Result<(), String> {
        let gone = || {
            // A reset, or a FIN, is what the system knows of it; bytes that wait to be read stay there.
            let error = self.stream.take_error().ok().flatten();
            error.is_some() || has_hung_up(&self.stream)
        };
        match wait_until(PATIENCE, gone) {
            true => Ok(()),
            false => Err("the other side goes on".into()),
        }
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) {
        // One that is gone already is as good.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends with RST.
    pub fn reset(self) {
        // Without lingering a close is a reset.
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

fn has_hung_up(stream: &TcpStream) -> bool {
    let mut wanted = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    poll(&mut wanted, Some(&now)).is_ok_and(|ready| ready > 0) && wanted[0].revents().intersects(ends)
}
