//! The proxy as a whole: start, reload, drain, stop. Owns every thread.

use crate::Faults;
use crate::downstream::bind;
use crate::generation::{Generation, ModuleCache, Workshop};
use crate::telemetry::{LogWriter, Registry};
use crate::upstream::circuit_breakers::Resource;
use crate::wasm::{LogLevel, SharedState, WasmEngine};
use crate::worker::{self, Command, Setup, Sockets, WorkerHandle};
use compiler::snapshot::Snapshot;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

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
}

/// Takes a plugin's log line: level, plugin, text.
pub type GuestLog = Arc<dyn Fn(LogLevel, &str, &str) + Send + Sync>;

/// A running proxy. Ends with this, at once; [`Proxy::drain`] first lets streams finish.
pub struct Proxy {
    workers: Vec<WorkerHandle>,
    modules: ModuleCache,
    registry: Registry,
    epoch: Instant,
    state: Mutex<State>,
}

struct State {
    generation: Option<Arc<Generation>>,
    /// Of each listener, as bound: port 0 has become a number.
    addresses: HashMap<String, Bound>,
    refused: Option<Faults>,
}

/// Where a listener listens.
struct Bound {
    wanted: SocketAddr,
    address: SocketAddr,
}

/// The sockets of a change: for each worker those of the listeners that are new, and where everything is then.
struct Binding {
    sockets: Vec<Sockets>,
    addresses: HashMap<String, Bound>,
}

impl Proxy {
    /// Starts a proxy. It accepts connections when this returns.
    ///
    /// # Errors
    /// Everything that is wrong with the snapshot, or keeps it from being run.
    pub fn start(snapshot: Snapshot, options: Options) -> Result<Self, Faults> {
        let proxy = Self::idle(snapshot.workers, options)?;
        proxy.reload(snapshot)?;
        Ok(proxy)
    }

    /// A proxy that serves nothing.
    fn idle(workers: Option<usize>, options: Options) -> Result<Self, Faults> {
        let engine = WasmEngine::new(options.module_cache).map_err(Faults::one)?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let count = workers.unwrap_or(cpus).max(1);
        let Options { guest_log, registry, .. } = options;
        let log_writer = match options.log_writer {
            Some(writer) => writer,
            None => LogWriter::start(&registry).map_err(|error| Faults::one(format!("no thread for logs: {error}")))?,
        };
        let shared = Arc::new(SharedState::default());
        let setup = Setup { registry: registry.clone(), shared, guest_log, log_writer };
        let workers: Result<Vec<_>, _> = (0..count).map(|number| worker::spawn(number, setup.clone())).collect();
        let workers = workers.map_err(|error| Faults::one(format!("no thread for a worker: {error}")))?;
        let state = Mutex::new(State { generation: None, addresses: HashMap::new(), refused: None });
        let modules = ModuleCache::new(engine);
        Ok(Self { workers, modules, registry, epoch: Instant::now(), state })
    }

    /// Serves by another snapshot: requests under way end with the old one, later ones are served by the new one, on
    /// connections that are open already as well. May take as long as modules take to compile and plugins to start.
    ///
    /// # Errors
    /// Everything that is wrong with it; then nothing has changed.
    pub fn reload(&self, snapshot: Snapshot) -> Result<(), Faults> {
        let mut state = self.state();
        let changed = self.change(snapshot, &mut state);
        state.refused = changed.as_ref().err().cloned();
        changed
    }

    /// Notes that a snapshot could not even be read: as if it had been refused.
    pub fn refuse(&self, faults: Faults) -> Faults {
        self.state().refused = Some(faults.clone());
        faults
    }

    /// Why the last snapshot was refused, if it was: what runs is an earlier one.
    pub fn refused(&self) -> Option<Faults> {
        self.state().refused.clone()
    }

    fn change(&self, snapshot: Snapshot, state: &mut State) -> Result<(), Faults> {
        let before = state.generation.clone();
        let workshop =
            Workshop { modules: &self.modules, registry: &self.registry, epoch: self.epoch, before: before.as_deref() };
        let generation = Arc::new(Generation::new(snapshot, &workshop)?);
        let binding = self.bind(state, &generation)?;
        self.prepare(&generation)?;
        self.commit(binding, state)?;
        state.generation = Some(generation);
        Ok(())
    }

    /// Whether a snapshot can be run: everything but listening is tried.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn validate(snapshot: Snapshot, options: Options) -> Result<(), Faults> {
        let proxy = Self::idle(Some(1), options)?;
        let workshop =
            Workshop { modules: &proxy.modules, registry: &proxy.registry, epoch: proxy.epoch, before: None };
        let generation = Arc::new(Generation::new(snapshot, &workshop)?);
        proxy.prepare(&generation)
    }

    /// Every listener, and where it listens.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let state = self.state();
        let mut all: Vec<_> = state.addresses.iter().map(|(name, bound)| (name.clone(), bound.address)).collect();
        all.sort();
        all
    }

    /// Where a listener listens.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.state().addresses.get(listener).map(|bound| bound.address)
    }

    /// Requests on their way to upstreams, those of plugins included.
    pub fn active_requests(&self) -> u32 {
        let generation = self.state().generation.clone();
        let clusters = generation.iter().flat_map(|generation| generation.clusters.values());
        clusters.map(|cluster| cluster.breakers.current(Resource::Request)).sum()
    }

    /// Where metrics are.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Accepts no more connections, and returns when those that are open have ended, after the snapshot's `drain` at
    /// the latest.
    ///
    /// # Errors
    /// Connections that would not end: they are cut off with the proxy.
    pub fn drain(&self) -> Result<(), Faults> {
        let generation = self.state().generation.clone();
        let limit = generation.map_or(Duration::ZERO, |generation| generation.snapshot.drain.0);
        self.ask_all(|_, done| Command::Drain(limit, done))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic between the two fields leaves a state that the next reload replaces.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every worker makes it ready; when one cannot, all forget it.
    fn prepare(&self, generation: &Arc<Generation>) -> Result<(), Faults> {
        let prepared = self.ask_all(|_, done| Command::Prepare(generation.clone(), done));
        if prepared.is_err() {
            // Forgetting cannot fail.
            let _ = self.ask_all(|_, done| Command::Abort(done));
        }
        prepared
    }

    fn commit(&self, binding: Binding, state: &mut State) -> Result<(), Faults> {
        let sockets = Mutex::new(binding.sockets);
        self.ask_all(|number, done| {
            let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            Command::Commit(sockets.get_mut(number).map(std::mem::take).unwrap_or_default(), done)
        })?;
        state.addresses = binding.addresses;
        Ok(())
    }

    /// Binds the listeners whose address is new, once for every worker.
    fn bind(&self, state: &State, generation: &Generation) -> Result<Binding, Faults> {
        let mut faults = Faults::default();
        let mut binding =
            Binding { sockets: self.workers.iter().map(|_| Sockets::new()).collect(), addresses: HashMap::new() };
        for listener in &generation.listeners {
            let (name, wanted) = (&listener.name, listener.address);
            if let Some(known) = state.addresses.get(name).filter(|known| known.wanted == wanted) {
                binding.addresses.insert(name.clone(), Bound { wanted, address: known.address });
                continue;
            }
            let ours = state.addresses.values().any(|bound| bound.wanted == wanted);
            match bind_all(wanted, self.workers.len(), ours) {
                Ok((address, sockets)) => {
                    binding.addresses.insert(name.clone(), Bound { wanted, address });
                    let each = binding.sockets.iter_mut().zip(sockets);
                    each.for_each(|(of_worker, socket)| drop(of_worker.insert(name.clone(), socket)));
                }
                Err(error) => faults.push(format!("listener {name} address: {wanted} cannot be listened on: {error}")),
            }
        }
        faults.or(binding)
    }

    /// Tells every worker something, and waits for all their answers.
    fn ask_all(&self, command: impl Fn(usize, mpsc::Sender<Result<(), Faults>>) -> Command) -> Result<(), Faults> {
        let answers = self.workers.iter().enumerate().map(|(number, worker)| {
            let (done, answer) = mpsc::channel();
            worker.tell(command(number, done));
            answer
        });
        let answers: Vec<_> = answers.collect();
        let mut faults = Faults::default();
        for answer in answers {
            match answer.recv() {
                Ok(Ok(())) => {}
                Ok(Err(found)) => faults.append(found),
                Err(_) => faults.push("a worker has ended"),
            }
        }
        faults.or(())
    }
}

/// So many sockets at one address. Port 0: the port that the system chooses for the first. `ours`: another listener of
/// this proxy, which goes, is there still.
fn bind_all(wanted: SocketAddr, count: usize, ours: bool) -> std::io::Result<(SocketAddr, Vec<TcpListener>)> {
    if !ours {
        // Sockets that share a port would share it with any process: half of the connections would go elsewhere.
        TcpListener::bind(wanted)?;
    }
    let first = bind(wanted)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(bind(address)?);
    }
    Ok((address, sockets))
}
