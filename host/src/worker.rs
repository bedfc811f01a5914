//! A worker: one thread with its own runtime, listeners, VMs and connections. What is made here never leaves it.

use crate::filter_chain::FilterChain;
use crate::http::http1::head::HeadLimits;
use crate::http::path::PathNormalization;
use crate::telemetry::{Active, HttpTelemetry, ResponseFlags};
use crate::upstream::ClusterSet;
use crate::upstream::retry::RetryPolicy;
use crate::wasm::Stream;
use compiler::snapshot::{self, Direction, HttpConnectionManager};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Duration;

/// How often idle streams and connections are looked for.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);

/// What everything on a worker can reach.
pub(crate) struct Worker {
    random: RefCell<fastrand::Rng>,
    tick: Rc<Cell<u64>>,
    watches: RefCell<Vec<Weak<Watched>>>,
    /// Streams under way.
    pub(crate) streams: Cell<usize>,
    /// No new requests are wanted on connections that are open.
    pub(crate) draining: Rc<Draining>,
}

/// Whether connections are to end when their streams do.
#[derive(Default)]
pub(crate) struct Draining {
    begun: Cell<bool>,
    pub(crate) changed: tokio::sync::Notify,
}

impl Draining {
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.get()
    }

    pub(crate) fn begin(&self) {
        self.begun.set(true);
        self.changed.notify_waiters();
    }
}

/// Something that must not be silent for too long.
pub(crate) struct Watch(Rc<Watched>);

struct Watched {
    now: Rc<Cell<u64>>,
    heard: Cell<u64>,
    /// In sweeps; 0: none.
    limit: Cell<u64>,
    expired: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Watch {
    /// Sets how long it may be silent, from now on. `None`: for ever.
    pub(crate) fn arm(&self, limit: Option<Duration>) {
        let sweeps = limit.map_or(0, |limit| limit.as_secs().saturating_add(u64::from(limit.subsec_nanos() > 0)));
        self.0.limit.set(sweeps);
        self.0.expired.set(false);
        self.heard();
    }

    /// Something has happened.
    pub(crate) fn heard(&self) {
        self.0.heard.set(self.0.now.get());
    }

    /// Whether it has been silent for too long, which is said once. Otherwise the task is woken when it has.
    pub(crate) fn expired(&self, waker: &Waker) -> bool {
        if self.0.expired.replace(false) {
            return true;
        }
        let kept = self.0.waker.take().filter(|kept| kept.will_wake(waker));
        self.0.waker.set(Some(kept.unwrap_or_else(|| waker.clone())));
        false
    }
}

impl Worker {
    pub(crate) fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            tick: Rc::default(),
            watches: RefCell::default(),
            streams: Cell::new(0),
            draining: Rc::default(),
        })
    }

    /// A random number, for choices that nobody must be kept from guessing.
    pub(crate) fn draw(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// Watches something new.
    pub(crate) fn watch(&self) -> Watch {
        let watched = Rc::new(Watched {
            now: self.tick.clone(),
            heard: Cell::new(self.tick.get()),
            limit: Cell::new(0),
            expired: Cell::new(false),
            waker: Cell::new(None),
        });
        self.watches.borrow_mut().push(Rc::downgrade(&watched));
        Watch(watched)
    }

    /// Wakes what has been silent for too long; called every [`SWEEP`].
    pub(crate) fn sweep(&self) {
        let now = self.tick.get() + 1;
        self.tick.set(now);
        self.watches.borrow_mut().retain(|watched| {
            let Some(watched) = watched.upgrade() else { return false };
            let limit = watched.limit.get();
            if limit > 0 && now.saturating_sub(watched.heard.get()) > limit && !watched.expired.replace(true) {
                watched.limit.set(0);
                if let Some(waker) = watched.waker.take() {
                    waker.wake();
                }
            }
            true
        });
    }
}

/// How HTTP connections of a filter chain are served on one worker, with one snapshot.
pub(crate) struct HttpManager {
    pub(crate) config: HttpConnectionManager,
    pub(crate) direction: Direction,
    pub(crate) chain: Rc<FilterChain>,
    pub(crate) clusters: Rc<ClusterSet>,
    pub(crate) limits: HeadLimits,
    /// What a message may have after filters have edited it: theirs is added.
    pub(crate) after_filters: HeadLimits,
    pub(crate) retry: Rc<RetryPolicy>,
    pub(crate) pause_limit: Duration,
    pub(crate) path_normalization: PathNormalization,
    telemetry: Option<HttpTelemetry>,
}

impl HttpManager {
    pub(crate) fn new(
        config: HttpConnectionManager,
        direction: Direction,
        chain: Rc<FilterChain>,
        clusters: Rc<ClusterSet>,
    ) -> Self {
        let limits = HeadLimits {
            bytes: config.limits.header_bytes,
            fields: config.limits.header_fields,
            target: config.limits.target,
        };
        let after_filters =
            HeadLimits { bytes: limits.bytes * 2, fields: limits.fields * 2, target: limits.target * 2 };
        let retry = Rc::new(match direction {
            Direction::Inbound => RetryPolicy::default_inbound(),
            Direction::Outbound | Direction::Unspecified => RetryPolicy::default_istio(),
        });
        let pauses = chain.plugins().iter().map(|plugin| plugin.settings().limits.pause);
        let pause_limit = pauses.min().unwrap_or(Duration::from_secs(15));
        let path_normalization = match config.path_normalization {
            snapshot::PathNormalization::None => PathNormalization::None,
            snapshot::PathNormalization::Base => PathNormalization::Base,
            snapshot::PathNormalization::MergeSlashes => PathNormalization::MergeSlashes,
            snapshot::PathNormalization::DecodeAndMergeSlashes => PathNormalization::DecodeAndMergeSlashes,
        };
        let telemetry = None;
        Self {
            config,
            direction,
            chain,
            clusters,
            limits,
            after_filters,
            retry,
            pause_limit,
            path_normalization,
            telemetry,
        }
    }

    /// The same, and what becomes of streams is told.
    pub(crate) fn with_telemetry(self, telemetry: HttpTelemetry) -> Self {
        Self { telemetry: Some(telemetry), ..self }
    }

    /// Counts a connection as long as what is returned lives.
    pub(crate) fn connection(&self, http2: bool) -> Option<Active> {
        self.telemetry.as_ref().map(|telemetry| telemetry.stats.connection(http2))
    }

    /// Counts a stream as long as what is returned lives.
    pub(crate) fn stream(&self, http2: bool) -> Option<Active> {
        self.telemetry.as_ref().map(|telemetry| telemetry.begin(http2))
    }

    pub(crate) fn is_http2(&self, stream: &Stream) -> bool {
        stream.state.borrow().protocol == "HTTP/2"
    }

    /// Counts a stream that has ended, and writes its line to the access log.
    pub(crate) fn log(&self, stream: &Stream, flags: ResponseFlags, duration: Duration) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.end(&stream.state.borrow(), flags, duration);
        }
    }
}
