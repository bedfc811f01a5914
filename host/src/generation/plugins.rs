//! Plugins made ready to start: modules compiled, settings complete.

use crate::Faults;
use crate::wasm::{self, Limits, PluginSettings, WasmEngine, WasmModule};
use compiler::snapshot::{self, HttpLimits, Module};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
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

/// The modules of a snapshot by name.
pub(super) type Modules = BTreeMap<String, Arc<WasmModule>>;

/// Compiled modules by the digest of their bytes: each is compiled once as long as anything uses it.
pub(crate) struct ModuleCache {
    engine: WasmEngine,
    modules: Mutex<HashMap<[u8; 32], Weak<WasmModule>>>,
}

impl ModuleCache {
    pub(crate) fn new(engine: WasmEngine) -> Self {
        Self { engine, modules: Mutex::default() }
    }

    /// The modules of a snapshot by name; those that cannot be had are faults.
    pub(super) fn load_all(&self, modules: &BTreeMap<String, Module>, faults: &mut Faults) -> Modules {
        let mut loaded = Modules::new();
        for (name, module) in modules {
            match bytes(module).and_then(|bytes| self.load(&bytes)) {
                Ok(module) => drop(loaded.insert(name.clone(), module)),
                Err(reason) => faults.push(format!("module {name}: {reason}")),
            }
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

/// The plans of a chain's plugins; what is wrong with them is added to the faults.
///
/// `headers`: what clients of the chain may send, where it is HTTP; a plugin may write twice as much.
pub(super) fn plans(
    plugins: &[snapshot::Plugin],
    headers: Option<&HttpLimits>,
    modules: &Modules,
    place: &str,
    faults: &mut Faults,
) -> Vec<PluginPlan> {
    let mut plans = Vec::with_capacity(plugins.len());
    for plugin in plugins {
        match modules.get(&plugin.module) {
            Some(module) => {
                plans.push(PluginPlan { settings: Arc::new(settings(plugin, headers)), module: module.clone() })
            }
            None => faults.push(format!("{place} plugin {} module: no usable module {:?}", plugin.name, plugin.module)),
        }
    }
    plans
}

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
