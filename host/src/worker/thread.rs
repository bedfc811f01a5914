//! The thread of a worker, and what it is told.

use crate::Faults;
use crate::admin::VmReport;
use crate::app::{GuestLog, Lookup};
use crate::downstream::ActiveListener;
use crate::generation::Generation;
use crate::overload::Overload;
use crate::services::WorkerServices;
use crate::telemetry::{AccessLogs, LogWriter, Registry};
use crate::wasm::{SharedState, VmTable};
use crate::worker::generation::{Prepared, Workbench};
use crate::worker::{Worker, sweep_every};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// Sockets that listen, by the listener's name.
pub(crate) type Sockets = HashMap<String, std::net::TcpListener>;

/// What a worker is told. Each is answered, so that who tells it knows when it is done.
pub(crate) enum Command {
    /// Make a generation ready to serve.
    Prepare(Arc<Generation>, mpsc::Sender<Result<(), Faults>>),
    /// Serve by the generation that was made ready, with sockets for the listeners that are new.
    Commit(Sockets, mpsc::Sender<Result<(), Faults>>),
    /// Forget it.
    Abort(mpsc::Sender<Result<(), Faults>>),
    /// What its plugins are doing.
    Report(mpsc::Sender<Vec<VmReport>>),
    /// Accept no more; answered when no connection is left, or when the time is over.
    Drain {
        /// Only on listeners of inbound traffic.
        inbound_only: bool,
        limit: Duration,
        done: mpsc::Sender<Result<(), Faults>>,
    },
}

/// A running worker.
pub(crate) struct WorkerHandle {
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// Tells the worker something. One that has ended hears nothing, and whoever waits for its answer is told so.
    pub(crate) fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

/// The worker ends when its handle goes: at once, connections and all.
impl Drop for WorkerHandle {
    fn drop(&mut self) {
        let (closed, _) = unbounded_channel();
        drop(std::mem::replace(&mut self.commands, closed));
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// What every worker of a proxy is started with.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) registry: Registry,
    pub(crate) shared: Arc<SharedState>,
    pub(crate) guest_log: Option<GuestLog>,
    pub(crate) log_writer: LogWriter,
    pub(crate) overload: Arc<Overload>,
    pub(crate) lookup: Lookup,
}

/// Starts a worker.
///
/// # Errors
/// When the system has no thread left, or no room for a runtime.
pub(crate) fn spawn(number: usize, setup: Setup) -> std::io::Result<WorkerHandle> {
    let (commands, received) = unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        let local = LocalSet::new();
        local.block_on(&runtime, serve(number, setup, received));
    };
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(run)?;
    Ok(WorkerHandle { commands, thread: Some(thread) })
}

/// A worker's state between commands.
struct Running {
    number: usize,
    workbench: Workbench,
    serving: Option<Rc<Prepared>>,
    prepared: Option<Prepared>,
    listeners: HashMap<String, ActiveListener>,
}

async fn serve(number: usize, setup: Setup, mut commands: UnboundedReceiver<Command>) {
    let worker = Worker::under(fastrand::u64(..), setup.overload, &setup.registry, setup.lookup);
    let (mailbox, mut mail) = unbounded_channel();
    let vms = Rc::new(VmTable::default());
    let services = WorkerServices::new(worker.clone(), setup.registry.clone(), mailbox, setup.guest_log);
    let access_logs = RefCell::new(AccessLogs::new(setup.log_writer));
    let (shared, registry) = (setup.shared, setup.registry);
    let workbench = Workbench { worker, vms: vms.clone(), services, shared, registry, access_logs };
    let mut running = Running { number, workbench, serving: None, prepared: None, listeners: HashMap::new() };
    let mut sweep = every(sweep_every(None));
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => running.obey(command).await,
                None => return,
            },
            Some(ready) = mail.recv() => vms.queue_ready(ready),
            now = sweep.tick() => running.sweep(now),
        }
        let wanted = running.sweep_every();
        if wanted != sweep.period() {
            sweep = every(wanted);
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

impl Running {
    // An answer that nobody waits for any more is lost.
    async fn obey(&mut self, command: Command) {
        match command {
            Command::Prepare(generation, done) => drop(done.send(self.prepare(generation))),
            Command::Commit(sockets, done) => drop(done.send(self.commit(sockets))),
            Command::Abort(done) => drop(done.send(self.abort())),
            Command::Report(done) => drop(done.send(self.report())),
            Command::Drain { inbound_only, limit, done } => {
                let drained = self.listeners.extract_if(|_, listener| !inbound_only || listener.is_inbound());
                drained.for_each(|(_, listener)| listener.drain(&self.workbench.worker));
                let worker = self.workbench.worker.clone();
                tokio::task::spawn_local(async move {
                    let quiet = tokio::time::timeout(limit, worker.quiet()).await;
                    let left = worker.connections();
                    let outcome = quiet.map_err(|_| Faults::one(format!("{left} connections were cut off")));
                    drop(done.send(outcome));
                });
            }
        }
    }

    fn prepare(&mut self, generation: Arc<Generation>) -> Result<(), Faults> {
        let before = self.serving.as_deref();
        self.prepared = Some(Prepared::new(&self.workbench, generation, before)?);
        Ok(())
    }

    fn abort(&mut self) -> Result<(), Faults> {
        self.prepared = None;
        if let Some(serving) = &self.serving {
            self.workbench.services.set_clusters(serving.clusters.clone());
        }
        Ok(())
    }

    fn commit(&mut self, mut sockets: Sockets) -> Result<(), Faults> {
        let Some(mut prepared) = self.prepared.take() else { return Ok(()) };
        let mut faults = Faults::default();
        let mut before = std::mem::take(&mut self.listeners);
        let managers = prepared.take_managers();
        for (plan, managers) in prepared.generation.listeners.iter().zip(managers) {
            let name = &plan.name;
            if let Some(socket) = sockets.remove(name) {
                // One whose address has changed: the old socket drains below.
                match ActiveListener::start(&self.workbench, socket, plan.clone(), managers) {
                    Ok(listener) => drop(self.listeners.insert(name.clone(), listener)),
                    Err(error) => faults.push(format!("listener {name}: {error}")),
                }
            } else if let Some(listener) = before.remove(name) {
                listener.replace(plan.clone(), managers);
                self.listeners.insert(name.clone(), listener);
            }
        }
        before.into_values().for_each(|listener| listener.drain(&self.workbench.worker));
        self.serving = Some(Rc::new(prepared));
        faults.or(())
    }

    fn report(&self) -> Vec<VmReport> {
        let plugins = self.serving.iter().flat_map(|serving| serving.plugins());
        let reports = plugins.map(|plugin| {
            let ((running, memory, ended), usage) = (plugin.health(), plugin.usage());
            VmReport {
                plugin: plugin.settings().name.clone(),
                worker: self.number,
                running,
                memory,
                callbacks: usage.calls,
                callback_time: usage.time,
                ended,
                last_end: usage.last_end,
            }
        });
        reports.collect()
    }

    fn sweep_every(&self) -> Duration {
        sweep_every(self.serving.as_ref().and_then(|serving| serving.generation.shortest_timeout))
    }

    fn sweep(&self, now: Instant) {
        self.workbench.worker.sweep(now);
        if let Some(serving) = &self.serving {
            let now = now.into_std();
            serving.clusters.values().for_each(|cluster| cluster.close_idle(now));
        }
    }
}
