//! What hostcalls reach: the state of one VM, with the stream that is being served.

use crate::wasm::abi::status::{AbiVersion, Map};
use crate::wasm::deadline::Deadline;
use crate::wasm::limits::Limits;
use crate::wasm::plugin::PluginSettings;
use crate::wasm::root_context::{LogBudget, Metric, RootContext};
use crate::wasm::services::{HttpCallResponse, LogLevel, Services};
use crate::wasm::shared_state::SharedState;
use crate::wasm::stream_context::{Access, Slot, Stream, StreamState};
use crate::wasm::vm::Vm;
use bytes::Bytes;
use http_match::HeaderList;
use std::collections::{HashMap, HashSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use wasmtime::{Memory, ResourceLimiter, TypedFunc};

/// What is going on in a VM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// `_initialize`, `main` or `_start`: only logs and the system interface may be called.
    Initialize,
    /// `on_vm_start`.
    Start,
    /// `on_configure`.
    Configure,
    /// Everything after.
    Running,
}

/// What an answer to a guest's own call brought; there while the callback for it runs.
pub(crate) enum Received {
    Http(HttpCallResponse),
    GrpcMetadata(Map, HeaderList),
    GrpcMessage(Bytes),
}

/// A stream context: which stream, and which place in its chain.
#[derive(Clone)]
pub(crate) struct StreamContext {
    pub(crate) stream: Rc<Stream>,
    pub(crate) slot: usize,
    pub(crate) root: u32,
}

/// The state behind the hostcalls of one VM.
pub(crate) struct VmState {
    pub(crate) memory: Option<Memory>,
    /// Not there before the VM has started, and while it runs.
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    pub(crate) abi: AbiVersion,
    pub(crate) limits: Limits,
    pub(crate) grown: Grown,
    pub(crate) stage: Stage,
    pub(crate) deadline: Deadline,
    pub(crate) streams: HashMap<u32, StreamContext, rustc_hash::FxBuildHasher>,
    pub(crate) roots: Vec<Rc<RootContext>>,
    /// The effective context.
    pub(crate) current: u32,
    pub(crate) stream: Option<StreamContext>,
    pub(crate) root: Option<Rc<RootContext>>,
    pub(crate) received: Option<Received>,
    /// Metrics by id: classes in the two low bits.
    pub(crate) metrics: [Vec<Metric>; 3],
    /// Calls begun so far, by class.
    pub(crate) begun: [u32; 3],
    pub(crate) settings: Arc<PluginSettings>,
    pub(crate) services: Rc<dyn Services>,
    pub(crate) shared: Arc<SharedState>,
    pub(crate) number: u64,
    pub(crate) vm: Weak<Vm>,
    pub(crate) declared_properties: HashSet<String>,
    /// For lines of no root context: before there is one.
    pub(crate) early_log: LogBudget,
    /// Why the guest ended itself, where it said so.
    pub(crate) exit: Option<String>,
}

/// Tables of a VM, and elements in all of them together.
const MAX_TABLES: usize = 16;
const MAX_ELEMENTS: usize = 100_000;

/// The memory a guest has, and has asked for in vain.
pub(crate) struct Grown {
    limit: usize,
    limit_in_all: usize,
    pub(crate) bytes: usize,
    /// What all VMs of the plugin have together, on this worker.
    in_all: Arc<AtomicUsize>,
    elements: usize,
    pub(crate) denied: Option<usize>,
}

impl Grown {
    pub(crate) fn new(limits: &Limits, in_all: Arc<AtomicUsize>) -> Self {
        Self { limit: limits.memory, limit_in_all: limits.memory_in_all, bytes: 0, in_all, elements: 0, denied: None }
    }
}

impl ResourceLimiter for Grown {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // No other thread counts: the engine asks for an atomic.
        let in_all = self.in_all.load(Relaxed).saturating_sub(self.bytes).saturating_add(desired);
        let granted = desired <= self.limit && in_all <= self.limit_in_all;
        match granted {
            true => {
                self.bytes = desired;
                self.in_all.store(in_all, Relaxed);
            }
            false => self.denied = Some(desired),
        }
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_sub(current).saturating_add(desired);
        let granted = elements <= MAX_ELEMENTS;
        if granted {
            self.elements = elements;
        }
        Ok(granted)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        1
    }
}

impl Drop for Grown {
    fn drop(&mut self) {
        self.in_all.store(self.in_all.load(Relaxed).saturating_sub(self.bytes), Relaxed);
    }
}

impl VmState {
    /// Makes a context the effective one; whether there is such a context.
    pub(crate) fn select(&mut self, context: u32) -> bool {
        if let Some(entry) = self.streams.get(&context) {
            let root = entry.root;
            self.stream = Some(entry.clone());
            if self.root.as_ref().is_none_or(|current| current.id != root) {
                self.root = self.roots.iter().find(|candidate| candidate.id == root).cloned();
            }
        } else if let Some(root) = self.roots.iter().find(|root| root.id == context) {
            self.root = Some(root.clone());
            self.stream = None;
        } else {
            return false;
        }
        self.current = context;
        true
    }

    /// The stream of the effective context, with the place of its filter.
    pub(crate) fn on_stream<R>(&self, read: impl FnOnce(&mut StreamState, usize) -> R) -> Option<R> {
        let context = self.stream.as_ref()?;
        // The data path never holds the state while a guest runs.
        let mut state = context.stream.state.try_borrow_mut().ok()?;
        Some(read(&mut state, context.slot))
    }

    /// The filter's own part of the stream.
    pub(crate) fn on_slot<R>(&self, read: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.on_stream(|state, slot| state.slots.get_mut(slot).map(read)).flatten()
    }

    /// What the filter may edit now.
    pub(crate) fn access(&self) -> Access {
        self.on_slot(|slot| slot.access).unwrap_or_default()
    }

    /// Logs on behalf of the plugin whose context is effective.
    pub(crate) fn log(&self, level: LogLevel, line: &str) {
        let settings = self.root.as_ref().map_or(&self.settings, |root| &root.settings);
        self.services.log(level, &settings.name, line);
    }
}
