//! What is counted rather than timed: instructions under callgrind, system calls under strace.

use crate::load::Load;
use crate::proxies::{Proxy, Setup, StartError, Surroundings};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io, thread};

/// Connections while instructions are counted: few, as each request takes long.
const CONNECTIONS: usize = 4;
/// Requests before, and in the longer of two runs.
const FEW: usize = 500;
const MANY: usize = 2_500;

/// Instructions in user space for one request: the difference of two runs that differ only in how many there were.
///
/// # Errors
/// When callgrind is not installed, or the proxy does not serve below it.
pub fn instructions(setup: &Setup, surroundings: &Surroundings<'_>) -> Result<f64, StartError> {
    let (few, many) = (counted(setup, surroundings, FEW)?, counted(setup, surroundings, MANY)?);
    Ok((many as f64 - few as f64) / (MANY - FEW) as f64)
}

fn counted(setup: &Setup, surroundings: &Surroundings<'_>, requests: usize) -> Result<u64, StartError> {
    let file = surroundings.directory.join("callgrind.out");
    let out = format!("--callgrind-out-file={}", file.display());
    // Not at real-time priority: it computes for seconds.
    let wrapper = ["chrt", "-o", "0", "valgrind", "-q", "--tool=callgrind", "--smc-check=all-non-file", &out];
    let Proxy { mut process, target, .. } = setup.start_below(&wrapper.map(str::to_owned), surroundings)?;
    Load::open(&target, CONNECTIONS)?.closed_loop(requests)?;
    process.end()?;
    let text = fs::read_to_string(file)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.ok_or_else(|| StartError("callgrind does not say how many instructions there were".into()))
}

/// System calls by name for one request, at saturation.
///
/// # Errors
/// When strace is not installed or may not look, or the proxy does not serve.
pub fn system_calls(proxy: &Proxy, load: &mut Load, directory: &Path) -> io::Result<BTreeMap<String, f64>> {
    const REQUESTS: usize = 5_000;
    let file = directory.join("strace.out");
    let mut strace = Command::new("strace");
    strace.args(["-q", "-c", "-f", "-o"]).arg(&file);
    for pid in proxy.process.tree()? {
        strace.args(["-p", &pid.to_string()]);
    }
    let mut strace = strace.stderr(Stdio::null()).spawn()?;
    // It says nothing when it has come to all threads.
    thread::park_timeout(Duration::from_millis(300));
    load.closed_loop(REQUESTS)?;
    Command::new("kill").args(["-INT", &strace.id().to_string()]).status()?;
    strace.wait()?;
    let text = fs::read_to_string(file)?;
    let calls = text.lines().filter_map(row).map(|(name, count)| (name, count as f64 / REQUESTS as f64));
    let calls: BTreeMap<_, _> = calls.collect();
    if calls.is_empty() { Err(io::Error::other("strace has seen nothing")) } else { Ok(calls) }
}

/// A line of the summary: share, seconds, microseconds a call, calls, perhaps errors, name.
fn row(line: &str) -> Option<(String, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, _, _, calls, .., name] = fields[..] else { return None };
    let calls = calls.parse().ok()?;
    (name != "total").then(|| (name.to_owned(), calls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_summary() {
        assert_eq!(row(" 48.12    0.101325           5     20000           sendto"), Some(("sendto".into(), 20_000)));
        assert_eq!(row("  1.00    0.001325           5       123         7 recvfrom"), Some(("recvfrom".into(), 123)));
        assert_eq!(row("100.00    0.210325           5     40123         7 total"), None);
        assert_eq!(row("% time     seconds  usecs/call     calls    errors syscall"), None);
        assert_eq!(row("------ ----------- ----------- --------- --------- ----------------"), None);
    }
}
