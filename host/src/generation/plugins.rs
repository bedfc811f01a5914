//! Plugins made ready to start: modules compiled, settings complete.

use super::linked::{Linked, Run, runs};
use crate::Faults;
use crate::wasm::{self, Limits, PluginSettings, WasmEngine, WasmModule};
use compiler::snapshot::{self, HttpLimits, Module, NetworkFilter, Snapshot};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A plugin that can be started on any worker.
#[derive(Clone)]
pub(crate) struct PluginPlan {
    pub(crate) settings: Arc<PluginSettings>,
    pub(crate) module: Arc<WasmModule>,
}

/// Equal plans run the same: a plugin that is running already can serve for either.
impl PartialEq for PluginPlan {
    fn eq(&self, other: &Self) -> bool {
        self.module.digest == other.module.digest && self.settings == other.settings
    }
}

/// The modules that a snapshot runs.
pub(super) struct Modules<'s> {
    sources: &'s BTreeMap<String, Module>,
    by_name: BTreeMap<&'s str, Arc<WasmModule>>,
    /// The one that links our own filters.
    linking: Option<Arc<WasmModule>>,
}

/// Compiled modules by the digest of their bytes: each is compiled once as long as anything uses it.
pub(crate) struct ModuleCache {
    engine: WasmEngine,
    modules: Mutex<HashMap<[u8; 32], Weak<WasmModule>>>,
}

impl ModuleCache {
    pub(crate) fn new(engine: WasmEngine) -> Self {
        Self { engine, modules: Mutex::default() }
    }

    /// The modules that a snapshot runs; those that cannot be had are faults.
    pub(super) fn load_all<'s>(&self, snapshot: &'s Snapshot, faults: &mut Faults) -> Modules<'s> {
        let sources = &snapshot.modules;
        let chains = snapshot.listeners.iter().flat_map(|listener| &listener.filter_chains);
        let runs = chains.flat_map(|chain| runs(plugins_of(&chain.network_filter), sources));
        let (mut alone, mut linking) = (HashSet::new(), false);
        runs.for_each(|run| match run {
            Run::Alone(plugin) => drop(alone.insert(plugin.module.as_str())),
            Run::Linked(_) => linking = true,
        });
        let mut loaded = Modules { sources, by_name: BTreeMap::new(), linking: None };
        let load = |name: &str, module: &Module, faults: &mut Faults| {
            let loaded = bytes(module).and_then(|bytes| self.load(&bytes));
            loaded.map_err(|reason| faults.push(format!("module {name}: {reason}"))).ok()
        };
        for (name, module) in sources {
            // Of ours, what none runs is not compiled; a file may be anything.
            let spared = matches!(module, Module::Embedded(name) if modules::find(name).is_some());
            if !spared || alone.contains(name.as_str()) {
                loaded.by_name.extend(load(name, module, faults).map(|module| (name.as_str(), module)));
            }
        }
        if linking {
            loaded.linking = load(modules::LINKING, &Module::Embedded(modules::LINKING.to_owned()), faults);
        }
        loaded
    }

    fn load(&self, bytes: &[u8]) -> Result<Arc<WasmModule>, String> {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.retain(|_, module| module.strong_count() > 0);
        if let Some(module) = modules.get(&digest).and_then(Weak::upgrade) {
            return Ok(module);
        }
        let module = WasmModule::load(&self.engine, bytes).map_err(|error| error.to_string())?;
        let module = Arc::new(module);
        modules.insert(digest, Arc::downgrade(&module));
        Ok(module)
    }
}

fn bytes(module: &Module) -> Result<Cow<'static, [u8]>, String> {
    match module {
        Module::Embedded(name) => {
            let module = modules::find(name).ok_or_else(|| format!("embedded: there is no filter {name:?}"))?;
            Ok(Cow::Borrowed(module.bytes))
        }
        Module::File(path) => {
            fs::read(path).map(Cow::Owned).map_err(|error| format!("file {}: {error}", path.display()))
        }
    }
}

/// The plugins of a filter chain, in request order.
fn plugins_of(filter: &NetworkFilter) -> &[snapshot::Plugin] {
    match filter {
        NetworkFilter::HttpConnectionManager(manager) => &manager.plugins,
        NetworkFilter::TcpProxy(proxy) => &proxy.plugins,
    }
}

/// The plans of a chain's plugins; what is wrong with them is added to the faults.
pub(super) fn plans(
    filter: &NetworkFilter,
    modules: &Modules<'_>,
    place: &str,
    faults: &mut Faults,
) -> Vec<PluginPlan> {
    // What clients of the chain may send, where it is HTTP.
    let headers = match filter {
        NetworkFilter::HttpConnectionManager(manager) => Some(&manager.limits),
        NetworkFilter::TcpProxy(_) => None,
    };
    let mut plans = Vec::new();
    for run in runs(plugins_of(filter), modules.sources) {
        let (module, settings) = match &run {
            Run::Alone(plugin) => (modules.by_name.get(plugin.module.as_str()), settings(plugin, headers)),
            Run::Linked(filters) => (modules.linking.as_ref(), linked_settings(filters, headers)),
        };
        match (module, run) {
            (Some(module), _) => plans.push(PluginPlan { settings: Arc::new(settings), module: module.clone() }),
            (None, Run::Alone(plugin)) => {
                faults.push(format!("{place} plugin {} module: no usable module {:?}", plugin.name, plugin.module));
            }
            // That the module cannot be had has been said.
            (None, Run::Linked(_)) => {}
        }
    }
    plans
}

/// Filters of ours as one plugin: named after all of them, with what each may use.
fn linked_settings(filters: &[Linked<'_>], headers: Option<&HttpLimits>) -> PluginSettings {
    let names: Vec<&str> = filters.iter().map(|filter| filter.plugin.name.as_str()).collect();
    let fields = filters.iter().map(|filter| (filter.field.to_owned(), filter.plugin.configuration.clone()));
    // They all run in the manner of the first.
    let first = filters.first().map(|filter| filter.plugin.clone()).unwrap_or_default();
    let plugin =
        snapshot::Plugin { name: names.join("+"), configuration: serde_json::Value::Object(fields.collect()), ..first };
    let mut settings = settings(&plugin, headers);
    settings.limits = settings.limits.of_linked(filters.len());
    settings
}

/// `headers`: what clients may send, where they speak HTTP; a plugin may write twice as much.
fn settings(plugin: &snapshot::Plugin, headers: Option<&HttpLimits>) -> PluginSettings {
    PluginSettings {
        name: plugin.name.clone(),
        root_id: plugin.root_id.clone(),
        vm_id: plugin.vm_id.clone(),
        vm_configuration: plugin.vm_configuration.clone().into_bytes(),
        configuration: configuration(&plugin.configuration),
        fail_strategy: match plugin.fail_strategy {
            snapshot::FailStrategy::FailOpen => wasm::FailStrategy::Open,
            snapshot::FailStrategy::FailClose | snapshot::FailStrategy::FailReload => wasm::FailStrategy::Reload,
        },
        environment: plugin.environment.clone(),
        allowed: plugin.allowed_capabilities.iter().cloned().collect(),
        limits: limits(&plugin.limits, headers),
        allow_on_headers_stop_iteration: plugin.allow_on_headers_stop_iteration,
        vm_per_request: plugin.vm_per_request,
    }
}

fn configuration(value: &serde_json::Value) -> Vec<u8> {
    match value {
        serde_json::Value::Null => Vec::new(),
        serde_json::Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

fn limits(own: &snapshot::PluginLimits, headers: Option<&HttpLimits>) -> Limits {
    let mut limits = Limits::default();
    if let Some(headers) = headers {
        limits.header_bytes = headers.header_bytes.saturating_mul(2);
        limits.header_fields = headers.header_fields.saturating_mul(2);
    }
    limits.memory = own.memory.unwrap_or(limits.memory);
    limits.body = own.body.unwrap_or(limits.body);
    limits.pause = own.pause.map_or(limits.pause, |pause| pause.0);
    if let Some(callback) = own.callback {
        limits.callback = callback.0;
        limits.callback_warning = limits.callback_warning.min(callback.0);
    }
    limits
}
