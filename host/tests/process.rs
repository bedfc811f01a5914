//! The binary as a process: signals, files that change, file descriptors that run out.

use outrigger_tests::live::wait_until;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::{After, Socket, Upstream, cluster, merged};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, thread};

/// Who waits for so long for the process gives up.
const PATIENCE: Duration = Duration::from_secs(30);

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A running proxy. Killed with this, if it has not ended.
struct Outrigger {
    child: Child,
    snapshot: PathBuf,
    said: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Outrigger {
    /// Starts it with a snapshot, by a shell that says this first.
    fn start(name: &str, before: &str, snapshot: &Value) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("snapshot.yaml");
        fs::write(&file, snapshot.to_string()).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before} exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_outrigger"), "run"]);
        command.arg("--snapshot").arg(&file).args(["--module-cache", ""]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let (lines, all) = (BufReader::new(child.stderr.take().unwrap()).lines(), said.clone());
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                all.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                all.1.notify_all();
            }
        });
        Self { child, snapshot: file, said }
    }

    /// Waits for a line on standard error, and gives it.
    fn says(&self, text: &str) -> String {
        let lines = self.said.0.lock().unwrap();
        let has = |lines: &mut Vec<String>| !lines.iter().any(|line| line.contains(text));
        let (lines, waited) = self.said.1.wait_timeout_while(lines, PATIENCE, has).unwrap();
        assert!(!waited.timed_out(), "no {text:?} in {lines:#?}");
        lines.iter().find(|line| line.contains(text)).cloned().unwrap_or_default()
    }

    fn port(&self) -> u16 {
        let line = self.says("listener in: ");
        line.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until(PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.expect("it has not ended")
    }
}

impl Drop for Outrigger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn snapshot(upstream: &Upstream, more: Value) -> Value {
    let manager = json!({"destination": {"cluster": "up"}});
    let chain = json!({"networkFilter": {"httpConnectionManager": manager}});
    let base = json!({
        "workers": 2,
        "listeners": [{"name": "in", "address": "127.0.0.1:0", "filterChains": [chain]}],
        "clusters": [cluster("up", &[upstream.port], json!({}))],
    });
    merged(base, &more)
}

/// Answers at once, except to `/slow`: there the second part of the request is waited for.
fn upstream() -> Upstream {
    let upstream = Upstream::start(|mut visit| {
        while let Some(head) = visit.head()? {
            if head.target() == "/slow" {
                visit.socket.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")?;
                visit.socket.take(4)?;
                visit.socket.send("lf")?;
            } else {
                visit.socket.send(OK)?;
            }
        }
        Ok(())
    });
    upstream.unwrap()
}

fn half_done(port: u16) -> Socket {
    let mut client = Socket::connect(port).unwrap();
    client.send("POST /slow HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nsl").unwrap();
    while !client.read.ends_with(b"ha") {
        assert!(client.fill().unwrap());
    }
    client
}

fn status(client: &mut Socket) -> Result<u16, String> {
    client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n")?;
    Ok(http1::read(client, Kind::Response("GET"))?.ok_or("no answer")?.status())
}

fn is_refused(port: u16) -> bool {
    wait_until(PATIENCE, || Socket::connect(port).is_err())
}

#[test]
fn sigterm_lets_streams_finish() {
    let upstream = upstream();
    let mut outrigger = Outrigger::start("sigterm", "", &snapshot(&upstream, json!({})));
    let port = outrigger.port();
    let mut client = half_done(port);
    outrigger.signal(Signal::TERM);
    assert!(is_refused(port));
    client.send("ow").unwrap();
    let answer = http1::read(&mut client, Kind::Response("POST")).unwrap().unwrap();
    assert_eq!((answer.text().as_str(), answer.whole), ("half", true));
    assert!(outrigger.ended().success());
}

#[test]
fn a_second_sigterm_waits_for_nobody() {
    let upstream = upstream();
    // The drain would outlast everybody's patience.
    let mut outrigger = Outrigger::start("second-sigterm", "", &snapshot(&upstream, json!({"drain": "1h"})));
    let port = outrigger.port();
    let mut client = half_done(port);
    outrigger.signal(Signal::TERM);
    assert!(is_refused(port));
    outrigger.signal(Signal::TERM);
    assert!(outrigger.ended().success());
    client.ended().unwrap();
}

#[test]
fn a_drain_is_bounded() {
    let upstream = upstream();
    let mut outrigger = Outrigger::start("bounded", "", &snapshot(&upstream, json!({"drain": "0.2s"})));
    let mut client = half_done(outrigger.port());
    outrigger.signal(Signal::TERM);
    client.ended().unwrap();
    assert!(outrigger.ended().success());
    outrigger.says("1 connections were cut off");
}

#[test]
fn sighup_and_files_that_change() {
    let (old, new) = (upstream(), Upstream::answering(OK.replace("ok", "no"), After::Keep).unwrap());
    let outrigger = Outrigger::start("sighup", "", &snapshot(&old, json!({})));
    let port = outrigger.port();
    let mut client = Socket::connect(port).unwrap();
    assert_eq!(status(&mut client), Ok(200));
    let unknown = snapshot(&new, json!({"nonsense": 1})).to_string();
    for (bad, said) in [("listeners: [", "snapshot.yaml: "), (unknown.as_str(), "nonsense")] {
        fs::write(&outrigger.snapshot, bad).unwrap();
        outrigger.signal(Signal::HUP);
        outrigger.says(said);
        outrigger.says("refused; what ran before goes on");
    }
    assert_eq!(status(&mut client), Ok(200));
    assert_eq!(new.connections(), 0);
    // The address is the old one: port 0 stays the port that it has become.
    fs::write(&outrigger.snapshot, snapshot(&new, json!({})).to_string()).unwrap();
    outrigger.signal(Signal::HUP);
    outrigger.says("reloaded");
    assert_eq!(status(&mut client), Ok(200));
    assert!(wait_until(PATIENCE, || status(&mut client) == Ok(200) && new.connections() > 0));
}

#[test]
fn a_bad_snapshot_does_not_start() {
    let upstream = upstream();
    let rows = [
        ("unknown-field", json!({"nonsense": 1}), "nonsense"),
        ("no-chain", json!({"listeners": [{"name": "in", "address": "127.0.0.1:0"}]}), "filterChains"),
        ("no-address", json!({"listeners": [{"name": "in", "address": "127.0.0.1", "filterChains": []}]}), "address"),
    ];
    for (name, more, said) in rows {
        let mut outrigger = Outrigger::start(name, "", &snapshot(&upstream, more));
        assert_eq!(outrigger.ended().code(), Some(65), "{name}");
        outrigger.says(said);
    }
}

/// Without file descriptors nobody new is let in, those who are in are served, and whoever waits is let in as soon as
/// there are some again.
#[test]
fn file_descriptors_run_out() {
    let upstream = upstream();
    let more = json!({"workers": 1, "overload": {"maxConnections": 1000}});
    let outrigger = Outrigger::start("descriptors", "ulimit -n 48;", &snapshot(&upstream, more));
    let port = outrigger.port();
    let mut first = Socket::connect(port).unwrap();
    assert_eq!(status(&mut first), Ok(200));
    // The system accepts them, the proxy cannot.
    let waiting: Vec<Socket> = (0..80).map(|_| Socket::connect(port).unwrap()).collect();
    outrigger.says("no connection can be accepted");
    assert_eq!(status(&mut first), Ok(200));
    let mut last = Socket::connect(port).unwrap();
    last.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").unwrap();
    drop(waiting);
    let answer = http1::read(&mut last, Kind::Response("GET")).unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(status(&mut first), Ok(200));
}
