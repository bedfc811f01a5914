//! What a proxy is made of, shared by the threads that change it, show it and look after it.

use crate::Faults;
use crate::admin::{CertificateReport, ProxyStatus, Readiness, VmReport};
use crate::app::fleet::{Addresses, Fleet};
use crate::app::resolver::Resolver;
use crate::generation::{Generation, ModuleCache, Workshop};
use crate::overload::Overload;
use crate::telemetry::{Gauge, LogControl, LogWriter, Registry};
use crate::upstream::SharedClusters;
use compiler::snapshot::Snapshot;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What a proxy is made of.
pub(super) struct Core {
    pub(super) fleet: Fleet,
    pub(super) modules: ModuleCache,
    pub(super) registry: Registry,
    pub(super) log_writer: LogWriter,
    pub(super) log: Option<LogControl>,
    pub(super) overload: Arc<Overload>,
    pub(super) stale_certificates: Gauge,
    pub(super) resolver: Resolver,
    pub(super) started: Instant,
    /// One change at a time.
    pub(super) changing: Mutex<()>,
    /// Never held while something takes long.
    pub(super) state: Mutex<State>,
    pub(super) draining: AtomicBool,
    /// The admin server was told to end the process.
    pub(super) quit: Notify,
}

/// What has been decided last.
#[derive(Default)]
pub(super) struct State {
    /// As it was written: names of endpoints not looked up.
    pub(super) written: Option<Arc<Snapshot>>,
    pub(super) generation: Option<Arc<Generation>>,
    pub(super) addresses: Addresses,
    pub(super) refused: Option<Faults>,
    /// Why certificates are older than their files.
    pub(super) stale_certificates: Faults,
    /// Why there will be none that are newer.
    pub(super) not_renewed: Faults,
}

impl Core {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Each field is replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn generation(&self) -> Option<Arc<Generation>> {
        self.state().generation.clone()
    }

    /// Makes a snapshot ready to run.
    pub(super) fn build(&self, snapshot: Snapshot, before: Option<&Generation>) -> Result<Arc<Generation>, Faults> {
        let workshop = Workshop { modules: &self.modules, registry: &self.registry, epoch: self.started, before };
        Generation::new(snapshot, &workshop).map(Arc::new)
    }

    /// Serves by another snapshot.
    pub(super) fn reload(&self, snapshot: Snapshot) -> Result<(), Faults> {
        self.resolver.learn(&snapshot);
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.change(self.resolver.resolve(&snapshot));
        if changed.is_ok() {
            self.state().written = Some(Arc::new(snapshot));
        }
        self.state().refused = changed.as_ref().err().cloned();
        // Of what the snapshot before had, and this one has not.
        self.registry.drop_unused();
        changed
    }

    /// Looks up the names whose time has come, and serves by what they stand for now. May take seconds.
    pub(super) fn refresh_names(&self, now: Instant) {
        let Some(written) = self.state().written.clone() else { return };
        if !self.resolver.refresh(&written, now) {
            return;
        }
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever was loaded meanwhile was resolved with what is known now.
        let is_current = self.state().written.as_ref().is_some_and(|current| Arc::ptr_eq(current, &written));
        if let Some(Err(faults)) = is_current.then(|| self.change(self.resolver.resolve(&written))) {
            tracing::error!(%faults, "new addresses of endpoints cannot be used; what was used before goes on");
        }
    }

    fn change(&self, snapshot: Snapshot) -> Result<(), Faults> {
        let before = self.generation();
        let generation = self.build(snapshot, before.as_deref())?;
        if let Some(before) = &before {
            keeps(&before.snapshot, &generation.snapshot)?;
        }
        let addresses = self.state().addresses.clone();
        let mut binding = self.fleet.bind(&addresses, &generation)?;
        self.fleet.prepare(&generation)?;
        self.fleet.commit(binding.take_sockets())?;
        self.overload.configure(&generation.snapshot.overload);
        let mut state = self.state();
        state.addresses = binding.addresses;
        state.generation = Some(generation);
        Ok(())
    }

    /// Reads certificates and keys again from where the snapshot says they are.
    pub(super) fn reload_certificates(&self) -> Result<(), Faults> {
        let reloaded = self.read_certificates();
        if let Err(faults) = &reloaded {
            tracing::error!(%faults, "certificates cannot be used; those before go on");
        }
        let mut state = self.state();
        state.stale_certificates = reloaded.as_ref().err().cloned().unwrap_or_default();
        self.measure_stale(&state);
        reloaded
    }

    pub(super) fn note_not_renewed(&self, faults: &Faults) {
        let mut state = self.state();
        state.not_renewed = faults.clone();
        self.measure_stale(&state);
    }

    fn measure_stale(&self, state: &State) {
        let fresh = state.stale_certificates.is_empty() && state.not_renewed.is_empty();
        self.stale_certificates.set(u64::from(!fresh));
    }

    fn read_certificates(&self) -> Result<(), Faults> {
        let mut faults = Faults::default();
        let Some(generation) = self.generation() else { return Ok(()) };
        for listener in &generation.listeners {
            listener.chains.reload_certificates().err().into_iter().flatten().for_each(|fault| faults.push(fault));
        }
        for (name, cluster) in generation.clusters.iter() {
            let found = cluster.reload_certificates().err().into_iter().flatten();
            faults.extend(&format!("cluster {name}"), found);
        }
        faults.or(())
    }

    /// Accepts no more, and waits until connections have ended, as long as the snapshot allows.
    pub(super) fn drain(&self, inbound_only: bool) -> Result<(), Faults> {
        if !inbound_only {
            self.draining.store(true, Ordering::Relaxed);
        }
        let limit = self.generation().map_or(Duration::ZERO, |generation| generation.snapshot.drain.0);
        self.fleet.drain(inbound_only, limit)
    }
}

/// What only a start can change.
fn keeps(before: &Snapshot, after: &Snapshot) -> Result<(), Faults> {
    let mut faults = Faults::default();
    if before.admin != after.admin {
        faults.push("admin: where the admin server listens changes with a restart only");
    }
    if before.workers != after.workers {
        faults.push("workers: their number changes with a restart only");
    }
    faults.or(())
}

impl ProxyStatus for Core {
    fn readiness(&self) -> Readiness {
        match self.state().generation {
            _ if self.draining.load(Ordering::Relaxed) => Readiness::Draining,
            Some(_) => Readiness::Live,
            None => Readiness::Initializing("no configuration yet".to_owned()),
        }
    }

    fn refused(&self) -> Option<String> {
        self.state().refused.as_ref().map(ToString::to_string)
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.generation().map(|generation| generation.snapshot.clone())
    }

    fn clusters(&self) -> Arc<SharedClusters> {
        self.generation().map(|generation| generation.clusters.clone()).unwrap_or_default()
    }

    fn listeners(&self) -> Vec<(String, SocketAddr)> {
        let state = self.state();
        let mut all: Vec<_> = state.addresses.iter().map(|(name, bound)| (name.clone(), bound.address)).collect();
        all.sort();
        all
    }

    fn vms(&self) -> Vec<VmReport> {
        self.fleet.report()
    }

    fn certificates(&self) -> Vec<CertificateReport> {
        let mut all: Vec<CertificateReport> = Vec::new();
        for listener in self.generation().iter().flat_map(|generation| &generation.listeners) {
            for report in listener.chains.certificates() {
                if !all.contains(&report) {
                    all.push(report);
                }
            }
        }
        all
    }

    fn stale_certificates(&self) -> Option<String> {
        let state = self.state();
        let mut faults = state.stale_certificates.clone();
        faults.append(state.not_renewed.clone());
        (!faults.is_empty()).then(|| faults.to_string())
    }

    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn log(&self) -> Option<&LogControl> {
        self.log.as_ref()
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn workers(&self) -> usize {
        self.fleet.len()
    }

    fn reopen_logs(&self) {
        self.log_writer.reopen();
    }

    fn drain_listeners(&self, inbound_only: bool) {
        if !inbound_only {
            self.draining.store(true, Ordering::Relaxed);
        }
        self.fleet.begin_drain(inbound_only);
    }

    fn quit(&self) {
        self.quit.notify_one();
    }
}
