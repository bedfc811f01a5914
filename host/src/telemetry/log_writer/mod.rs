//! One thread writes every log of the process. Whoever has a line hands it over and never waits: where the disk is full
//! or nobody reads the pipe, lines are dropped and counted, and it goes on by itself when there is room.

mod engine;
mod sender;
mod target;

#[cfg(test)]
mod tests;

pub use sender::LineSender;

use crate::telemetry::{Counter, Registry};
use engine::{Attachment, Engine, Round};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};
use target::Target;

/// Bytes that may wait between one thread and the writer, for one log. More at a time are dropped.
const RING: usize = 256 << 10;

/// How long the writer gathers lines before it looks again.
const GATHER: Duration = Duration::from_millis(5);

/// How long it waits for a log that takes nothing.
const BLOCKED: Duration = Duration::from_millis(50);

/// How long it writes on when nobody has asked it to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The writer. Clones are the same one; it ends with the last, or when it is closed.
#[derive(Clone)]
pub struct LogWriter(Arc<Inner>);

struct Inner {
    commands: mpsc::Sender<Command>,
    wake: Arc<Wake>,
    thread: Mutex<Option<JoinHandle<()>>>,
    registry: Registry,
}

enum Command {
    Attach(Attachment),
    Reopen,
    Close(Instant),
}

/// Whether the writer sleeps until someone wakes it.
#[derive(Default)]
pub(super) struct Wake {
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Wake {
    /// Wakes the writer if it sleeps; else costs one look.
    pub(super) fn wake(&self) {
        // What was handed over before is seen by the writer, or its sleep is seen here.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl LogWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn start(registry: &Registry) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let wake = Arc::new(Wake::default());
        let for_thread = wake.clone();
        let thread = thread::Builder::new().name("log writer".into()).spawn(move || run(&inbox, &for_thread))?;
        // Nobody else sets it.
        let _ = wake.thread.set(thread.thread().clone());
        let registry = registry.clone();
        Ok(Self(Arc::new(Inner { commands, wake, thread: Mutex::new(Some(thread)), registry })))
    }

    /// A way to a log for one thread: `/dev/stdout`, `/dev/stderr` or a file, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn sender(&self, path: &Path) -> io::Result<LineSender> {
        let target = Target::open(path)?;
        let (producer, consumer) = rtrb::RingBuffer::new(RING);
        let dropped = self.dropped(path);
        self.command(Command::Attach(Attachment { path: path.to_owned(), target, lines: consumer }));
        Ok(LineSender::new(producer, self.0.wake.clone(), dropped))
    }

    /// Opens every file anew, under its name: what held the old one may take it away.
    pub fn reopen(&self) {
        self.command(Command::Reopen);
    }

    /// Writes what has been handed over, as far as that is possible within a time, and ends.
    pub fn close(&self, limit: Duration) {
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.command(Command::Close(Instant::now() + limit));
        if let Some(thread) = thread {
            // It has ended, whether by itself or not.
            let _ = thread.join();
        }
    }

    fn command(&self, command: Command) {
        // Without a thread there is nothing to be told.
        let _ = self.0.commands.send(command);
        self.0.wake.unpark();
    }

    fn dropped(&self, path: &Path) -> Counter {
        let path = path.to_string_lossy();
        self.0.registry.counter("outrigger_log_lines_dropped_total", &[("log", &path)])
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A thread that has ended is not told.
        let _ = self.commands.send(Command::Close(Instant::now() + LAST_WORDS));
        self.wake.unpark();
    }
}

fn run(inbox: &mpsc::Receiver<Command>, wake: &Wake) {
    let mut engine = Engine::default();
    let mut end = None;
    loop {
        for command in inbox.try_iter() {
            match command {
                Command::Attach(attachment) => engine.attach(attachment),
                Command::Reopen => engine.reopen(),
                Command::Close(at) => end = Some(at),
            }
        }
        let round = engine.round();
        match (round, end) {
            (Round::Idle, Some(_)) => return,
            (_, Some(end)) if Instant::now() >= end => return,
            (Round::Moved, _) => thread::park_timeout(GATHER),
            (Round::Blocked, _) => thread::park_timeout(BLOCKED),
            (Round::Idle, None) => sleep(wake, &mut engine),
        }
    }
}

/// Sleeps until there is something to do.
fn sleep(wake: &Wake, engine: &mut Engine) {
    wake.asleep.store(true, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    if engine.is_idle() {
        thread::park();
    }
    wake.asleep.store(false, Ordering::Relaxed);
}
