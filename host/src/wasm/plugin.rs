//! A plugin on one worker: its settings, its VM, and what happens when the VM fails.

use crate::wasm::limits::Limits;
use crate::wasm::module::{LoadError, WasmModule};
use crate::wasm::root_context::RootContext;
use crate::wasm::services::{LogLevel, Services};
use crate::wasm::shared_state::SharedState;
use crate::wasm::stream_context::{Direction, Stream};
use crate::wasm::usage::{Usage, UsageReport};
use crate::wasm::vm::{Blueprint, Trapped, Vm, VmKey, VmTable, reason};
use crate::wasm::vm_state::VmState;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use wasmtime::InstancePre;

/// What a stream gets whose plugin cannot serve it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FailStrategy {
    /// 503. The VM is made anew for later streams, with a back-off when it fails again and again.
    ///
    /// This is FAIL_CLOSE and FAIL_RELOAD alike: under Envoy's FAIL_CLOSE one bad request makes every later one on
    /// that worker a 503, for ever.
    #[default]
    Reload,
    /// The stream goes on without the plugin, the one that made it fail included; later ones have it again.
    Open,
}

/// How a plugin is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSettings {
    /// Unique in a chain; names it in logs.
    pub name: String,
    /// Which of a module's root contexts.
    pub root_id: String,
    /// Plugins with equal `vm_id`, VM configuration, environment and module share a VM.
    pub vm_id: String,
    /// What `on_vm_start` can read.
    pub vm_configuration: Vec<u8>,
    /// What `on_configure` can read.
    pub configuration: Vec<u8>,
    /// What its streams get when it fails.
    pub fail_strategy: FailStrategy,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Names of the hostcalls and callbacks it is restricted to; empty: all.
    pub allowed: BTreeSet<String>,
    /// Bounds.
    pub limits: Limits,
    /// A header callback that pauses still gets the body.
    pub allow_on_headers_stop_iteration: bool,
    /// A VM for every stream: nothing of one can reach another.
    pub vm_per_request: bool,
}

/// Why a plugin did not start.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum StartError {
    /// The module cannot be linked for it.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It said no.
    #[error("plugin {plugin}: {callback} refuses the configuration; its log says why")]
    Refused {
        /// The plugin.
        plugin: String,
        /// Which callback.
        callback: &'static str,
    },
    /// It did not return.
    #[error("plugin {plugin}: {callback} failed: {reason}")]
    Failed {
        /// The plugin.
        plugin: String,
        /// What was running.
        callback: &'static str,
        /// In words.
        reason: String,
    },
    /// Another plugin has just ended the VM they share.
    #[error("the VM has ended")]
    Ended,
}

impl StartError {
    pub(crate) fn of(plugin: &str, callback: &'static str, state: &VmState, error: &wasmtime::Error) -> Self {
        Self::Failed { plugin: plugin.to_owned(), callback, reason: reason(state, error) }
    }
}

/// A plugin that cannot serve a stream now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unavailable;

/// A plugin of a chain, on one worker.
pub struct Plugin {
    settings: Arc<PluginSettings>,
    module: Arc<WasmModule>,
    instance: InstancePre<VmState>,
    key: VmKey,
    vms: Rc<VmTable>,
    services: Rc<dyn Services>,
    shared: Arc<SharedState>,
    rooted: RefCell<Option<Rooted>>,
    restart: Restart,
    usage: Rc<Usage>,
    /// Bytes that its VMs have together.
    memory: Arc<AtomicUsize>,
}

/// The plugin's root context in its VM.
#[derive(Clone)]
struct Rooted {
    vm: Rc<Vm>,
    root: Rc<RootContext>,
}

/// When a failed VM may be made anew.
#[derive(Default)]
struct Restart {
    /// In monotonic nanoseconds.
    at: Cell<u64>,
    /// VMs in a row that ended before they had served a stream, and starts in a row that failed.
    unserved: Cell<u32>,
    not_started: Cell<u32>,
    /// VMs in a row that their timer ended.
    strikes: Cell<u32>,
    served: Cell<bool>,
    /// VMs that have ended.
    ended: Cell<u64>,
}

/// VMs in a row that may end without having served a stream before the next has to wait. Whoever can make a plugin
/// trap would otherwise only have to be the first at each new VM to keep everyone from being served.
const PATIENCE: u32 = 5;

/// VMs in a row that their timer may end, and how often it must have returned for a VM not to count. What happens
/// without any request would happen for ever.
const STRIKES: u32 = 3;
const STEADY: u32 = 100;

/// The longest that a root context may stay that has asked to, once its plugin is no longer wanted.
const FAREWELL: Duration = Duration::from_secs(60);

/// The shortest and the longest that a plugin waits for a new VM.
const BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

impl Plugin {
    /// Starts a plugin.
    ///
    /// # Errors
    /// When it does not link, traps at its start, or refuses its configuration.
    pub fn start(
        settings: Arc<PluginSettings>,
        module: Arc<WasmModule>,
        vms: Rc<VmTable>,
        services: Rc<dyn Services>,
        shared: Arc<SharedState>,
    ) -> Result<Rc<Self>, StartError> {
        let instance = module.link(&settings.allowed)?;
        let key = VmKey {
            digest: module.digest,
            vm_id: settings.vm_id.clone(),
            vm_configuration: settings.vm_configuration.clone(),
            environment: settings.environment.clone(),
            allowed: settings.allowed.iter().cloned().collect(),
        };
        let (rooted, restart, usage, memory) = (RefCell::default(), Restart::default(), Rc::default(), Arc::default());
        let plugin = Self { settings, module, instance, key, vms, services, shared, rooted, restart, usage, memory };
        let first = plugin.root()?;
        // The first VM of a plugin of many is only the proof that it starts.
        *plugin.rooted.borrow_mut() = Some(first);
        Ok(Rc::new(plugin))
    }

    /// Whether its module can edit bodies.
    pub fn edits_bodies(&self) -> bool {
        self.module.edits_bodies
    }

    /// How it is to run.
    pub fn settings(&self) -> &Arc<PluginSettings> {
        &self.settings
    }

    /// Whether its VM runs, how many bytes of memory it has, and how many before it have ended.
    pub fn health(&self) -> (bool, usize, u64) {
        self.notice();
        let rooted = self.rooted.borrow();
        let vm = rooted.as_ref().map(|rooted| &rooted.vm);
        (vm.is_some_and(|vm| vm.is_running()), vm.map_or(0, |vm| vm.memory()), self.restart.ended.get())
    }

    /// What it has been asked to do on this worker, how long that took, and why its last VM ended.
    pub fn usage(&self) -> UsageReport {
        self.usage.report()
    }

    /// Makes the stream's context.
    ///
    /// # Errors
    /// When its VM has failed and may not be made anew yet, or fails at once.
    pub fn context(self: &Rc<Self>, stream: &Rc<Stream>, slot: usize) -> Result<Guest, Unavailable> {
        let rooted = match self.settings.vm_per_request {
            true => self.root().map_err(|_| Unavailable)?,
            false => self.running()?,
        };
        match rooted.vm.create_context(rooted.root.id, stream, slot) {
            Ok(id) => Ok(Guest { plugin: self.clone(), vm: rooted.vm, id }),
            Err(Trapped) => {
                self.notice();
                Err(Unavailable)
            }
        }
    }

    /// The root context, made anew if its VM has ended.
    fn running(&self) -> Result<Rooted, Unavailable> {
        self.notice();
        if let Some(rooted) = self.rooted.borrow().as_ref() {
            return Ok(rooted.clone());
        }
        let now = self.services.monotonic();
        if now < self.restart.at.get() {
            return Err(Unavailable);
        }
        let started = self.root();
        let cost = self.services.monotonic().saturating_sub(now);
        // Starting again and again may take a tenth of the worker's time, however dear one start is.
        self.restart.at.set(now.saturating_add(cost.saturating_mul(10)));
        match started {
            Ok(rooted) => {
                self.restart.not_started.set(0);
                *self.rooted.borrow_mut() = Some(rooted.clone());
                Ok(rooted)
            }
            Err(error) => {
                self.log(&error.to_string());
                self.usage.ended(&error.to_string());
                self.restart.ended.set(self.restart.ended.get() + 1);
                let failures = count(&self.restart.not_started);
                self.wait(BACK_OFF.saturating_mul(1 << failures.min(6)).min(LONGEST_BACK_OFF));
                Err(Unavailable)
            }
        }
    }

    /// Notices that the VM has ended, once. It may be made anew at once, unless that has helped nobody several times.
    fn notice(&self) {
        let ended = self.rooted.borrow_mut().take_if(|rooted| !rooted.vm.is_running());
        let Some(Rooted { root, .. }) = ended else { return };
        let restart = &self.restart;
        restart.ended.set(restart.ended.get() + 1);
        if root.timer.returned.get() >= STEADY {
            restart.strikes.set(0);
        }
        if root.timer.trapped.get() && count(&restart.strikes) >= STRIKES {
            restart.at.set(u64::MAX);
            return self.log(&format!("disabled: {STRIKES} VMs in a row have ended in on_tick"));
        }
        if restart.served.replace(false) {
            restart.unserved.set(0);
        } else if count(&restart.unserved) > PATIENCE {
            self.wait(BACK_OFF);
        }
    }

    /// Bars a new VM for a time, and a little more, so that not all workers come back at once.
    fn wait(&self, time: Duration) {
        let mut draw = [0; 1];
        self.services.random(&mut draw);
        let jitter = time.mul_f64(f64::from(draw[0]) / 512.0);
        let wait = u64::try_from((time + jitter).as_nanos()).unwrap_or(u64::MAX);
        self.restart.at.set(self.services.monotonic().saturating_add(wait));
    }

    fn log(&self, line: &str) {
        self.services.log(LogLevel::Error, &self.settings.name, line);
    }

    /// A root context in a VM that runs.
    fn root(&self) -> Result<Rooted, StartError> {
        let blueprint = Blueprint {
            module: &self.module,
            instance: &self.instance,
            settings: &self.settings,
            services: &self.services,
            shared: &self.shared,
            memory: &self.memory,
        };
        let vm = match self.settings.vm_per_request {
            true => self.vms.fresh(&blueprint)?,
            false => self.vms.obtain(&self.key, &blueprint)?,
        };
        let root = vm.start_root(&self.settings, &self.usage)?;
        Ok(Rooted { vm, root })
    }

    /// Ends the root context: `on_done`, and `on_delete` unless it asks to wait for `proxy_done`.
    pub fn end(&self) {
        let Some(Rooted { vm, root }) = self.rooted.borrow_mut().take() else {
            return;
        };
        let done = vm.enter(root.id, |store, callbacks| match &callbacks.done {
            Some(call) => call.call(store, root.id),
            None => Ok(1),
        });
        match done {
            Ok(0) => {
                root.done_pending.set(true);
                tokio::task::spawn_local(async move {
                    // Both stay alive for so long, with timer and calls.
                    let _ = tokio::time::timeout(FAREWELL, root.done.notified()).await;
                    let _ = vm.delete(root.id);
                });
            }
            // A guest that traps here has ended as well.
            _ => _ = vm.delete(root.id),
        }
    }
}

/// A plugin's context for one stream.
pub struct Guest {
    plugin: Rc<Plugin>,
    vm: Rc<Vm>,
    id: u32,
}

impl Guest {
    /// The plugin.
    pub fn plugin(&self) -> &Rc<Plugin> {
        &self.plugin
    }

    /// Whether it is called for the body of a direction at all.
    pub fn wants_body(&self, direction: Direction) -> bool {
        self.vm.wants_body(direction)
    }

    /// Whether it is called for the bytes of a direction of a TCP connection at all.
    pub fn wants_data(&self, direction: Direction) -> bool {
        self.vm.wants_data(direction)
    }

    /// Headers have come. The action: 0 continue, and what `proxy_on_request_headers` may return besides.
    ///
    /// # Errors
    /// When the guest traps; so for the others.
    pub fn headers(&self, direction: Direction, count: usize, end: bool) -> Result<u32, Trapped> {
        self.judged(self.vm.headers(self.id, direction, size(count), end))
    }

    /// A part of a body has come; `readable` bytes can be read now.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn body(&self, direction: Direction, readable: usize, end: bool) -> Result<u32, Trapped> {
        self.judged(self.vm.body(self.id, direction, size(readable), end))
    }

    /// Trailers have come.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn trailers(&self, direction: Direction, count: usize) -> Result<u32, Trapped> {
        self.judged(self.vm.trailers(self.id, direction, size(count)))
    }

    /// A TCP connection has come.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn new_connection(&self) -> Result<u32, Trapped> {
        self.judged(self.vm.enter(self.id, |store, callbacks| match &callbacks.new_connection {
            Some(call) => call.call(store, self.id),
            None => Ok(0),
        }))
    }

    /// Bytes of a TCP connection have come; `readable` can be read now.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn data(&self, direction: Direction, readable: usize, end: bool) -> Result<u32, Trapped> {
        self.judged(self.vm.data(self.id, direction, size(readable), end))
    }

    /// A side of a TCP connection has closed. `peer`: 0 nobody says, 1 we did, 2 they did.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn connection_close(&self, direction: Direction, peer: u32) -> Result<(), Trapped> {
        let index = usize::from(direction == Direction::Response);
        self.judged(self.vm.enter(self.id, |store, callbacks| match callbacks.connection_close.get(index) {
            Some(Some(call)) => call.call(store, (self.id, peer)),
            _ => Ok(()),
        }))
    }

    /// The stream has ended; its headers can be read a last time.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn log(&self) -> Result<(), Trapped> {
        self.judged(self.vm.enter(self.id, |store, callbacks| match &callbacks.log {
            Some(call) => call.call(store, self.id),
            None => Ok(()),
        }))
    }

    /// Ends the context: `on_done`, whose answer does not matter for streams, and `on_delete`.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn end(self) -> Result<(), Trapped> {
        self.done()?;
        self.delete()
    }

    /// The first half of [`Self::end`]: `on_done`. TCP connections are logged between the halves, where HTTP streams
    /// are logged before both.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn done(&self) -> Result<(), Trapped> {
        self.judged(self.vm.enter(self.id, |store, callbacks| match &callbacks.done {
            Some(call) => call.call(store, self.id).map(|_| ()),
            None => Ok(()),
        }))
    }

    /// The second half: `on_delete`.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn delete(self) -> Result<(), Trapped> {
        self.judged(self.vm.delete(self.id))?;
        self.plugin.restart.served.set(true);
        Ok(())
    }

    fn judged<R>(&self, result: Result<R, Trapped>) -> Result<R, Trapped> {
        if result.is_err() {
            self.plugin.notice();
        }
        result
    }
}

/// Counts one more: the new count.
fn count(counter: &Cell<u32>) -> u32 {
    counter.set(counter.get().saturating_add(1));
    counter.get()
}

fn size(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
