//! The workers of a proxy, and the sockets they listen on.

use crate::Faults;
use crate::admin::VmReport;
use crate::downstream::bind;
use crate::generation::Generation;
use crate::worker::{self, Command, Setup, Sockets, WorkerHandle};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// Every worker. They end with this, connections and all.
pub(super) struct Fleet {
    workers: Vec<WorkerHandle>,
}

/// Where a listener listens.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    wanted: SocketAddr,
    /// Port 0 has become a number.
    pub(super) address: SocketAddr,
}

/// Where every listener listens, by its name.
pub(super) type Addresses = HashMap<String, Bound>;

/// The sockets of a change: for each worker those of the listeners that are new, and where everything is then.
pub(super) struct Binding {
    sockets: Vec<Sockets>,
    pub(super) addresses: Addresses,
}

impl Fleet {
    /// Starts so many workers.
    pub(super) fn start(count: usize, setup: &Setup) -> Result<Self, Faults> {
        let workers: Result<Vec<_>, _> = (0..count).map(|number| worker::spawn(number, setup.clone())).collect();
        let workers = workers.map_err(|error| Faults::one(format!("no thread for a worker: {error}")))?;
        Ok(Self { workers })
    }

    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Every worker makes a generation ready; when one cannot, all forget it.
    pub(super) fn prepare(&self, generation: &Arc<Generation>) -> Result<(), Faults> {
        let prepared = self.tell(|_, done| Command::Prepare(generation.clone(), done));
        if prepared.is_err() {
            // Forgetting cannot fail.
            let _ = self.tell(|_, done| Command::Abort(done));
        }
        prepared
    }

    /// Every worker serves by the generation that it has made ready.
    pub(super) fn commit(&self, sockets: Vec<Sockets>) -> Result<(), Faults> {
        let sockets = Mutex::new(sockets);
        self.tell(|number, done| {
            let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            Command::Commit(sockets.get_mut(number).map(std::mem::take).unwrap_or_default(), done)
        })
    }

    /// No worker accepts more; returns when the connections that are open have ended, or the time is over.
    pub(super) fn drain(&self, inbound_only: bool, limit: Duration) -> Result<(), Faults> {
        self.tell(|_, done| Command::Drain { inbound_only, limit, done })
    }

    /// As [`Self::drain`], without waiting.
    pub(super) fn begin_drain(&self, inbound_only: bool) {
        self.workers.iter().for_each(|worker| {
            let (done, _) = mpsc::channel();
            worker.tell(Command::Drain { inbound_only, limit: Duration::MAX, done });
        });
    }

    /// What the plugins are doing.
    pub(super) fn report(&self) -> Vec<VmReport> {
        let answers = self.ask(|_, done| Command::Report(done));
        answers.into_iter().flatten().flatten().collect()
    }

    /// Binds the listeners whose address is new, once for every worker.
    pub(super) fn bind(&self, before: &Addresses, generation: &Generation) -> Result<Binding, Faults> {
        let mut faults = Faults::default();
        let mut binding =
            Binding { sockets: self.workers.iter().map(|_| Sockets::new()).collect(), addresses: Addresses::new() };
        for listener in &generation.listeners {
            let (name, wanted) = (&listener.name, listener.address);
            if let Some(known) = before.get(name).filter(|known| known.wanted == wanted) {
                binding.addresses.insert(name.clone(), *known);
                continue;
            }
            let ours = before.values().any(|bound| bound.wanted == wanted);
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

    /// Tells every worker something, and waits until all have done it.
    fn tell(&self, command: impl Fn(usize, mpsc::Sender<Result<(), Faults>>) -> Command) -> Result<(), Faults> {
        let mut faults = Faults::default();
        for answer in self.ask(command) {
            match answer {
                Some(Ok(())) => {}
                Some(Err(found)) => faults.append(found),
                None => faults.push("a worker has ended"),
            }
        }
        faults.or(())
    }

    /// Asks every worker something, all at once: their answers, `None` of one that has ended.
    fn ask<T>(&self, command: impl Fn(usize, mpsc::Sender<T>) -> Command) -> Vec<Option<T>> {
        let asked = self.workers.iter().enumerate().map(|(number, worker)| {
            let (done, answer) = mpsc::channel();
            worker.tell(command(number, done));
            answer
        });
        let asked: Vec<_> = asked.collect();
        asked.into_iter().map(|answer| answer.recv().ok()).collect()
    }
}

impl Binding {
    /// The sockets, for each worker its own.
    pub(super) fn take_sockets(&mut self) -> Vec<Sockets> {
        std::mem::take(&mut self.sockets)
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
