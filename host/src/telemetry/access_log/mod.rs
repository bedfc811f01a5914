//! A line for each finished stream, in Envoy's notation.

mod escape;
mod format;
mod operator;
mod time_format;
mod value;

#[cfg(test)]
mod tests;

pub use format::{FormatFaults, LogFormat};

use crate::telemetry::ResponseFlags;
use crate::telemetry::log_writer::{LineSender, LogWriter};
use crate::wasm::StreamState;
use compiler::snapshot::AccessLog;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use value::Logged;

/// Why there is no access log.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// The format.
    #[error(transparent)]
    Format(#[from] FormatFaults),
    /// The file.
    #[error("accessLog.path {path}: {error}")]
    Open {
        /// As configured.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// The access logs of one worker: one way to each file, however many listeners write to it.
pub struct AccessLogs {
    writer: LogWriter,
    hostname: String,
    open: HashMap<PathBuf, std::rc::Weak<RefCell<LineSender>>>,
}

/// An access log, at one HTTP connection manager on one worker.
pub struct AccessLogger {
    format: LogFormat,
    sender: Rc<RefCell<LineSender>>,
    scratch: RefCell<Scratch>,
}

#[derive(Default)]
struct Scratch {
    value: Vec<u8>,
    line: Vec<u8>,
}

impl AccessLogs {
    /// Of a worker.
    pub fn new(writer: LogWriter) -> Self {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { writer, hostname, open: HashMap::new() }
    }

    /// The log that a snapshot describes.
    ///
    /// # Errors
    /// When its format is faulty, or its file cannot be opened.
    pub fn logger(&mut self, log: &AccessLog) -> Result<AccessLogger, AccessLogError> {
        let format = LogFormat::compile(log, &self.hostname)?;
        let known = self.open.get(&log.path).and_then(std::rc::Weak::upgrade);
        let sender = match known {
            Some(sender) => sender,
            None => {
                let opened = self.writer.sender(&log.path);
                let opened = opened.map_err(|error| AccessLogError::Open { path: log.path.clone(), error })?;
                let sender = Rc::new(RefCell::new(opened));
                self.open.retain(|_, sender| sender.strong_count() > 0);
                self.open.insert(log.path.clone(), Rc::downgrade(&sender));
                sender
            }
        };
        Ok(AccessLogger { format, sender, scratch: RefCell::default() })
    }
}

impl AccessLogger {
    /// Hands the line of a stream that has ended to the writer.
    pub fn log(&self, state: &StreamState, flags: ResponseFlags, duration: Duration) {
        let mut scratch = self.scratch.borrow_mut();
        let Scratch { value, line } = &mut *scratch;
        line.clear();
        self.format.write(&Logged { state, flags, duration }, value, line);
        self.sender.borrow_mut().send(line);
    }
}
