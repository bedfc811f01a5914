//! TEMP
use crate::telemetry::Registry;
use crate::upstream::ClusterSet;
use crate::wasm::*;
use crate::worker::Worker;
use bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::*;
use tokio::sync::mpsc::*;
pub(crate) struct WorkerServices {
    clusters: RefCell<Rc<ClusterSet>>,
    worker: Rc<Worker>,
    registry: Registry,
    mailbox: UnboundedSender<QueueReady>,
    guest_log: Option<crate::app::GuestLog>,
    start: Instant,
}
impl WorkerServices {
    pub(crate) fn new(
        worker: Rc<Worker>,
        registry: Registry,
        mailbox: UnboundedSender<QueueReady>,
        guest_log: Option<crate::app::GuestLog>,
    ) -> Rc<Self> {
        Rc::new(Self { clusters: RefCell::default(), worker, registry, mailbox, guest_log, start: Instant::now() })
    }
    pub(crate) fn set_clusters(&self, c: Rc<ClusterSet>) -> Rc<ClusterSet> {
        self.clusters.replace(c)
    }
}
impl Services for WorkerServices {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
    fn monotonic(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64 + 1
    }
    fn random(&self, out: &mut [u8]) {
        out.iter_mut().for_each(|b| *b = self.worker.draw() as u8)
    }
    fn log_level(&self) -> LogLevel {
        LogLevel::Info
    }
    fn log(&self, level: LogLevel, plugin: &str, line: &str) {
        match &self.guest_log {
            Some(log) => log(level, plugin, line),
            None => eprintln!("{level:?} {plugin} {line}"),
        }
    }
    fn has_cluster(&self, name: &str) -> bool {
        self.clusters.borrow().contains_key(name)
    }
    fn http_call(&self, _: HttpCall) -> LocalFuture<HttpCallResponse> {
        Box::pin(async { HttpCallResponse::default() })
    }
    fn grpc_call(&self, _: GrpcCall, _: UnboundedReceiver<(Bytes, bool)>) -> UnboundedReceiver<GrpcEvent> {
        unbounded_channel().1
    }
    fn metrics(&self) -> &Registry {
        &self.registry
    }
    fn mailbox(&self) -> UnboundedSender<QueueReady> {
        self.mailbox.clone()
    }
}
