//! What the proxy tells about itself.

mod downstream;
#[cfg(test)]
mod fixtures;
mod istio;
mod metrics;
mod response_flags;

pub use downstream::{Active, HttpStats, ListenerStats};
pub use istio::{LocalWorkload, Reporter, RequestMetrics, TcpConnectionMetrics, TcpMetrics};
pub use metrics::{
    ActiveGauge, Counter, Gauge, Histogram, HistogramValue, PROMETHEUS_TYPE, Registry, Sample, StatsQuery, Value,
    prometheus_text, stats_json, stats_text,
};
pub use response_flags::ResponseFlags;
