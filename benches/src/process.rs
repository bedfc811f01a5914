//! A proxy's processes: started on a CPU of their own, and what they have used.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Proxies run on the first CPU, load and upstream on the second.
pub const PROXY_CPU: &str = "0";
/// See [`PROXY_CPU`].
pub const LOAD_CPU: &str = "1";

/// How long a process may take to end when it is told to.
const FAREWELL: Duration = Duration::from_secs(10);

/// A process and its children; ended when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program on the proxies' CPU. What it says goes to the file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &Command, log: &Path) -> io::Result<Self> {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", PROXY_CPU]).arg(command.get_program()).args(command.get_args());
        let said = fs::File::create(log)?;
        let child = pinned.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).spawn()?;
        Ok(Self { child })
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// User and system time so far, by the scheduler's clock (nanoseconds), not by ticks.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let mut total = 0;
        for pid in self.tree()? {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let text = fs::read_to_string(task?.path().join("schedstat"))?;
                total += text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(total))
    }

    /// Resident bytes.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn memory(&self) -> io::Result<u64> {
        let mut total = 0;
        for pid in self.tree()? {
            let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            total += line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(total << 10)
    }

    /// The process and all below it.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn tree(&self) -> io::Result<Vec<u32>> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            // One that has ended meanwhile is none of ours.
            let text = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // The name before it may contain anything, but for the last parenthesis.
            let parent = text.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
            parents.extend(pid.zip(parent));
        }
        let mut tree = vec![self.child.id()];
        let mut seen = 0;
        while let Some(&parent) = tree.get(seen) {
            tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            seen += 1;
        }
        Ok(tree)
    }

    /// Tells it to end, and waits until it has.
    ///
    /// # Errors
    /// When it does not end in time: then it is killed.
    pub fn end(&mut self) -> io::Result<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let end = Instant::now() + FAREWELL;
        while !self.has_ended() {
            if Instant::now() > end {
                self.child.kill()?;
                self.child.wait()?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a proxy did not end when it was told to"));
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed at once, nginx would leave its workers behind.
        if !self.has_ended() && self.end().is_err() {
            let _ = self.child.kill();
        }
    }
}
