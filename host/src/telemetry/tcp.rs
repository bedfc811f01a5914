//! Everything that is told of the connections of one TCP proxy on one worker.

use crate::telemetry::{AccessLogger, ResponseFlags, TcpConnectionMetrics, TcpMetrics};
use crate::wasm::StreamState;
use std::rc::Rc;
use std::time::Duration;

/// Istio's metrics and the access log of a TCP proxy, on one worker.
pub struct TcpTelemetry {
    /// Istio's metrics.
    pub metrics: Rc<TcpMetrics>,
    /// Where lines go, if anywhere.
    pub access_log: Option<AccessLogger>,
}

impl TcpTelemetry {
    /// A connection has been accepted; it counts as open as long as what is returned lives.
    pub fn begin(&self, state: &StreamState) -> TcpConnectionMetrics {
        self.metrics.open(state.connection.clone(), Rc::from(state.cluster.as_str()))
    }

    /// It has ended.
    pub fn end(&self, state: &StreamState, flags: ResponseFlags, duration: Duration) {
        if let Some(log) = &self.access_log {
            log.log(state, flags, duration);
        }
    }
}
