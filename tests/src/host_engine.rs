//! The host engine: our own proxy, in process, with a listener for each case.

use crate::case_file::{Located, Plugin};
use crate::live::{LiveProxy, Surroundings};
use crate::{certs, tools};
use compiler::snapshot::{Module, Snapshot};
use host::{Options, Proxy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Our proxy with the listeners of some cases.
pub struct Host {
    running: Running,
    surroundings: Surroundings,
}

struct Running {
    proxy: Proxy,
    log: Log,
}

/// What the plugins logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn options(&self) -> Options {
        let log = self.clone();
        Options {
            module_cache: Some(tools::target_directory().join("modules-compiled")),
            guest_log: Some(Arc::new(move |_, _: &str, line: &str| log.lines().push(line.to_owned()))),
            ..Options::default()
        }
    }
}

impl Host {
    /// Starts it. The cases must agree on which clusters exist: see [`crate::live::clusters`].
    ///
    /// # Errors
    /// When it does not start: then with what the plugins logged.
    pub fn start(cases: &[&Located]) -> Result<Self, String> {
        let surroundings = Surroundings::start(cases)?;
        let snapshot = snapshot(cases, &surroundings.clusters(cases))?;
        let log = Log::default();
        let started = Proxy::start(snapshot, log.options());
        let proxy = started.map_err(|faults| format!("{faults}\n{}", log.lines().join("\n")))?;
        Ok(Self { running: Running { proxy, log }, surroundings })
    }

    /// Everything that is not as a case expects.
    pub fn run(&mut self, located: &Located) -> Vec<String> {
        match self.running.proxy.address(&located.id) {
            Some(address) => self.surroundings.run(&self.running, address.port(), located),
            None => vec!["the case has no listener".into()],
        }
    }
}

impl LiveProxy for Running {
    fn metrics(&self) -> BTreeMap<String, i64> {
        let samples = self.proxy.registry().collect();
        let text = host::telemetry::stats_text(&samples, &host::telemetry::StatsQuery::default());
        let metrics = text.lines().filter_map(|line| line.strip_prefix("wasmcustom.")?.split_once(": "));
        metrics.map(|(name, value)| (name.to_owned(), value.parse().unwrap_or(0))).collect()
    }

    fn is_quiet(&self) -> bool {
        self.proxy.active_requests() == 0
    }

    fn log_length(&self) -> usize {
        self.log.lines().len()
    }

    fn log_since(&self, start: usize) -> Vec<String> {
        self.log.lines().get(start..).unwrap_or_default().to_vec()
    }
}

/// Whether our proxy refuses a case's configuration for the faults it expects: what is not as expected.
pub fn refuses(located: &Located) -> Vec<String> {
    let snapshot = match snapshot(&[located], &BTreeMap::from([("upstream".to_owned(), (1, false))])) {
        Ok(snapshot) => snapshot,
        Err(error) => return vec![error],
    };
    let log = Log::default();
    match Proxy::validate(snapshot, log.options()) {
        Ok(()) => vec!["the proxy accepts the configuration".into()],
        Err(_) => {
            let log = log.lines().join("\n");
            let missing = located.case.faults.iter().filter(|path| !log.contains(&format!("{path}: ")));
            missing.map(|path| format!("the log names no fault at {path}:\n{log}")).collect()
        }
    }
}

fn snapshot(cases: &[&Located], clusters: &BTreeMap<String, (u16, bool)>) -> Result<Snapshot, String> {
    let listeners: Result<Vec<Value>, String> = cases.iter().map(|located| listener(located)).collect();
    let clusters = clusters.iter().map(|(name, (port, http2))| {
        json!({
            "name": name,
            "protocol": if *http2 { "http2" } else { "http1" },
            "connectTimeout": "5s",
            "endpoints": [{"address": format!("127.0.0.1:{port}")}],
        })
    });
    let document =
        json!({"workers": 1, "listeners": listeners?, "clusters": clusters.collect::<Vec<_>>(), "modules": {}});
    let mut snapshot: Snapshot = serde_json::from_value(document).map_err(|error| error.to_string())?;
    for plugin in cases.iter().flat_map(|located| &located.plugins) {
        snapshot.modules.insert(plugin.module.clone(), Module::Embedded(plugin.module.clone()));
    }
    Ok(snapshot)
}

fn listener(located: &Located) -> Result<Value, String> {
    let mut chain = json!({"networkFilter": {"httpConnectionManager": connection_manager(located)}});
    if let Some(peer) = &located.case.peer {
        let server = certs::issue(&[], Some("proxy.test"))?;
        let mut tls = json!({
            "certificates": [{
                "certificateChain": {"inline": server.certificate},
                "privateKey": {"inline": server.key},
            }],
            "requireClientCertificate": !peer.uri_sans.is_empty(),
        });
        if !peer.uri_sans.is_empty() {
            tls["trustedCa"] = json!({"inline": certs::authority()?});
        }
        chain["transportSocket"] = tls;
    }
    Ok(json!({
        "name": located.id,
        "address": "127.0.0.1:0",
        "filterChains": [chain],
    }))
}

/// As an Istio sidecar has it: normalised paths, slashes left alone. Limits are out of the way of hostile cases: what
/// they are about is the filters.
fn connection_manager(located: &Located) -> Value {
    let plugins = located.plugins.iter().enumerate();
    json!({
        "destination": {"clusterHeader": {"name": "x-outrigger-cluster", "default": "upstream"}},
        "useRemoteAddress": located.case.use_remote_address,
        "limits": {"headerBytes": 8 << 20, "headerFields": 4000},
        "plugins": plugins.map(|(i, config)| plugin(config, &format!("{}/{i}", located.id))).collect::<Vec<_>>(),
    })
}

/// A plugin; cases share one VM per module, as plugins of the same module do by default.
fn plugin(plugin: &Plugin, name: &str) -> Value {
    json!({
        "name": name,
        "module": plugin.module,
        "rootId": name,
        "vmId": plugin.module,
        "configuration": plugin.configuration,
    })
}
