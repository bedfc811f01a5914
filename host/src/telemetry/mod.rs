//! What the proxy tells about itself.

mod access_log;
mod downstream;
#[cfg(test)]
mod fixtures;
mod http;
mod istio;
mod log;
mod log_writer;
mod metrics;
mod response_flags;
mod tcp;

pub use access_log::{AccessLogError, AccessLogger, AccessLogs, FormatFaults, LogFormat};
pub use downstream::{Active, HttpStats, ListenerStats};
pub use http::HttpTelemetry;
pub use istio::{LocalWorkload, Reporter, RequestMetrics, TcpConnectionMetrics, TcpMetrics};
pub use log::{LevelError, LogControl, LogLevels, LogStyle, guest_log_level, log_guest, process_log};
pub use log_writer::{LineSender, LogWriter};
pub use metrics::{
    ActiveGauge, Counter, Gauge, Histogram, HistogramValue, PROMETHEUS_TYPE, Registry, Sample, StatsQuery, Value,
    prometheus_text, stats_json, stats_text,
};
pub use response_flags::ResponseFlags;
pub use tcp::TcpTelemetry;
