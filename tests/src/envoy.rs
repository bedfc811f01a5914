//! The Envoy engine: one process for the cases of a filter, a listener for each.

use crate::case_file::{Located, Request};
use crate::client::Client;
use crate::live::{LiveProxy, Surroundings, wait_until};
use crate::{envoy_bootstrap, tools};
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An Envoy with the listeners of some cases.
pub struct Envoy {
    process: Process,
    ports: BTreeMap<String, u16>,
    surroundings: Surroundings,
}

/// A running Envoy.
struct Process {
    child: Child,
    admin: u16,
    log: PathBuf,
}

impl Envoy {
    /// Starts it. The cases must agree on which clusters exist: see [`clusters`].
    ///
    /// # Errors
    /// When Envoy is not to be had, or does not start: then with what it logged.
    pub fn start(cases: &[&Located]) -> Result<Self, String> {
        let surroundings = Surroundings::start(cases)?;
        let mut ports = free_ports(cases.len() + 1)?.into_iter();
        let admin = ports.next().ok_or("no port is free")?;
        let placed: Vec<_> = cases.iter().copied().zip(ports).collect();
        let bootstrap = envoy_bootstrap::bootstrap(&placed, &surroundings.clusters(cases), admin)?;
        let (child, log) = spawn(&bootstrap.to_string(), &format!("{admin}"))?;
        let ports = placed.iter().map(|(case, port)| (case.id.clone(), *port)).collect();
        let mut envoy = Self { process: Process { child, admin, log }, ports, surroundings };
        envoy.process.wait_until_ready()?;
        Ok(envoy)
    }

    /// Everything that is not as a case expects.
    pub fn run(&mut self, located: &Located) -> Vec<String> {
        match self.ports.get(&located.id) {
            Some(port) => self.surroundings.run(&self.process, *port, located),
            None => vec!["the case has no listener".into()],
        }
    }
}

impl Process {
    fn wait_until_ready(&mut self) -> Result<(), String> {
        let mut ended = None;
        let ready = wait_until(Duration::from_secs(60), || {
            ended = self.child.try_wait().ok().flatten();
            ended.is_some() || self.get("/ready").is_ok_and(|answer| answer.contains("LIVE"))
        });
        match ended {
            Some(status) => Err(format!("Envoy ended with {status}:\n{}", complaints(&self.log))),
            None if ready => Ok(()),
            None => Err(format!("Envoy is not ready after a minute:\n{}", complaints(&self.log))),
        }
    }

    /// An answer of the admin interface.
    fn get(&self, path: &str) -> Result<String, String> {
        let request = Request { path: path.to_owned(), authority: "admin".to_owned(), ..Request::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = runtime.map_err(|error| error.to_string())?.block_on(async {
            let mut client = Client::connect(self.admin, None).await?;
            client.send(&request, "admin").await
        })?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }
}

impl LiveProxy for Process {
    fn metrics(&self) -> BTreeMap<String, i64> {
        let stats = self.get("/stats?filter=wasmcustom").unwrap_or_default();
        let metrics = stats.lines().filter_map(|line| line.strip_prefix("wasmcustom.")?.split_once(": "));
        metrics.map(|(name, value)| (name.to_owned(), value.parse().unwrap_or(0))).collect()
    }

    fn is_quiet(&self) -> bool {
        let active = self.get("/stats?filter=upstream_rq_active").unwrap_or_default();
        !active.is_empty() && active.lines().all(|line| line.ends_with(": 0"))
    }

    fn log_length(&self) -> usize {
        fs::read(&self.log).map_or(0, |log| log.len())
    }

    fn log_since(&self, start: usize) -> Vec<String> {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(start..).unwrap_or_default()).lines().map(str::to_owned).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
