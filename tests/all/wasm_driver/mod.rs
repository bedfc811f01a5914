//! Runs guests in the host's own filter chain, without sockets: time is chosen, logs are recorded, calls are answered as
//! a test says, and what comes out is written as HTTP/1.1 and read again by a strict reader.

mod exchange;
mod services;
mod wire;

pub(crate) use exchange::{Answer, Outcome, Request};
pub(crate) use services::{Answered, Recorded};

use host::filter_chain::FilterChain;
use host::wasm::{
    FailStrategy, Limits, LoadError, Plugin, PluginSettings, SharedState, StartError, VmTable, WasmEngine, WasmModule,
};
use outrigger_tests::tools;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// One engine for all tests, as a process has one. What it compiles is kept: an unoptimised compiler is slow.
static ENGINE: LazyLock<Result<WasmEngine, String>> =
    LazyLock::new(|| WasmEngine::new(Some(tools::target_directory().join("compiled-guests"))));

/// Modules by the name of their guest.
static MODULES: Mutex<Option<HashMap<String, Arc<WasmModule>>>> = Mutex::new(None);

/// A worker thread of the proxy, as far as guests know one.
pub(crate) struct Worker {
    pub(crate) services: Rc<Recorded>,
    pub(crate) vms: Rc<VmTable>,
    pub(crate) shared: Arc<SharedState>,
}

/// Runs a test on a worker of its own. Its clock moves when everything waits, or when the test moves it.
pub(crate) fn on_worker(test: impl AsyncFnOnce(&Worker)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime of one thread");
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let worker = Worker::new(Arc::default());
        test(&worker).await;
    });
}

/// The module of a guest.
pub(crate) fn load(guest: &str) -> Result<Arc<WasmModule>, LoadError> {
    let known =
        |modules: &mut Option<HashMap<String, Arc<WasmModule>>>| modules.get_or_insert_default().get(guest).cloned();
    if let Some(module) = known(&mut MODULES.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(module);
    }
    let guest = guests::find(guest).unwrap_or_else(|| panic!("there is no guest {guest}"));
    let module = load_bytes(guest.bytes)?;
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    modules.get_or_insert_default().insert(guest.name.to_owned(), module.clone());
    Ok(module)
}

/// A module of any bytes.
pub(crate) fn load_bytes(bytes: &[u8]) -> Result<Arc<WasmModule>, LoadError> {
    let engine = ENGINE.as_ref().unwrap_or_else(|error| panic!("{error}"));
    WasmModule::load(engine, bytes).map(Arc::new)
}

/// Settings of a plugin of a guest: each has a VM of its own unless a test says otherwise.
pub(crate) fn settings(guest: &str, vm_configuration: &str) -> PluginSettings {
    PluginSettings {
        name: guest.to_owned(),
        root_id: String::new(),
        vm_id: guest.to_owned(),
        vm_configuration: vm_configuration.into(),
        configuration: Vec::new(),
        fail_strategy: FailStrategy::Reload,
        environment: Vec::new(),
        allowed: BTreeSet::new(),
        limits: Limits::default(),
        allow_on_headers_stop_iteration: false,
        vm_per_request: false,
    }
}

impl Worker {
    pub(crate) fn new(shared: Arc<SharedState>) -> Self {
        Self { services: Rc::new(Recorded::new()), vms: Rc::default(), shared }
    }

    /// Starts a plugin of a guest.
    pub(crate) fn try_start(&self, guest: &str, settings: PluginSettings) -> Result<Rc<Plugin>, StartError> {
        let module = load(guest)?;
        Plugin::start(settings.into(), module, self.vms.clone(), self.services.clone(), self.shared.clone())
    }

    /// As [`Self::try_start`], of one that must start.
    pub(crate) fn start(&self, guest: &str, settings: PluginSettings) -> Rc<Plugin> {
        self.try_start(guest, settings).unwrap_or_else(|error| panic!("{guest}: {error}"))
    }

    /// A chain of one plugin, beside the plugin itself.
    pub(crate) fn chain(&self, guest: &str, settings: PluginSettings) -> (Rc<FilterChain>, Rc<Plugin>) {
        let plugin = self.start(guest, settings);
        (Rc::new(FilterChain::new(vec![plugin.clone()])), plugin)
    }

    /// Lets time pass, and everything happen that is due.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.settle().await;
    }

    /// Tells VMs of their queues, and lets tasks run that are ready.
    pub(crate) async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
            while let Some(ready) = self.services.take_wake_up() {
                self.vms.queue_ready(ready);
            }
        }
    }
}
