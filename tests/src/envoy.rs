//! The Envoy engine: one process for the cases of a filter, a listener for each.

use crate::case_file::{Located, Request};
use crate::client::{Client, Tls, unanswered};
use crate::engine::{Observed, Outcome};
use crate::fake_upstream::FakeUpstream;
use crate::{certs, envoy_bootstrap, native, tools};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How much later than asked a held request may be answered on a busy machine.
const LATENESS: Duration = Duration::from_secs(1);

/// An Envoy with the listeners of some cases.
pub struct Envoy {
    child: Child,
    admin: u16,
    ports: BTreeMap<String, u16>,
    log: PathBuf,
    upstream: FakeUpstream,
    runtime: Runtime,
    marks: usize,
}

impl Envoy {
    /// Starts it. The cases must agree on which clusters exist: see [`clusters`].
    ///
    /// # Errors
    /// When Envoy is not to be had, or does not start: then with what it logged.
    pub fn start(cases: &[&Located]) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let names = cases.first().map(|case| clusters(case)).unwrap_or_default();
        let all: BTreeSet<String> = cases.iter().flat_map(|case| clusters(case)).chain(names).collect();
        let upstream = runtime.block_on(FakeUpstream::start(all)).map_err(|error| error.to_string())?;
        let mut ports = free_ports(cases.len() + 1)?.into_iter();
        let admin = ports.next().ok_or("no port is free")?;
        let placed: Vec<_> = cases.iter().copied().zip(ports).collect();
        let grpc: BTreeSet<&String> = cases.iter().flat_map(|located| grpc_clusters(located)).collect();
        let ports = upstream.ports().iter();
        let ports = ports.map(|(name, port)| (name.clone(), (*port, grpc.contains(name)))).collect();
        let bootstrap = envoy_bootstrap::bootstrap(&placed, &ports, admin)?;
        let (child, log) = spawn(&bootstrap.to_string(), &format!("{admin}"))?;
        let ports = placed.iter().map(|(case, port)| (case.id.clone(), *port)).collect();
        let mut envoy = Self { child, admin, ports, log, upstream, runtime, marks: 0 };
        envoy.wait_until_ready()?;
        Ok(envoy)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("Envoy ended with {status}:\n{}", complaints(&self.log)));
            }
            if self.get("/ready").is_ok_and(|answer| answer.contains("LIVE")) {
                return Ok(());
            }
            pause();
        }
        Err(format!("Envoy is not ready after a minute:\n{}", complaints(&self.log)))
    }

    /// Everything that is not as a case expects.
    pub fn run(&mut self, located: &Located) -> Vec<String> {
        let Some(port) = self.ports.get(&located.id).copied() else {
            return vec!["the case has no listener".into()];
        };
        let tls = match tls(located) {
            Ok(tls) => tls,
            Err(error) => return vec![error],
        };
        let answers = located.case.clusters.iter().filter_map(|(name, answer)| Some((name.clone(), answer.clone()?)));
        self.upstream.answer(answers.collect(), located.case.upstream.clone());
        let mut wrong = Vec::new();
        for (i, request) in located.case.requests.iter().enumerate() {
            let outcome = self.send(port, tls.as_ref(), request);
            let faults = crate::check::outcome(&request.expect, &outcome);
            wrong.extend(faults.into_iter().map(|fault| format!("requests[{i}]: {fault}")));
        }
        wrong
    }

    fn send(&mut self, port: u16, tls: Option<&Tls>, request: &Request) -> Outcome {
        let before = self.metrics(request);
        let logged = fs::metadata(&self.log).map_or(0, |metadata| metadata.len());
        let mut each = Vec::new();
        let mut marks = Vec::new();
        let mut client = None;
        for _ in 0..request.times {
            self.marks += 1;
            let mark = format!("c{}", self.marks);
            each.push(self.runtime.block_on(exchange(&mut client, port, tls, request, &mark)));
            marks.push(mark);
        }
        self.settle();
        for (observed, mark) in each.iter_mut().zip(&marks) {
            observed.arrived = self.upstream.take(mark);
        }
        let log = self.lines_since(logged, &request.expect.log);
        let after = self.metrics(request);
        let metrics = after.into_iter().map(|(name, value)| (name.clone(), value - before.get(&name).unwrap_or(&0)));
        Outcome { each, metrics: metrics.collect(), log, lateness: LATENESS }
    }

    /// Waits until no request is on its way to an upstream. Copies are under way before the client has its answer, so
    /// whatever will arrive has arrived then.
    fn settle(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            let active = self.get("/stats?filter=upstream_rq_active").unwrap_or_default();
            if !active.is_empty() && active.lines().all(|line| line.ends_with(": 0")) {
                return;
            }
            pause();
        }
    }

    fn metrics(&self, request: &Request) -> BTreeMap<String, i64> {
        let mut metrics = BTreeMap::new();
        if request.expect.metrics.is_empty() {
            return metrics;
        }
        let stats = self.get("/stats?filter=wasmcustom").unwrap_or_default();
        for line in stats.lines() {
            if let Some((name, value)) = line.strip_prefix("wasmcustom.").and_then(|line| line.split_once(": ")) {
                metrics.insert(name.to_owned(), value.parse().unwrap_or(0));
            }
        }
        metrics
    }

    /// Log lines written since, as soon as those that are expected are there.
    fn lines_since(&self, start: u64, expected: &[String]) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(if expected.is_empty() { 0 } else { 3 });
        loop {
            let log = fs::read(&self.log).unwrap_or_default();
            let new = log.get(usize::try_from(start).unwrap_or(0)..).unwrap_or_default();
            let lines: Vec<String> = String::from_utf8_lossy(new).lines().map(str::to_owned).collect();
            let there = expected.iter().all(|text| lines.iter().any(|line| line.contains(text)));
            if there || Instant::now() > end {
                return lines;
            }
            pause();
        }
    }

    /// An answer of the admin interface.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> Result<String, String> {
        let request = Request { path: path.to_owned(), authority: "admin".to_owned(), ..Request::default() };
        let answer = self.runtime.block_on(async {
            let mut client = Client::connect(self.admin, None).await?;
            client.send(&request, "admin").await
        })?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A moment. Only real time can pass in a real proxy; nothing is decided by how long it takes.
fn pause() {
    std::thread::park_timeout(Duration::from_millis(20));
}

async fn exchange(
    client: &mut Option<Client>,
    port: u16,
    tls: Option<&Tls>,
    request: &Request,
    mark: &str,
) -> Observed {
    let mut open = match client.take().filter(Client::is_open) {
        Some(open) => open,
        None => match Client::connect(port, tls).await {
            Ok(open) => open,
            Err(error) => return unanswered(error),
        },
    };
    let observed = open.send(request, mark).await.unwrap_or_else(unanswered);
    *client = Some(open);
    observed
}

fn tls(located: &Located) -> Result<Option<Tls>, String> {
    let Some(peer) = &located.case.peer else {
        return Ok(None);
    };
    let identity = if peer.uri_sans.is_empty() { None } else { Some(certs::issue(&peer.uri_sans, None)?) };
    Ok(Some(Tls { identity, sni: peer.sni.clone() }))
}

/// The clusters that exist for a case.
pub fn clusters(located: &Located) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = native::CLUSTERS.iter().map(|&name| name.to_owned()).collect();
    for (name, answer) in &located.case.clusters {
        match answer {
            Some(_) => names.insert(name.clone()),
            None => names.remove(name),
        };
    }
    names
}

/// Names of clusters that must not exist for a case.
pub fn absent_clusters(located: &Located) -> BTreeSet<String> {
    let absent = located.case.clusters.iter().filter(|(_, answer)| answer.is_none());
    absent.map(|(name, _)| name.clone()).collect()
}

fn grpc_clusters(located: &Located) -> impl Iterator<Item = &String> {
    let speaks = |answer: &crate::case_file::Answer| answer.grpc.is_some() || answer.grpc_status.is_some();
    let clusters = located.case.clusters.iter();
    clusters.filter(move |(_, answer)| answer.as_ref().is_some_and(speaks)).map(|(name, _)| name)
}

/// Whether Envoy refuses a case's configuration for the faults it expects: what is not as expected.
pub fn refuses(located: &Located) -> Vec<String> {
    match Envoy::start(&[located]) {
        Ok(_) => vec!["Envoy accepts the configuration".into()],
        Err(log) => {
            let missing = located.case.faults.iter().filter(|path| !log.contains(&format!("{path}: ")));
            missing.map(|path| format!("the log names no fault at {path}:\n{log}")).collect()
        }
    }
}

/// Ports that are free, each another: all are held until the last is found.
fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let listeners: std::io::Result<Vec<TcpListener>> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let listeners = listeners.map_err(|error| error.to_string())?;
    listeners.iter().map(|listener| listener.local_addr().map(|a| a.port()).map_err(|e| e.to_string())).collect()
}

/// Starts Envoy with a bootstrap.
fn spawn(bootstrap: &str, name: &str) -> Result<(Child, PathBuf), String> {
    let binary = tools::envoy()?;
    let directory = tools::target_directory().join("envoy");
    let at = |error: std::io::Error| format!("{}: {error}", directory.display());
    fs::create_dir_all(&directory).map_err(at)?;
    let (file, log) = (directory.join(format!("{name}.json")), directory.join(format!("{name}.log")));
    fs::write(&file, bootstrap).map_err(at)?;
    let mut command = Command::new(binary);
    // Without hot restart: with it Envoy ends as soon as the thread that started it does.
    command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
    command.args(["--component-log-level", "wasm:info", "-c"]).arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).map_err(at)?);
    Ok((command.spawn().map_err(at)?, log))
}

/// The lines of a log that say why Envoy did not start.
fn complaints(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("[info]")).collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
