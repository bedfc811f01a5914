//! Everything that is told of the streams of one HTTP connection manager on one worker.

use crate::telemetry::{AccessLogger, Active, HttpStats, RequestMetrics, ResponseFlags};
use crate::wasm::StreamState;
use std::time::Duration;

/// Counts, Istio's metrics and the access log of an HTTP connection manager, on one worker.
pub struct HttpTelemetry {
    /// Envoy's counts.
    pub stats: HttpStats,
    /// Istio's metrics.
    pub requests: RequestMetrics,
    /// Where lines go, if anywhere.
    pub access_log: Option<AccessLogger>,
}

impl HttpTelemetry {
    /// A stream has begun; it counts as active as long as what is returned lives.
    pub fn begin(&self, http2: bool) -> Active {
        self.stats.request(http2)
    }

    /// A stream has ended.
    pub fn end(&self, state: &StreamState, flags: ResponseFlags, duration: Duration) {
        self.stats.completed(state.status(), flags, duration);
        self.requests.record(state, flags, duration);
        if let Some(log) = &self.access_log {
            log.log(state, flags, duration);
        }
    }
}
