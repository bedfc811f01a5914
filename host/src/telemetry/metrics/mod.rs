//! Counters, gauges and histograms: defined under a lock, counted without one, read as Prometheus and Envoy show them.

mod cells;
mod handles;
mod histogram;
mod names;
mod prometheus;
mod registry;
mod stats;

#[cfg(test)]
mod tests;

pub use handles::{ActiveGauge, Counter, Gauge, Histogram};
pub use histogram::HistogramValue;
pub use prometheus::{PROMETHEUS_TYPE, prometheus_text};
pub use registry::{Registry, Sample, Value};
pub use stats::{StatsQuery, stats_json, stats_text};
