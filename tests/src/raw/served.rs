//! A proxy with a listener before scripted upstreams, and its access log: ours in process, or stock Envoy beside it, which
//! runs the same snapshot.

use crate::envoy::Process;
use crate::live::wait_until;
use crate::{optimised, tools};
use compiler::snapshot::Snapshot;
use host::{Options, Proxy};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What the access log says of a request.
const LOG_FORMAT: &str = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%";

/// A proxy with one listener.
pub struct Served {
    /// The proxy.
    pub proxy: Proxy,
    /// Where its listener listens.
    pub port: u16,
    log: AccessLog,
}

/// Stock Envoy with the listener that [`Served`] has.
pub struct Beside {
    /// Where its listener listens.
    pub port: u16,
    process: Process,
    log: AccessLog,
}

/// An access log, read line by line as it grows.
struct AccessLog {
    file: PathBuf,
    lines: AtomicUsize,
}

impl Served {
    /// Starts one. `manager` and `clusters`: see [`Served::snapshot`].
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(manager: Value, clusters: Vec<Value>) -> Result<Self, String> {
        Self::start_with(manager, clusters, json!({}))
    }

    /// Starts one whose snapshot has more to it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with(manager: Value, clusters: Vec<Value>, more: Value) -> Result<Self, String> {
        Self::start_as(manager, clusters, more, Options::default())
    }

    /// Starts one with options; its compiled modules are kept with those of other tests.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_as(manager: Value, clusters: Vec<Value>, more: Value, options: Options) -> Result<Self, String> {
        let log = AccessLog::new()?;
        let snapshot = Self::snapshot(&manager, &clusters, &more, &log.file)?;
        let options = Options { module_cache: Some(tools::target_directory().join("modules-compiled")), ..options };
        let proxy = Proxy::start(snapshot, options).map_err(|faults| faults.to_string())?;
        let port = proxy.address("in").ok_or("no listener")?.port();
        Ok(Self { proxy, port, log })
    }

    /// Serves by another snapshot of the same listener.
    ///
    /// # Errors
    /// When it is refused.
    pub fn reload(&self, manager: Value, clusters: Vec<Value>, more: Value) -> Result<(), String> {
        let snapshot = Self::snapshot(&manager, &clusters, &more, &self.log.file)?;
        self.proxy.reload(snapshot).map_err(|faults| faults.to_string())
    }

    /// The snapshot: one worker, a listener `in` that sends everything to the cluster `up` unless `manager` says
    /// otherwise; with `tcpProxy` in it, bytes instead of requests; with `filterChains`, by as many chains, each with what
    /// its entry says. `more` is merged into the whole.
    fn snapshot(manager: &Value, clusters: &[Value], more: &Value, log: &std::path::Path) -> Result<Snapshot, String> {
        let mut manager = merged(json!({"accessLog": {"path": log, "format": LOG_FORMAT}}), manager);
        if manager["destination"].is_null() {
            manager["destination"] = json!({"cluster": "up"});
        }
        let entries = manager.as_object_mut().and_then(|entries| entries.remove("filterChains"));
        let chain = match manager.get("tcpProxy") {
            None => json!({"networkFilter": {"httpConnectionManager": manager}}),
            Some(proxy) => json!({"networkFilter": {"tcpProxy": merged(json!({"accessLog": {"path": log}}), proxy)}}),
        };
        let chains: Vec<Value> = match entries.as_ref().and_then(Value::as_array) {
            None => vec![chain],
            Some(entries) => entries.iter().map(|entry| merged(chain.clone(), entry)).collect(),
        };
        let document = json!({
            "workers": 1,
            "listeners": [{"name": "in", "address": "127.0.0.1:0", "filterChains": chains}],
            "clusters": clusters,
            "modules": {"header-rules": {"embedded": "header-rules"}},
        });
        serde_json::from_value(merged(document, more)).map_err(|error| error.to_string())
    }

    /// The next line of the access log, as soon as it is there: status, response flags, details.
    ///
    /// # Errors
    /// When there is none.
    pub fn logged(&self) -> Result<String, String> {
        self.log.next()
    }

    /// What has been counted, as Envoy's `/stats` has it: the lines with this text in their name.
    pub fn stats(&self, name: &str) -> Vec<String> {
        let text =
            host::telemetry::stats_text(&self.proxy.registry().collect(), &host::telemetry::StatsQuery::default());
        lines_of(&text, name)
    }

    /// The sum of the samples of a metric.
    pub fn metric(&self, name: &str) -> f64 {
        let samples = self.proxy.registry().collect();
        let text = host::telemetry::prometheus_text(&samples, &host::telemetry::StatsQuery::default());
        let of = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        of.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Beside {
    /// What has been counted: the lines of `/stats` with this text in their name.
    ///
    /// # Errors
    /// When its admin server does not answer.
    pub fn stats(&self, name: &str) -> Result<Vec<String>, String> {
        Ok(lines_of(&self.process.get("/stats")?, name))
    }

    /// Starts it: see [`Served::start_with`].
    ///
    /// # Errors
    /// When Envoy is not to be had, or does not start.
    pub fn start(manager: &Value, clusters: &[Value], more: &Value) -> Result<Self, String> {
        let log = AccessLog::new()?;
        let mut snapshot = Served::snapshot(manager, clusters, more, &log.file)?;
        snapshot.admin = Some(([127, 0, 0, 1], 0).into());
        let made = envoy_configs::bootstrap(&snapshot, &tools::target_directory().join("wasm"));
        made.modules.iter().try_for_each(|module| optimised::path(module).map(drop))?;
        let process = Process::start(&made.value.to_string())?;
        let port = *process.ports()?.get("in").ok_or("no listener")?;
        Ok(Self { port, process, log })
    }

    /// As [`Served::logged`].
    ///
    /// # Errors
    /// When there is none.
    pub fn logged(&self) -> Result<String, String> {
        self.log.next()
    }
}

/// The lines whose name has a text in it, in order.
fn lines_of(stats: &str, name: &str) -> Vec<String> {
    let mut lines: Vec<String> = stats.lines().filter(|line| line.contains(name)).map(str::to_owned).collect();
    lines.sort();
    lines
}

impl AccessLog {
    fn new() -> Result<Self, String> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let folder = tools::target_directory().join("data-path");
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let name = format!("{}-{}.log", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        Ok(Self { file: folder.join(name), lines: AtomicUsize::new(0) })
    }

    /// The next line, as soon as it is there.
    fn next(&self) -> Result<String, String> {
        let number = self.lines.fetch_add(1, Ordering::SeqCst);
        let mut line = None;
        wait_until(Duration::from_secs(30), || {
            let text = fs::read_to_string(&self.file).unwrap_or_default();
            let complete = text.matches('\n').count();
            line = (number < complete).then(|| text.lines().nth(number).unwrap_or_default().to_owned());
            line.is_some()
        });
        line.ok_or_else(|| "the access log has no further line".into())
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// A cluster of endpoints on the loopback address.
pub fn cluster(name: &str, ports: &[u16], more: Value) -> Value {
    let endpoints: Vec<Value> = ports.iter().map(|port| json!({"address": format!("127.0.0.1:{port}")})).collect();
    merged(json!({"name": name, "endpoints": endpoints, "connectTimeout": "5s"}), &more)
}

/// A document with another's values in place of its own, object by object.
pub fn merged(base: Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (name, value) in over {
                let before = base.remove(name).unwrap_or(Value::Null);
                base.insert(name.clone(), merged(before, value));
            }
            Value::Object(base)
        }
        (_, over) => over.clone(),
    }
}

/// Memory of this process, in bytes.
pub fn resident_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
