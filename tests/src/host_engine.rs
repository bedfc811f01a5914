//! The host engine: our own proxy, in process, with a listener for each case.

use crate::case_file::{Located, Plugin, Upstream};
use crate::envoy_bootstrap::encoded_metadata;
use crate::live::{LiveProxy, Surroundings};
use crate::sdks::Sdk;
use crate::{certs, tools};
use compiler::snapshot::{Module, Snapshot};
use host::{Options, Proxy};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
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
            Some(address) => self.surroundings.run(&self.running, address.port(), &without_control(located)),
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

/// The case, with the headers by which filters steer the proxy expected nowhere: it obeys them, and no upstream sees
/// them.
fn without_control(located: &Located) -> Located {
    let mut located = located.clone();
    for request in &mut located.case.requests {
        let Some(Upstream::Reached(reached)) = &mut request.expect.upstream else { continue };
        let control = reached.headers.iter_mut().filter(|(name, _)| is_control(name));
        control.for_each(|(_, values)| *values = None);
    }
    located
}

fn is_control(name: &str) -> bool {
    let own = name.starts_with("x-outrigger-") || name.starts_with("x-envoy-upstream-rq-");
    own || matches!(
        name,
        "x-envoy-max-retries" | "x-envoy-retry-on" | "x-envoy-retry-grpc-on" | "x-envoy-retriable-status-codes"
    )
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
    for located in cases {
        for plugin in &located.plugins {
            let (name, module) = module(located, plugin);
            snapshot.modules.insert(name, module?);
        }
    }
    for located in cases.iter().filter(|located| !located.case.metadata.is_empty()) {
        snapshot.modules.insert(metadata_module(located), Module::File(write_metadata(located)?));
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
    let plugins = plugins.map(|(i, config)| plugin(located, config, &format!("{}/{i}", located.id)));
    let metadata = (!located.case.metadata.is_empty())
        .then(|| json!({"name": metadata_module(located), "module": metadata_module(located)}));
    json!({
        "destination": {"clusterHeader": {"name": "x-outrigger-cluster", "default": "upstream"}},
        "useRemoteAddress": located.case.use_remote_address,
        "limits": {"headerBytes": 8 << 20, "headerFields": 4000},
        "plugins": metadata.into_iter().chain(plugins).collect::<Vec<_>>(),
    })
}

/// A plugin; cases share one VM per module, as plugins of the same module do by default.
fn plugin(located: &Located, plugin: &Plugin, name: &str) -> Value {
    let (module, _) = module(located, plugin);
    json!({
        "name": name,
        "module": module,
        "rootId": plugin.root_id.as_deref().unwrap_or(name),
        "vmId": module,
        "limits": {"body": 8 << 20},
        "configuration": plugin.configuration,
    })
}

/// The module of a plugin, and its name: of a case with one plugin the filter's own, as a file; of one with more our
/// proxy's, which links filters that stand together.
fn module(located: &Located, plugin: &Plugin) -> (String, Result<Module, String>) {
    let name = &plugin.module;
    match located.plugins.len() {
        1 => (format!("{name} alone"), write_module(name).map(Module::File)),
        _ => (name.clone(), Ok(Module::Embedded(name.clone()))),
    }
}

/// A module of ours where a user's would be.
fn write_module(name: &str) -> Result<PathBuf, String> {
    if let Some(sdk) = Sdk::find(name) {
        return sdk.module();
    }
    let module = modules::find(name).ok_or_else(|| format!("there is no module {name}"))?;
    module_file(name, module.bytes)
}

/// The file of a module, written once.
///
/// # Errors
/// When it cannot be written.
pub fn module_file(name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
    static WRITTEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let folder = tools::target_directory().join("case-modules");
    let file = folder.join(format!("{name}.wasm"));
    let mut written = WRITTEN.lock().map_err(|_| "a thread that wrote a module has failed")?;
    if written.insert(name.to_owned()) {
        // Another process that runs the same tests has it whole, this one's or its own.
        let whole = folder.join(format!("{name}-{}", std::process::id()));
        let write = fs::create_dir_all(&folder).and_then(|()| fs::write(&whole, bytes));
        write.and_then(|()| fs::rename(&whole, &file)).map_err(|error| error.to_string())?;
    }
    Ok(file)
}

/// The name of the module that stands for the filters that would have left a case's metadata.
fn metadata_module(located: &Located) -> String {
    format!("metadata of {}", located.id)
}

/// Writes a module that does nothing but leave a case's dynamic metadata, as a property.
fn write_metadata(located: &Located) -> Result<PathBuf, String> {
    let encoded = encoded_metadata(&located.case.metadata);
    let data: String = encoded.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
            (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "metadata")
            (data (i32.const 64) "{data}")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 0))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $set (i32.const 16) (i32.const 8) (i32.const 64) (i32.const {size})))
                (i32.const 0)))"#,
        size = encoded.len()
    );
    let module = wat::parse_str(text).map_err(|error| error.to_string())?;
    module_file(&located.id.replace("::", "-"), &module)
}
