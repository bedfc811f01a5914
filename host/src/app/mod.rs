//! The proxy as a whole: start, reload, drain, stop. Owns every thread.

mod control;
mod core;
mod fleet;
mod resolver;

use crate::Faults;
use crate::admin::ProxyStatus;
use crate::overload::Overload;
use crate::telemetry::{LogControl, LogWriter, Registry};
use crate::upstream::circuit_breakers::Resource;
use crate::wasm::{LogLevel, SharedState, WasmEngine};
use crate::worker::Setup;
use compiler::snapshot::Snapshot;
use control::Control;
use core::{Core, State};
use fleet::Fleet;
pub use resolver::Lookup;
use resolver::Resolver;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::Notify;

/// What a proxy is started with beside its snapshot.
#[derive(Clone, Default)]
pub struct Options {
    /// A folder for compiled modules, of this user alone; none: every start compiles.
    pub module_cache: Option<PathBuf>,
    /// Where the log lines of plugins go; none: the log of the process.
    pub guest_log: Option<GuestLog>,
    /// Where metrics are kept.
    pub registry: Registry,
    /// Writes access logs; none: one of the proxy's own.
    pub log_writer: Option<LogWriter>,
    /// Changes the levels of the process's log, for the admin server.
    pub log: Option<LogControl>,
    /// Tells how much memory is in use; none: the system is asked.
    pub memory_use: Option<MemoryUse>,
    /// Looks up names of endpoints; none: the system is asked.
    pub lookup: Option<Lookup>,
}

/// Tells the share of memory that is in use, given the snapshot's bound in bytes.
pub type MemoryUse = Arc<dyn Fn(Option<u64>) -> f64 + Send + Sync>;

/// Takes a plugin's log line: level, plugin, text.
pub type GuestLog = Arc<dyn Fn(LogLevel, &str, &str) + Send + Sync>;

/// A running proxy. Ends with this, at once; [`Proxy::drain`] first lets streams finish.
pub struct Proxy {
    // Ends before what it looks after.
    control: Control,
    core: Arc<Core>,
}

impl Proxy {
    /// Starts a proxy. It accepts connections when this returns.
    ///
    /// # Errors
    /// Everything that is wrong with the snapshot, or keeps it from being run.
    pub fn start(snapshot: Snapshot, options: Options) -> Result<Self, Faults> {
        let core = Arc::new(core(snapshot.workers, options)?);
        // Whoever asks while modules compile is told that the proxy is not ready.
        let control = Control::start(core.clone(), snapshot.admin)?;
        core.reload(snapshot)?;
        Ok(Self { control, core })
    }

    /// Whether a snapshot can be run: everything but listening is tried.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn validate(snapshot: Snapshot, options: Options) -> Result<(), Faults> {
        let core = core(Some(1), options)?;
        let generation = core.build(snapshot, None)?;
        core.fleet.prepare(&generation)
    }

    /// Serves by another snapshot: requests under way end with the old one, later ones are served by the new one, on
    /// connections that are open already as well. May take as long as modules take to compile and plugins to start.
    ///
    /// # Errors
    /// Everything that is wrong with it; then nothing has changed.
    pub fn reload(&self, snapshot: Snapshot) -> Result<(), Faults> {
        self.core.reload(snapshot)
    }

    /// Notes that a snapshot could not even be read: as if it had been refused.
    pub fn refuse(&self, faults: Faults) -> Faults {
        self.core.state().refused = Some(faults.clone());
        faults
    }

    /// Why the last snapshot was refused, if it was: what runs is an earlier one.
    pub fn refused(&self) -> Option<Faults> {
        self.core.state().refused.clone()
    }

    /// Reads certificates and keys again from where the snapshot says they are: new connections have the new ones.
    ///
    /// # Errors
    /// Those that cannot be used; what was used before goes on.
    pub fn reload_certificates(&self) -> Result<(), Faults> {
        self.core.reload_certificates()
    }

    /// Notes why certificates are not renewed, or, without faults, that they are.
    pub fn note_not_renewed(&self, faults: &Faults) {
        self.core.note_not_renewed(faults);
    }

    /// Opens the logs anew, under their names.
    pub fn reopen_logs(&self) {
        self.core.reopen_logs();
    }

    /// Every listener, and where it listens.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.core.listeners()
    }

    /// Where a listener listens.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.core.state().addresses.get(listener).map(|bound| bound.address)
    }

    /// Where the admin server listens, if it does.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.control.admin
    }

    /// Requests on their way to upstreams, those of plugins included.
    pub fn active_requests(&self) -> u32 {
        self.core.clusters().values().map(|cluster| cluster.breakers.current(Resource::Request)).sum()
    }

    /// Where metrics are.
    pub fn registry(&self) -> &Registry {
        &self.core.registry
    }

    /// Ready when the admin server was told to end the process.
    pub async fn quit_requested(&self) {
        self.core.quit.notified().await;
    }

    /// Accepts no more connections, and returns when those that are open have ended, after the snapshot's `drain` at
    /// the latest.
    ///
    /// # Errors
    /// Connections that would not end: they are cut off with the proxy.
    pub fn drain(&self) -> Result<(), Faults> {
        self.core.drain(false)
    }
}

/// What a proxy is made of, serving nothing yet. As many workers as there are CPUs unless it is said.
fn core(workers: Option<usize>, options: Options) -> Result<Core, Faults> {
    let Options { module_cache, guest_log, registry, log_writer, log, memory_use, lookup } = options;
    let lookup = lookup.unwrap_or_else(|| Arc::new(resolver::system));
    let engine = WasmEngine::new(module_cache).map_err(Faults::one)?;
    let log_writer = match log_writer {
        Some(writer) => writer,
        None => LogWriter::start(&registry).map_err(|error| Faults::one(format!("no thread for logs: {error}")))?,
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let shared = Arc::new(SharedState::default());
    let overload = Overload::new(&registry, memory_use);
    let setup = Setup {
        registry: registry.clone(),
        shared,
        guest_log,
        log_writer: log_writer.clone(),
        overload: overload.clone(),
        lookup: lookup.clone(),
    };
    Ok(Core {
        fleet: Fleet::start(workers.unwrap_or(cpus).max(1), &setup)?,
        stale_certificates: registry.gauge("outrigger_certificates_stale", &[]),
        modules: crate::generation::ModuleCache::new(engine),
        registry,
        log_writer,
        log,
        overload,
        resolver: Resolver::new(lookup),
        started: Instant::now(),
        changing: Mutex::new(()),
        state: Mutex::new(State::default()),
        draining: AtomicBool::new(false),
        quit: Notify::new(),
    })
}
