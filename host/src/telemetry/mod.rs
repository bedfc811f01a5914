//! What the proxy tells about itself.

mod metrics;
mod response_flags;

pub use metrics::{
    ActiveGauge, Counter, Gauge, Histogram, HistogramValue, PROMETHEUS_TYPE, Registry, Sample, StatsQuery, Value,
    prometheus_text, stats_json, stats_text,
};
pub use response_flags::ResponseFlags;
