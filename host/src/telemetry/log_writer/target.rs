//! What a log is written to.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use std::fs::{File, OpenOptions};
use std::io::{self, Stderr, Stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::LazyLock;

/// What a pipe surely takes when it says that it takes something (POSIX `PIPE_BUF` on Linux).
const PIPE: usize = 4096;

/// Bytes that are given to a file at a time.
const FILE: usize = 64 << 10;

static STDOUT: LazyLock<Stdout> = LazyLock::new(io::stdout);
static STDERR: LazyLock<Stderr> = LazyLock::new(io::stderr);

/// What is written to. Standard output and error as they are: a thread that logs for the first time because there are
/// no file descriptors left must not need another.
enum Sink {
    File(File),
    Standard(BorrowedFd<'static>),
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::File(file) => file.as_fd(),
            Self::Standard(standard) => *standard,
        }
    }
}

/// An open log.
pub(super) struct Target {
    sink: Sink,
    /// Writing to it never waits for a reader.
    regular: bool,
    /// It has a name under which it can be opened anew.
    named: bool,
}

impl Target {
    /// Opens a log to append to.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Not by name: a socket, which these may be, cannot be opened by name.
        let (sink, named) = match path.to_str() {
            Some("/dev/stdout") => (Sink::Standard(STDOUT.as_fd()), false),
            Some("/dev/stderr") => (Sink::Standard(STDERR.as_fd()), false),
            // A pipe without a reader is an error, rather than a wait for one.
            _ => {
                let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
                let file = OpenOptions::new().append(true).create(true).custom_flags(flags).open(path)?;
                (Sink::File(file), true)
            }
        };
        let regular = FileType::from_raw_mode(fstat(&sink)?.st_mode).is_file();
        Ok(Self { sink, regular, named })
    }

    /// As standard output is: shared, and not to be changed.
    #[cfg(test)]
    pub(super) fn of_shared(file: File) -> Self {
        Self { sink: Sink::File(file), regular: false, named: false }
    }

    /// Opens it anew if it has a name; whether that could be done.
    pub(super) fn reopen(&mut self, path: &Path) -> io::Result<()> {
        if self.named {
            *self = Self::open(path)?;
        }
        Ok(())
    }

    /// Writes the beginning of `bytes`: how much of it. 0: it takes nothing now.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = if self.regular { FILE } else { PIPE };
        let bytes = bytes.get(..most).unwrap_or(bytes);
        if bytes.is_empty() || !self.is_ready()? {
            return Ok(0);
        }
        match rustix::io::write(&self.sink, bytes) {
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(0),
            written => written.map_err(io::Error::from),
        }
    }

    /// Standard output may be shared with programs that do not expect it to refuse writes: so it is asked before, and
    /// not made to refuse.
    fn is_ready(&self) -> io::Result<bool> {
        if self.regular {
            return Ok(true);
        }
        let mut asked = [PollFd::new(&self.sink, PollFlags::OUT)];
        match poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
