//! What the rest of the proxy holds of a metric.

use crate::telemetry::metrics::cells::Cells;
use crate::telemetry::metrics::histogram::{BUCKETS, HistogramValue, bucket};
use crossbeam_utils::CachePadded;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Counts what only grows.
#[derive(Clone)]
pub struct Counter(pub(super) Arc<Cells>);

impl Counter {
    /// Cells of a counter.
    pub(super) const CELLS: usize = 1;

    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.add(0, n);
    }

    /// What has been counted, by all threads.
    pub fn value(&self) -> u64 {
        self.0.sum(0)
    }
}

/// A number that rises and falls, never below 0. Threads that change it share it: for what a request begins and ends,
/// there is [`ActiveGauge`].
#[derive(Clone)]
pub struct Gauge(pub(super) Arc<CachePadded<GaugeCell>>);

#[derive(Default)]
pub(super) struct GaugeCell {
    value: AtomicU64,
    used: AtomicBool,
}

impl Gauge {
    /// Raises it.
    pub fn add(&self, n: u64) {
        self.0.value.fetch_add(n, Relaxed);
        self.0.used.store(true, Relaxed);
    }

    /// Lowers it, to 0 at most.
    pub fn sub(&self, n: u64) {
        // It always has a value to go to.
        let _ = self.0.value.fetch_update(Relaxed, Relaxed, |value| Some(value.saturating_sub(n)));
    }

    /// Makes it `n`.
    pub fn set(&self, n: u64) {
        self.0.value.store(n, Relaxed);
        self.0.used.store(true, Relaxed);
    }

    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.value.load(Relaxed)
    }

    /// Whether it was ever raised or set.
    pub(super) fn is_used(&self) -> bool {
        self.0.used.load(Relaxed)
    }
}

/// How many of something there are: what has begun and not ended. Shown as a gauge; threads share nothing.
#[derive(Clone)]
pub struct ActiveGauge(pub(super) Arc<Cells>);

impl ActiveGauge {
    /// Cells of a gauge: begun, ended.
    pub(super) const CELLS: usize = 2;

    /// One more.
    pub fn begin(&self) {
        self.0.add(0, 1);
    }

    /// One less; on whichever thread.
    pub fn end(&self) {
        self.0.add(1, 1);
    }

    /// How many there are.
    pub fn value(&self) -> u64 {
        // Ends are read first: one that ends between the two reads is never missing its beginning.
        let ended = self.0.sum(1);
        self.begun().saturating_sub(ended)
    }

    /// How many have ever begun.
    pub(super) fn begun(&self) -> u64 {
        self.0.sum(0)
    }
}

/// Counts values by how large they are.
#[derive(Clone)]
pub struct Histogram(pub(super) Arc<Cells>);

impl Histogram {
    /// Cells of a histogram: the buckets, the sum.
    pub(super) const CELLS: usize = BUCKETS + 1;

    /// Records a value.
    pub fn record(&self, value: u64) {
        self.0.add(bucket(value), 1);
        self.0.add(BUCKETS, value);
    }

    /// What has been recorded, by all threads.
    pub fn value(&self) -> HistogramValue {
        let buckets = std::array::from_fn(|bucket| self.0.sum(bucket));
        HistogramValue { buckets, sum: self.0.sum(BUCKETS) }
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.value()).finish()
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauge").field(&self.value()).finish()
    }
}

impl fmt::Debug for ActiveGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ActiveGauge").field(&self.value()).finish()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Histogram").field(&self.value()).finish()
    }
}
