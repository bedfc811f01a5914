//! Every metric of the process by name and labels. Defining one takes a lock; counting does not.

use crate::telemetry::metrics::cells::{Arena, Cells};
use crate::telemetry::metrics::handles::{ActiveGauge, Counter, Gauge, GaugeCell, Histogram};
use crate::telemetry::metrics::histogram::HistogramValue;
use crossbeam_utils::CachePadded;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Definitions beyond twice what was in use the last time, and this many, are first cleared of what nobody holds.
const SWEEP_AFTER: usize = 1024;

/// Where metrics are defined and read. Clones are the same registry.
///
/// A metric lives as long as someone holds a handle of it, and some time longer: [`Registry::drop_unused`] forgets those
/// that nobody holds, and defining many does so by itself. So what describes a cluster goes with the last snapshot
/// that has the cluster, and however often configurations change, no more than about twice the metrics in use are kept.
#[derive(Clone)]
pub struct Registry(Arc<Mutex<Definitions>>);

struct Definitions {
    families: BTreeMap<(Arc<str>, Kind), Family>,
    arena: Arena,
    count: usize,
    sweep_at: usize,
}

/// Metrics that differ in their labels.
#[derive(Default)]
struct Family(HashMap<Arc<Labels>, Handle>);

/// Label names and values, in the order of names.
type Labels = [(Box<str>, Box<str>)];

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    Counter,
    Gauge,
    ActiveGauge,
    Histogram,
}

/// What the registry itself holds of a metric.
#[derive(Clone)]
enum Handle {
    Counter(Counter),
    Gauge(Gauge),
    ActiveGauge(ActiveGauge),
    Histogram(Histogram),
}

/// A metric as it was read.
#[derive(Clone, Debug)]
pub struct Sample {
    /// As defined.
    pub name: Arc<str>,
    /// In the order of names.
    pub labels: Arc<Labels>,
    /// What it had come to.
    pub value: Value,
    /// Whether anything was ever counted, set or recorded.
    pub used: bool,
}

/// What a metric has come to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// Of a counter.
    Counter(u64),
    /// Of a gauge.
    Gauge(u64),
    /// Of a histogram.
    Histogram(Box<HistogramValue>),
}

impl Default for Registry {
    /// For as many threads as there are CPUs, and as many again: a worker for each, and what else runs.
    fn default() -> Self {
        Self::for_threads(std::thread::available_parallelism().map_or(8, |cpus| cpus.get() * 2))
    }
}

impl Registry {
    /// For about so many threads that count.
    pub fn for_threads(threads: usize) -> Self {
        Self(Arc::new(Mutex::new(Definitions {
            families: BTreeMap::new(),
            arena: Arena::new(threads),
            count: 0,
            sweep_at: SWEEP_AFTER,
        })))
    }

    /// The counter of a name and labels. Names are those of Prometheus (`envoy_cluster_upstream_rq_total`), or
    /// `wasmcustom.` and what a guest says.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Counter {
        self.lock().counter(name, labels)
    }

    /// The gauge of a name and labels.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Gauge {
        self.lock().gauge(name, labels)
    }

    /// The gauge of a name and labels that says how many of something there are.
    pub fn active_gauge(&self, name: &str, labels: &[(&str, &str)]) -> ActiveGauge {
        self.lock().active_gauge(name, labels)
    }

    /// The histogram of a name and labels.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Histogram {
        self.lock().histogram(name, labels)
    }

    /// How many counters there are of a name.
    pub fn counters(&self, name: &str) -> usize {
        let key = (Arc::from(name), Kind::Counter);
        self.lock().families.get(&key).map_or(0, |family| family.0.len())
    }

    /// Forgets the metrics that nobody holds: how many they were.
    pub fn drop_unused(&self) -> usize {
        self.lock().drop_unused()
    }

    /// Reads every metric, in the order of names and labels.
    pub fn collect(&self) -> Vec<Sample> {
        let mut all: Vec<(Arc<str>, Arc<Labels>, Handle)> = {
            let definitions = self.lock();
            let families = definitions.families.iter();
            let all = families.flat_map(|((name, _), family)| {
                family.0.iter().map(|(labels, handle)| (name.clone(), labels.clone(), handle.clone()))
            });
            all.collect()
        };
        all.sort_by(|(name, labels, _), (other, others, _)| (name, labels).cmp(&(other, others)));
        all.into_iter()
            .map(|(name, labels, handle)| {
                let (value, used) = handle.read();
                Sample { name, labels, value, used }
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Definitions> {
        // What a panic interrupted is a definition that is there or not.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Definitions {
    fn counter(&mut self, name: &str, labels: &[(&str, &str)]) -> Counter {
        let cells = |arena: &mut Arena| Handle::Counter(Counter(Arc::new(arena.take(Counter::CELLS))));
        match self.define(Kind::Counter, name, labels, cells) {
            Handle::Counter(counter) => counter,
            // A key has its kind in it.
            _ => Counter(Arc::new(self.arena.take(Counter::CELLS))),
        }
    }

    fn gauge(&mut self, name: &str, labels: &[(&str, &str)]) -> Gauge {
        let new = || Gauge(Arc::new(CachePadded::new(GaugeCell::default())));
        match self.define(Kind::Gauge, name, labels, |_| Handle::Gauge(new())) {
            Handle::Gauge(gauge) => gauge,
            _ => new(),
        }
    }

    fn active_gauge(&mut self, name: &str, labels: &[(&str, &str)]) -> ActiveGauge {
        let cells = |arena: &mut Arena| Handle::ActiveGauge(ActiveGauge(Arc::new(arena.take(ActiveGauge::CELLS))));
        match self.define(Kind::ActiveGauge, name, labels, cells) {
            Handle::ActiveGauge(gauge) => gauge,
            _ => ActiveGauge(Arc::new(self.arena.take(ActiveGauge::CELLS))),
        }
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)]) -> Histogram {
        let cells = |arena: &mut Arena| Handle::Histogram(Histogram(Arc::new(arena.take(Histogram::CELLS))));
        match self.define(Kind::Histogram, name, labels, cells) {
            Handle::Histogram(histogram) => histogram,
            _ => Histogram(Arc::new(self.arena.take(Histogram::CELLS))),
        }
    }

    fn define(
        &mut self,
        kind: Kind,
        name: &str,
        labels: &[(&str, &str)],
        new: impl FnOnce(&mut Arena) -> Handle,
    ) -> Handle {
        let mut labels: Vec<(Box<str>, Box<str>)> =
            labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        labels.sort();
        let key = (Arc::from(name), kind);
        if let Some(known) = self.families.get(&key).and_then(|family| family.0.get(labels.as_slice())) {
            return known.clone();
        }
        if self.count >= self.sweep_at {
            self.drop_unused();
            self.sweep_at = self.count * 2 + SWEEP_AFTER;
        }
        let handle = new(&mut self.arena);
        self.count += 1;
        self.families.entry(key).or_default().0.insert(labels.into(), handle.clone());
        handle
    }

    fn drop_unused(&mut self) -> usize {
        let Self { families, arena, count, .. } = self;
        let before = *count;
        families.retain(|_, family| {
            let unused: Vec<Arc<Labels>> = {
                let entries = family.0.iter_mut();
                entries.filter_map(|(labels, handle)| handle.is_unused().then(|| labels.clone())).collect()
            };
            let dropped = unused.iter().filter_map(|labels| family.0.remove(labels));
            *count -= dropped.map(|handle| handle.give_back(arena)).count();
            !family.0.is_empty()
        });
        before - *count
    }
}

impl Handle {
    fn read(&self) -> (Value, bool) {
        match self {
            Self::Counter(counter) => {
                let value = counter.value();
                (Value::Counter(value), value > 0)
            }
            Self::Gauge(gauge) => (Value::Gauge(gauge.value()), gauge.is_used()),
            Self::ActiveGauge(gauge) => (Value::Gauge(gauge.value()), gauge.begun() > 0),
            Self::Histogram(histogram) => {
                let value = histogram.value();
                let used = value.count() > 0;
                (Value::Histogram(Box::new(value)), used)
            }
        }
    }

    /// Whether the registry alone holds it. What others did with it before has happened then.
    fn is_unused(&mut self) -> bool {
        match self {
            Self::Counter(Counter(cells))
            | Self::ActiveGauge(ActiveGauge(cells))
            | Self::Histogram(Histogram(cells)) => Arc::get_mut(cells).is_some(),
            Self::Gauge(Gauge(cell)) => Arc::get_mut(cell).is_some(),
        }
    }

    fn give_back(self, arena: &mut Arena) {
        let cells: Option<Cells> = match self {
            Self::Counter(Counter(cells))
            | Self::ActiveGauge(ActiveGauge(cells))
            | Self::Histogram(Histogram(cells)) => Arc::into_inner(cells),
            Self::Gauge(_) => None,
        };
        if let Some(cells) = cells {
            arena.give_back(cells);
        }
    }
}
