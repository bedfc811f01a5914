//! The Envoy engine: one process for the cases of a filter, a listener for each.

use crate::case_file::{Located, Request};
use crate::client::Client;
use crate::engine::Observed;
use crate::fake_upstream::Answers;
use crate::live::{LiveProxy, Surroundings, wait_until};
use crate::{envoy_bootstrap, tools};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// An Envoy with the listeners of some cases.
pub struct Envoy {
    process: Process,
    ports: BTreeMap<String, u16>,
    surroundings: Surroundings,
}

/// A running Envoy.
pub struct Process {
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
        let bootstrap = envoy_bootstrap::bootstrap(cases, &surroundings.clusters(cases))?;
        let process = Process::start(&bootstrap.to_string())?;
        let ports = process.ports()?;
        Ok(Self { process, ports, surroundings })
    }

    /// Starts one from a bootstrap that is made for the ports of these clusters. Listeners have port 0: Envoy chooses.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn launch(
        clusters: BTreeSet<String>,
        bootstrap: impl FnOnce(&BTreeMap<String, u16>) -> Result<Value, String>,
    ) -> Result<Self, String> {
        let surroundings = Surroundings::of_clusters(clusters)?;
        let process = Process::start(&bootstrap(surroundings.upstream.ports())?.to_string())?;
        let ports = process.ports()?;
        Ok(Self { process, ports, surroundings })
    }

    /// Sends a request to a listener: what the client saw. Clusters answer as `answers` says.
    ///
    /// # Errors
    /// When there is no such listener.
    pub fn request(&mut self, listener: &str, request: &Request, answers: Answers) -> Result<Observed, String> {
        let port = *self.ports.get(listener).ok_or_else(|| format!("there is no listener {listener}"))?;
        Ok(self.surroundings.request(port, request, answers))
    }

    /// The log, as soon as `complete` finds it so, or after a few seconds.
    pub fn log(&self, complete: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        wait_until(Duration::from_secs(5), || {
            lines = self.process.log_since(0);
            complete(&lines)
        });
        lines
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
    /// Starts Envoy with a bootstrap, and waits until it is ready. Its admin server has port 0: Envoy chooses, as any that
    /// was free before could be another's by now.
    ///
    /// # Errors
    /// When Envoy is not to be had, or does not start: then with what it logged.
    pub fn start(bootstrap: &str) -> Result<Self, String> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let directory = tools::target_directory().join("envoy");
        let at = |error: std::io::Error| format!("{}: {error}", directory.display());
        fs::create_dir_all(&directory).map_err(at)?;
        let [file, log, address] = ["json", "log", "admin"].map(|kind| directory.join(format!("{name}.{kind}")));
        fs::write(&file, bootstrap).map_err(at)?;
        let mut command = Command::new(tools::envoy()?);
        // Without hot restart: with it Envoy ends as soon as the thread that started it does.
        command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
        // What is logged is in its file at once.
        command.args(["--file-flush-interval-msec", "10"]);
        command.args(["--component-log-level", "wasm:info", "--admin-address-path"]).arg(&address);
        command.arg("-c").arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).map_err(at)?);
        let child = command.spawn().map_err(at)?;
        let mut process = Self { child, admin: 0, log };
        process.wait_until_ready(&address)?;
        Ok(process)
    }

    fn wait_until_ready(&mut self, address: &Path) -> Result<(), String> {
        let mut ended = None;
        let ready = wait_until(Duration::from_secs(60), || {
            ended = self.child.try_wait().ok().flatten();
            let admin =
                fs::read_to_string(address).ok().and_then(|admin| admin.rsplit(':').next()?.trim().parse().ok());
            self.admin = admin.unwrap_or(0);
            ended.is_some() || (self.admin != 0 && self.get("/ready").is_ok_and(|answer| answer.contains("LIVE")))
        });
        match ended {
            Some(status) => Err(format!("Envoy ended with {status}:\n{}", complaints(&self.log))),
            None if ready => Ok(()),
            None => Err(format!("Envoy is not ready after a minute:\n{}", complaints(&self.log))),
        }
    }

    /// The port of each listener.
    ///
    /// # Errors
    /// When its admin server does not answer.
    pub fn ports(&self) -> Result<BTreeMap<String, u16>, String> {
        let listeners = self.get("/listeners")?;
        let ports = listeners.lines().filter_map(|line| {
            let (name, address) = line.rsplit_once("::")?;
            Some((name.to_owned(), address.rsplit(':').next()?.parse().ok()?))
        });
        Ok(ports.collect())
    }

    /// An answer of the admin interface.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, path: &str) -> Result<String, String> {
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

/// The lines of a log that say why Envoy did not start.
fn complaints(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("[info]")).collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
