//! A VM: one instance of a module with its memory, on one worker. Whatever a guest does wrong ends here.

use crate::wasm::callbacks::{Callbacks, HeadersCallback};
use crate::wasm::deadline::{Deadline, Verdict};
use crate::wasm::module::WasmModule;
use crate::wasm::plugin::{PluginSettings, StartError};
use crate::wasm::root_context::{LogBudget, RootContext};
use crate::wasm::services::{LogLevel, Services};
use crate::wasm::shared_state::{QueueReady, SharedState};
use crate::wasm::stream_context::{Direction, Stream};
use crate::wasm::usage::Usage;
use crate::wasm::vm_state::{Grown, Received, Stage, StreamContext, VmState};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use wasmtime::{InstancePre, Store, UpdateDeadline};

/// The guest did not return: it trapped, ran out of time or memory, or had ended before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trapped;

/// A running instance, until it fails.
pub(crate) struct Vm {
    running: RefCell<Option<Running>>,
    /// Unlike that of any other VM of the process.
    pub(crate) number: u64,
    vm_id: Vec<u8>,
    shared: Arc<SharedState>,
}

struct Running {
    store: Store<VmState>,
    callbacks: Callbacks,
    next_context: u32,
}

/// What makes plugins share a VM: all of it equal.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct VmKey {
    pub(crate) digest: [u8; 32],
    pub(crate) vm_id: String,
    pub(crate) vm_configuration: Vec<u8>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) allowed: Vec<String>,
}

/// The VMs of one worker.
#[derive(Default)]
pub struct VmTable {
    by_key: RefCell<HashMap<VmKey, Weak<Vm>>>,
    by_number: RefCell<HashMap<u64, Weak<Vm>>>,
}

/// Everything an instance is made from.
pub(crate) struct Blueprint<'a> {
    pub(crate) module: &'a WasmModule,
    pub(crate) instance: &'a InstancePre<VmState>,
    pub(crate) settings: &'a Arc<PluginSettings>,
    pub(crate) services: &'a Rc<dyn Services>,
    pub(crate) shared: &'a Arc<SharedState>,
    /// What all VMs of the plugin have of memory.
    pub(crate) memory: &'a Arc<AtomicUsize>,
}

static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl VmTable {
    /// The VM of a key that runs, or a new one.
    pub(crate) fn obtain(&self, key: &VmKey, blueprint: &Blueprint<'_>) -> Result<Rc<Vm>, StartError> {
        if let Some(vm) = self.by_key.borrow().get(key).and_then(Weak::upgrade).filter(|vm| vm.is_running()) {
            return Ok(vm);
        }
        let vm = self.fresh(blueprint)?;
        self.by_key.borrow_mut().insert(key.clone(), Rc::downgrade(&vm));
        Ok(vm)
    }

    /// A VM that none shares.
    pub(crate) fn fresh(&self, blueprint: &Blueprint<'_>) -> Result<Rc<Vm>, StartError> {
        let vm = Vm::instantiate(blueprint)?;
        let mut by_number = self.by_number.borrow_mut();
        by_number.retain(|_, vm| vm.strong_count() > 0);
        by_number.insert(vm.number, Rc::downgrade(&vm));
        Ok(vm)
    }

    /// Tells a VM that a queue has an item. One that has ended is told nothing.
    pub fn queue_ready(&self, ready: QueueReady) {
        let vm = self.by_number.borrow().get(&ready.vm).and_then(Weak::upgrade);
        if let Some(vm) = vm {
            let _ = vm.enter(ready.root, |store, callbacks| match &callbacks.queue_ready {
                Some(call) => call.call(store, (ready.root, ready.queue)),
                None => Ok(()),
            });
        }
    }
}

impl Vm {
    fn instantiate(blueprint: &Blueprint<'_>) -> Result<Rc<Self>, StartError> {
        let settings = blueprint.settings;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        blueprint.shared.join(settings.vm_id.as_bytes());
        let vm = Rc::new(Self {
            running: RefCell::new(None),
            number,
            vm_id: settings.vm_id.clone().into_bytes(),
            shared: blueprint.shared.clone(),
        });
        let mut store = Store::new(blueprint.module.engine(), state(blueprint, number, Rc::downgrade(&vm)));
        store.limiter(|state| &mut state.grown);
        store.epoch_deadline_callback(|mut context| Ok(judge(context.data_mut())));
        store.set_epoch_deadline(1);
        store.data_mut().deadline.start(&settings.limits);
        let started = start(blueprint, &mut store);
        let callbacks = started.map_err(|error| StartError::of(&settings.name, "start", store.data(), &error))?;
        *vm.running.borrow_mut() = Some(Running { store, callbacks, next_context: 1 });
        Ok(vm)
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&self) -> bool {
        // While it is being called nobody can look, and it has not ended.
        self.running.try_borrow().map_or(true, |running| running.is_some())
    }

    /// Bytes of its memory.
    pub(crate) fn memory(&self) -> usize {
        let running = self.running.try_borrow();
        running.map_or(0, |running| running.as_ref().map_or(0, |running| running.store.data().grown.bytes))
    }

    /// Makes and starts the root context of a plugin.
    pub(crate) fn start_root(
        &self,
        settings: &Arc<PluginSettings>,
        usage: &Rc<Usage>,
    ) -> Result<Rc<RootContext>, StartError> {
        let mut guard = self.running.borrow_mut();
        let Some(running) = guard.as_mut() else {
            return Err(StartError::Ended);
        };
        let root = Rc::new(RootContext::new(running.next_context, settings.clone(), usage.clone()));
        running.next_context += 1;
        let state = running.store.data_mut();
        state.roots.push(root.clone());
        state.select(root.id);
        state.deadline.start(&settings.limits);
        state.stage = Stage::Running;
        running.store.set_epoch_deadline(1);
        let result = start_root(running, root.id, settings);
        running.store.data_mut().stage = Stage::Running;
        match result {
            Ok(None) => Ok(root),
            Ok(Some(refused)) => {
                *guard = None;
                Err(StartError::Refused { plugin: settings.name.clone(), callback: refused })
            }
            Err(error) => {
                let failed = guard.take();
                let data = failed.as_ref().map(|running| running.store.data());
                Err(data.map_or(StartError::Ended, |data| StartError::of(&settings.name, "configure", data, &error)))
            }
        }
    }

    /// Makes a stream context.
    pub(crate) fn create_context(&self, root: u32, stream: &Rc<Stream>, slot: usize) -> Result<u32, Trapped> {
        let id = {
            let mut guard = self.running.try_borrow_mut().map_err(|_| Trapped)?;
            let running = guard.as_mut().ok_or(Trapped)?;
            let id = running.next_context;
            running.next_context = id.checked_add(1).ok_or(Trapped)?;
            running.store.data_mut().streams.insert(id, StreamContext { stream: stream.clone(), slot, root });
            id
        };
        self.enter(id, |store, callbacks| match &callbacks.context_create {
            Some(call) => call.call(store, (id, root)),
            None => Ok(()),
        })?;
        Ok(id)
    }

    /// Whether it has a body callback for a direction. A VM that has ended has: nothing passes it unnoticed, as the
    /// call fails.
    pub(crate) fn wants_body(&self, direction: Direction) -> bool {
        self.has(|callbacks| of(&callbacks.body, direction).is_some())
    }

    /// Whether it has a callback for the bytes of a direction of a TCP connection; as [`Self::wants_body`].
    pub(crate) fn wants_data(&self, direction: Direction) -> bool {
        self.has(|callbacks| of(&callbacks.data, direction).is_some())
    }

    fn has(&self, callback: impl FnOnce(&Callbacks) -> bool) -> bool {
        let running = self.running.try_borrow();
        running.map_or(true, |running| running.as_ref().is_none_or(|vm| callback(&vm.callbacks)))
    }

    /// Calls the callback for the bytes of a direction of a TCP connection: the action.
    pub(crate) fn data(&self, id: u32, direction: Direction, size: u32, end: bool) -> Result<u32, Trapped> {
        self.enter(id, |store, callbacks| match of(&callbacks.data, direction) {
            Some(call) => call.call(store, (id, size, u32::from(end))),
            None => Ok(0),
        })
    }

    /// Calls the headers callback of a direction: the action.
    pub(crate) fn headers(&self, id: u32, direction: Direction, count: u32, end: bool) -> Result<u32, Trapped> {
        self.enter(id, |store, callbacks| match of(&callbacks.headers, direction) {
            Some(HeadersCallback::WithEnd(call)) => call.call(store, (id, count, u32::from(end))),
            Some(HeadersCallback::WithoutEnd(call)) => call.call(store, (id, count)),
            None => Ok(0),
        })
    }

    /// Calls the body callback of a direction: the action.
    pub(crate) fn body(&self, id: u32, direction: Direction, size: u32, end: bool) -> Result<u32, Trapped> {
        self.enter(id, |store, callbacks| match of(&callbacks.body, direction) {
            Some(call) => call.call(store, (id, size, u32::from(end))),
            None => Ok(0),
        })
    }

    /// Calls the trailers callback of a direction: the action.
    pub(crate) fn trailers(&self, id: u32, direction: Direction, count: u32) -> Result<u32, Trapped> {
        self.enter(id, |store, callbacks| match of(&callbacks.trailers, direction) {
            Some(call) => call.call(store, (id, count)),
            None => Ok(0),
        })
    }

    /// Deletes a context.
    pub(crate) fn delete(&self, id: u32) -> Result<(), Trapped> {
        let result = self.enter(id, |store, callbacks| match &callbacks.delete {
            Some(call) => call.call(store, id),
            None => Ok(()),
        });
        if let Some(running) = self.running.borrow_mut().as_mut() {
            let state = running.store.data_mut();
            state.streams.remove(&id);
            if state.roots.iter().any(|root| root.id == id) {
                state.roots.retain(|root| root.id != id);
                state.root = None;
            }
        }
        result
    }

    /// As [`Self::enter`], with what an answer brought.
    pub(crate) fn deliver<R>(
        &self,
        root: u32,
        received: Received,
        call: impl FnOnce(&mut Store<VmState>, &Callbacks) -> wasmtime::Result<R>,
    ) -> Result<R, Trapped> {
        if let Some(running) = self.running.borrow_mut().as_mut() {
            running.store.data_mut().received = Some(received);
        }
        self.enter(root, call)
    }

    /// Calls into the guest with a context effective. A guest that does not return ends its VM: its memory is given
    /// back, its calls are cancelled, and every stream it had a hand on is told.
    pub(crate) fn enter<R>(
        &self,
        context: u32,
        call: impl FnOnce(&mut Store<VmState>, &Callbacks) -> wasmtime::Result<R>,
    ) -> Result<R, Trapped> {
        let mut guard = self.running.try_borrow_mut().map_err(|_| Trapped)?;
        let Running { store, callbacks, .. } = guard.as_mut().ok_or(Trapped)?;
        store.set_epoch_deadline(1);
        let state = store.data_mut();
        state.deadline.callback(&state.settings.limits);
        if !state.select(context) {
            return Err(Trapped);
        }
        let timed = state.root.as_ref().filter(|root| root.usage.count());
        let timed = timed.map(|root| (root.clone(), state.services.monotonic()));
        let result = call(store, callbacks);
        let state = store.data_mut();
        state.stream = None;
        state.received = None;
        if let Some((root, began)) = timed {
            root.usage.took(state.services.monotonic().saturating_sub(began));
        }
        result.map_err(|error| {
            let failed = guard.take();
            drop(guard);
            if let Some(failed) = failed {
                end(&failed.store, &error);
            }
            Trapped
        })
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.shared.leave(&self.vm_id);
    }
}

fn state(blueprint: &Blueprint<'_>, number: u64, vm: Weak<Vm>) -> VmState {
    let settings = blueprint.settings;
    VmState {
        memory: None,
        allocate: None,
        abi: blueprint.module.abi,
        limits: settings.limits.clone(),
        grown: Grown::new(&settings.limits, blueprint.memory.clone()),
        stage: Stage::Initialize,
        deadline: Deadline::new(),
        streams: HashMap::default(),
        roots: Vec::new(),
        current: 0,
        stream: None,
        root: None,
        received: None,
        metrics: [Vec::new(), Vec::new(), Vec::new()],
        begun: [0; 3],
        settings: settings.clone(),
        services: blueprint.services.clone(),
        shared: blueprint.shared.clone(),
        number,
        vm,
        declared_properties: HashSet::new(),
        early_log: LogBudget::default(),
        exit: None,
    }
}

/// What an epoch tick means for a guest that is running.
fn judge(state: &mut VmState) -> UpdateDeadline {
    match state.deadline.judge() {
        Verdict::Extend(ticks) => UpdateDeadline::Continue(ticks),
        Verdict::Warn(ticks, used) => {
            let line = format!("a callback has computed for {} ms, and is ended at its limit", used.as_millis());
            state.log(LogLevel::Warn, &line);
            UpdateDeadline::Continue(ticks)
        }
        Verdict::Interrupt => UpdateDeadline::Interrupt,
    }
}

fn start(blueprint: &Blueprint<'_>, store: &mut Store<VmState>) -> wasmtime::Result<Callbacks> {
    let instance = blueprint.instance.instantiate(&mut *store)?;
    let memory = instance.get_memory(&mut *store, "memory");
    let allocate = instance
        .get_typed_func(&mut *store, "malloc")
        .or_else(|_| instance.get_typed_func(&mut *store, "proxy_on_memory_allocate"))?;
    store.data_mut().memory = memory;
    if instance.get_func(&mut *store, "_initialize").is_some() {
        instance.get_typed_func::<(), ()>(&mut *store, "_initialize")?.call(&mut *store, ())?;
        if let Ok(main) = instance.get_typed_func::<(u32, u32), u32>(&mut *store, "main") {
            main.call(&mut *store, (0, 0))?;
        } else if let Ok(main) = instance.get_typed_func::<(), u32>(&mut *store, "__main_void") {
            main.call(&mut *store, ())?;
        }
    } else if let Ok(start) = instance.get_typed_func::<(), ()>(&mut *store, "_start") {
        start.call(&mut *store, ())?;
    }
    store.data_mut().allocate = Some(allocate);
    let allowed = &blueprint.settings.allowed;
    Callbacks::resolve(&instance, &mut *store, blueprint.module.abi, allowed).map_err(wasmtime::Error::msg)
}

/// Runs a root context's start-up: the callback that answered false, if one did.
fn start_root(running: &mut Running, id: u32, settings: &PluginSettings) -> wasmtime::Result<Option<&'static str>> {
    let Running { store, callbacks, .. } = running;
    if let Some(call) = &callbacks.context_create {
        call.call(&mut *store, (id, 0))?;
    }
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| wasmtime::Error::msg("configuration over 4 GiB"));
    store.data_mut().stage = Stage::Start;
    if let Some(call) = &callbacks.vm_start
        && call.call(&mut *store, (id, size(&settings.vm_configuration)?))? == 0
    {
        return Ok(Some("on_vm_start"));
    }
    store.data_mut().stage = Stage::Configure;
    if let Some(call) = &callbacks.configure
        && call.call(&mut *store, (id, size(&settings.configuration)?))? == 0
    {
        return Ok(Some("on_configure"));
    }
    Ok(None)
}

/// Says why a VM ended, ends what it had going, and tells its streams.
fn end(store: &Store<VmState>, error: &wasmtime::Error) {
    let state = store.data();
    let reason = reason(state, error);
    state.log(LogLevel::Error, &format!("the VM ends: {reason}"));
    for root in &state.roots {
        root.usage.ended(&reason);
        root.stop();
    }
    for context in state.streams.values() {
        if let Ok(mut stream) = context.stream.state.try_borrow_mut()
            && let Some(slot) = stream.slots.get_mut(context.slot)
        {
            slot.failed = true;
        }
        context.stream.wake();
    }
}

/// Why a guest did not return, in words for its author.
pub(crate) fn reason(state: &VmState, error: &wasmtime::Error) -> String {
    if let Some(exit) = &state.exit {
        return exit.clone();
    }
    if let Some(bound) = state.deadline.overrun() {
        return format!("a callback computed for more than {} ms", bound.as_millis());
    }
    let memory = state.grown.denied.map(|bytes| format!("; it had asked for {bytes} bytes of memory in vain"));
    format!("{error:#}{}", memory.unwrap_or_default()).replace('\n', " ")
}

fn of<T>(pair: &[Option<T>; 2], direction: Direction) -> Option<&T> {
    let [request, response] = pair;
    match direction {
        Direction::Request => request.as_ref(),
        Direction::Response => response.as_ref(),
    }
}
