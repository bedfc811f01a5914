//! What a worker does for its guests, as a test says: a clock that tests move, recorded logs, scripted answers.

use bytes::Bytes;
use host::telemetry::Registry;
use host::wasm::{GrpcCall, GrpcEvent, HttpCall, HttpCallResponse, LocalFuture, LogLevel, QueueReady, Services};
use http_match::HeaderList;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// How a cluster answers what guests send to it.
#[derive(Clone, Debug)]
pub(crate) enum Answered {
    /// With these headers, body and trailers, after a time.
    With(Duration, Vec<(&'static str, &'static str)>, &'static str, Vec<(&'static str, &'static str)>),
    /// Never.
    Never,
}

/// Services that remember.
pub(crate) struct Recorded {
    began: Instant,
    random: Cell<u8>,
    pub(crate) level: Cell<LogLevel>,
    pub(crate) lines: RefCell<Vec<(LogLevel, String, String)>>,
    clusters: RefCell<HashMap<String, Answered>>,
    pub(crate) calls: RefCell<Vec<HttpCall>>,
    pub(crate) messages: Rc<RefCell<Vec<(Bytes, bool)>>>,
    in_flight: Rc<Cell<usize>>,
    registry: Registry,
    mailbox: UnboundedSender<QueueReady>,
    wake_ups: RefCell<UnboundedReceiver<QueueReady>>,
}

impl Recorded {
    pub(crate) fn new() -> Self {
        let (mailbox, wake_ups) = unbounded_channel();
        let headers = vec![(":status", "200"), ("x-from", "other")];
        let answer = Answered::With(Duration::from_millis(50), headers, "answer", vec![("x-end", "1")]);
        Self {
            began: Instant::now(),
            random: Cell::default(),
            level: Cell::new(LogLevel::Trace),
            lines: RefCell::default(),
            clusters: RefCell::new(HashMap::from([
                ("other".to_owned(), answer),
                ("grpc".to_owned(), Answered::Never),
                ("broken".to_owned(), Answered::Never),
            ])),
            calls: RefCell::default(),
            messages: Rc::default(),
            in_flight: Rc::default(),
            registry: Registry::default(),
            mailbox,
            wake_ups: RefCell::new(wake_ups),
        }
    }

    /// How a cluster answers from now on.
    pub(crate) fn answer(&self, cluster: &str, answered: Answered) {
        self.clusters.borrow_mut().insert(cluster.to_owned(), answered);
    }

    /// Calls that have neither been answered nor cancelled.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// A queue's wake-up that has been posted.
    pub(crate) fn take_wake_up(&self) -> Option<QueueReady> {
        self.wake_ups.borrow_mut().try_recv().ok()
    }

    /// Whether a line was logged that has this text in it.
    pub(crate) fn said(&self, text: &str) -> bool {
        self.lines.borrow().iter().any(|(_, _, line)| line.contains(text))
    }

    /// Takes the lines that were logged.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        self.lines.take().into_iter().map(|(_, _, line)| line).collect()
    }
}

fn grpc_events(cluster: &str) -> Vec<GrpcEvent> {
    let list = |pairs: &[(&str, &str)]| -> HeaderList { pairs.iter().copied().collect() };
    match cluster {
        "grpc" => vec![
            GrpcEvent::InitialMetadata(list(&[("content-type", "application/grpc")])),
            GrpcEvent::Message(Bytes::from_static(&[1, 2])),
            GrpcEvent::TrailingMetadata(list(&[("grpc-status", "0")])),
            GrpcEvent::Closed(0, Vec::new()),
        ],
        "broken" => vec![GrpcEvent::Closed(5, b"not found".to_vec())],
        _ => Vec::new(),
    }
}

/// Counts a call for as long as it is kept.
struct InFlight(Rc<Cell<usize>>);

impl InFlight {
    fn begin(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Services for Recorded {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.began.elapsed()
    }

    fn monotonic(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1_000_000_000)
    }

    fn random(&self, out: &mut [u8]) {
        for byte in out {
            self.random.set(self.random.get().wrapping_add(1));
            *byte = self.random.get();
        }
    }

    fn log_level(&self) -> LogLevel {
        self.level.get()
    }

    fn log(&self, level: LogLevel, plugin: &str, line: &str) {
        self.lines.borrow_mut().push((level, plugin.to_owned(), line.to_owned()));
    }

    fn has_cluster(&self, name: &str) -> bool {
        self.clusters.borrow().contains_key(name)
    }

    fn http_call(&self, call: HttpCall) -> LocalFuture<HttpCallResponse> {
        let answered = self.clusters.borrow().get(&call.cluster).cloned().unwrap_or(Answered::Never);
        self.calls.borrow_mut().push(call);
        let guard = InFlight::begin(&self.in_flight);
        Box::pin(async move {
            let _guard = guard;
            let Answered::With(time, headers, body, trailers) = answered else { return std::future::pending().await };
            tokio::time::sleep(time).await;
            let list = |pairs: Vec<(&'static str, &'static str)>| -> HeaderList { pairs.into_iter().collect() };
            HttpCallResponse { headers: list(headers), body: Bytes::from(body), trailers: list(trailers) }
        })
    }

    /// The cluster `grpc` answers with two bytes, `broken` says that there is no such thing, others say nothing.
    fn grpc_call(
        &self,
        call: GrpcCall,
        mut messages: UnboundedReceiver<(Bytes, bool)>,
    ) -> UnboundedReceiver<GrpcEvent> {
        let (events, told) = unbounded_channel();
        let sent = self.messages.clone();
        let guard = InFlight::begin(&self.in_flight);
        tokio::task::spawn_local(async move {
            let _guard = guard;
            for event in grpc_events(&call.cluster) {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if events.send(event).is_err() {
                    return;
                }
            }
            while let Some(message) = messages.recv().await {
                sent.borrow_mut().push(message);
            }
            events.closed().await;
        });
        told
    }

    fn metrics(&self) -> &Registry {
        &self.registry
    }

    fn mailbox(&self) -> UnboundedSender<QueueReady> {
        self.mailbox.clone()
    }
}
