//! What a worker does for the guests on it: time, chance, logs, and the calls that they begin by themselves.

mod grpc_call;
mod grpc_frames;
mod http_call;
mod outgoing;

use crate::app::GuestLog;
use crate::telemetry::{self, Registry};
use crate::upstream::{Cluster, ClusterSet};
use crate::wasm::{GrpcCall, GrpcEvent, HttpCall, HttpCallResponse, LocalFuture, LogLevel, QueueReady, Services};
use crate::worker::Worker;
use bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Instant, SystemTime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The services of one worker. They outlive snapshots: a plugin that is kept calls the clusters of the newest.
pub(crate) struct WorkerServices {
    worker: Rc<Worker>,
    clusters: RefCell<Rc<ClusterSet>>,
    registry: Registry,
    mailbox: UnboundedSender<QueueReady>,
    guest_log: Option<GuestLog>,
    started: Instant,
}

impl WorkerServices {
    /// Services without a cluster yet. Plugins can use them from their first callback on. `guest_log` gets what they
    /// say, from INFO on, in place of the process's log.
    pub(crate) fn new(
        worker: Rc<Worker>,
        registry: Registry,
        mailbox: UnboundedSender<QueueReady>,
        guest_log: Option<GuestLog>,
    ) -> Rc<Self> {
        let clusters = RefCell::default();
        Rc::new(Self { worker, clusters, registry, mailbox, guest_log, started: Instant::now() })
    }

    /// Calls go to these clusters from now on; those under way go on. Returns those before.
    pub(crate) fn set_clusters(&self, clusters: Rc<ClusterSet>) -> Rc<ClusterSet> {
        self.clusters.replace(clusters)
    }

    fn cluster(&self, name: &str) -> Option<Rc<Cluster>> {
        self.clusters.borrow().get(name).cloned()
    }
}

impl Services for WorkerServices {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Of the operating system: guests make keys and identifiers of it.
    fn random(&self, out: &mut [u8]) {
        if getrandom::fill(out).is_err() {
            // A guest cannot be told that there is no chance to be had.
            out.chunks_mut(8).for_each(|chunk| {
                let draw = self.worker.draw().to_le_bytes();
                chunk.iter_mut().zip(draw).for_each(|(byte, drawn)| *byte = drawn);
            });
        }
    }

    fn log_level(&self) -> LogLevel {
        if self.guest_log.is_some() { LogLevel::Info } else { telemetry::guest_log_level() }
    }

    fn log(&self, level: LogLevel, plugin: &str, line: &str) {
        match &self.guest_log {
            Some(log) => log(level, plugin, line),
            None => telemetry::log_guest(level, plugin, line),
        }
    }

    fn has_cluster(&self, name: &str) -> bool {
        self.clusters.borrow().contains_key(name)
    }

    fn http_call(&self, call: HttpCall) -> LocalFuture<HttpCallResponse> {
        let (worker, cluster) = (self.worker.clone(), self.cluster(&call.cluster));
        Box::pin(http_call::serve(worker, cluster, call))
    }

    fn grpc_call(&self, call: GrpcCall, messages: UnboundedReceiver<(Bytes, bool)>) -> UnboundedReceiver<GrpcEvent> {
        let (events, told) = unbounded_channel();
        let (worker, cluster) = (self.worker.clone(), self.cluster(&call.cluster));
        tokio::task::spawn_local(grpc_call::serve(worker, cluster, call, messages, events));
        told
    }

    fn metrics(&self) -> &Registry {
        &self.registry
    }

    fn mailbox(&self) -> UnboundedSender<QueueReady> {
        self.mailbox.clone()
    }
}

#[cfg(test)]
mod tests;
