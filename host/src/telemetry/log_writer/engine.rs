//! What the writer does in a round: takes the lines that are there, writes what is taken.

use crate::telemetry::log_writer::target::Target;
use rtrb::Consumer;
use std::io;
use std::path::PathBuf;

/// Bytes that are taken from the threads before they are written.
const TAKEN: usize = 256 << 10;

/// Writes to one log before the others have their turn.
const WRITES: usize = 32;

/// A thread's lines, and where they go.
pub(super) struct Attachment {
    pub(super) path: PathBuf,
    pub(super) target: Target,
    pub(super) lines: Consumer<u8>,
}

/// Every log that somebody writes to.
#[derive(Default)]
pub(super) struct Engine(Vec<Log>);

struct Log {
    path: PathBuf,
    target: Target,
    senders: Vec<Consumer<u8>>,
    /// Taken and not yet written; from `written` on.
    taken: Vec<u8>,
    written: usize,
    failing: bool,
}

/// What a round has come to, of all logs together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Round {
    /// There was nothing to do.
    Idle,
    /// What there is waits for logs that take nothing.
    Blocked,
    /// Something was written.
    Moved,
}

impl Engine {
    /// Adds a thread's lines. A log of this name that is open already is written to.
    pub(super) fn attach(&mut self, attachment: Attachment) {
        let Attachment { path, target, lines } = attachment;
        match self.0.iter_mut().find(|log| log.path == path) {
            Some(log) => log.senders.push(lines),
            None => {
                let (senders, taken) = (vec![lines], Vec::new());
                self.0.push(Log { path, target, senders, taken, written: 0, failing: false });
            }
        }
    }

    /// Opens every file anew. One that cannot be is kept.
    pub(super) fn reopen(&mut self) {
        for log in &mut self.0 {
            if let Err(error) = log.target.reopen(&log.path) {
                let path = log.path.display();
                tracing::warn!(target: "log", "{path} cannot be opened anew, and the old file is kept: {error}");
            }
        }
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_idle(&self) -> bool {
        self.0.iter().all(|log| log.waiting().is_empty() && log.senders.iter().all(Consumer::is_empty))
    }

    /// How many logs are open.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.0.len()
    }

    /// Takes what there is, and writes what can be written. Logs that nobody writes to are closed.
    pub(super) fn round(&mut self) -> Round {
        let round = self.0.iter_mut().map(Log::round).max().unwrap_or(Round::Idle);
        self.0.retain(|log| !log.senders.is_empty() || !log.waiting().is_empty());
        round
    }
}

impl Log {
    fn round(&mut self) -> Round {
        let mut round = Round::Idle;
        for _ in 0..WRITES {
            self.take();
            if self.waiting().is_empty() {
                return round;
            }
            match self.target.write(self.taken.get(self.written..).unwrap_or_default()) {
                Ok(0) => return round.max(Round::Blocked),
                Ok(size) => {
                    self.written += size;
                    round = Round::Moved;
                    self.note(None);
                }
                // What is taken waits, and what does not fit behind it is dropped by those who have it.
                Err(error) => {
                    self.note(Some(error));
                    return Round::Blocked;
                }
            }
        }
        round
    }

    fn waiting(&self) -> &[u8] {
        self.taken.get(self.written..).unwrap_or_default()
    }

    /// Takes lines as far as there is room. Each sender's part ends with a line: lines are handed over whole.
    fn take(&mut self) {
        if self.written == self.taken.len() {
            self.taken.clear();
            self.written = 0;
        }
        let before = self.taken.len();
        for lines in &mut self.senders {
            if self.taken.len() >= TAKEN {
                break;
            }
            let Ok(chunk) = lines.read_chunk(lines.slots()) else { continue };
            let (first, second) = chunk.as_slices();
            self.taken.extend_from_slice(first);
            self.taken.extend_from_slice(second);
            chunk.commit_all();
        }
        self.senders.retain(|lines| !lines.is_abandoned() || !lines.is_empty());
        if self.taken.len() > before && !self.senders.is_empty() {
            // Where there is never room for all, each is the first in turn.
            self.senders.rotate_left(1);
        }
    }

    /// Says once that the log cannot be written, and once that it can again.
    fn note(&mut self, error: Option<io::Error>) {
        let failing = error.is_some();
        if failing == std::mem::replace(&mut self.failing, failing) {
            return;
        }
        let path = self.path.display();
        match error {
            Some(error) => tracing::warn!(target: "log", "{path} cannot be written, and lines are dropped: {error}"),
            None => tracing::info!(target: "log", "{path} is written again"),
        }
    }
}
