//! What belongs to the plugin rather than to one stream: time, chance, timers, calls, metrics.

use crate::{CallId, GrpcCall, Host, HostError, HttpCall, Metric, MetricKind, StreamId};
use crate::{HeaderMap, chain::RootState};
use http_match::HeaderList;
use std::time::Duration;

/// A filter's view of the plugin it runs in.
pub struct Root<'a> {
    pub(crate) host: &'a mut dyn Host,
    pub(crate) state: &'a mut RootState,
    /// Which filter of the chain is asking: owner of the calls and the timer it starts.
    pub(crate) filter: usize,
}

impl<'a> Root<'a> {
    /// Time since the Unix epoch.
    pub fn now(&mut self) -> Result<Duration, HostError> {
        self.host.now()
    }

    /// A uniform random draw over all of `u64`.
    pub fn random(&mut self) -> Result<u64, HostError> {
        self.host.random()
    }

    /// Calls this filter's `on_tick` about every `period`; `None` stops it. Filters of one chain share the host's
    /// timer, so a tick may come early: look at the clock.
    pub fn set_tick(&mut self, period: Option<Duration>) {
        self.state.set_tick(self.filter, period, self.host);
    }

    /// Has the chain call `on_wake` for a stream this filter holds, after the current callback. A stream that is gone
    /// by then is passed over.
    pub fn wake(&mut self, stream: StreamId) {
        self.state.wakes.push((stream, self.filter));
    }

    /// Sends a request; its answer comes to this filter's `on_call`, whatever became of the stream meanwhile.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] when the cluster does not exist or a pseudo-header is missing.
    pub fn http_call(&mut self, call: &HttpCall<'_>) -> Result<CallId, HostError> {
        let id = self.host.http_call(call)?;
        self.state.calls.insert(id, self.filter);
        Ok(id)
    }

    /// Sends a unary gRPC request; what becomes of it comes to this filter's `on_call`.
    ///
    /// # Errors
    /// When the cluster does not exist.
    pub fn grpc_call(&mut self, call: &GrpcCall<'_>) -> Result<CallId, HostError> {
        let id = self.host.grpc_call(call)?;
        self.state.calls.insert(id, self.filter);
        Ok(id)
    }

    /// The headers of the HTTP answer being reported to `on_call`.
    pub fn call_headers(&mut self) -> Result<HeaderList, HostError> {
        self.host.header_list(HeaderMap::HttpCallResponse)
    }

    /// The body (or gRPC message) of the answer being reported to `on_call`, at most `length` bytes.
    pub fn call_body(&mut self, call: CallId, length: usize) -> Result<Vec<u8>, HostError> {
        self.host.call_body(call, length)
    }

    /// A property that needs no stream; `None` when it does not exist.
    pub fn property(&mut self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
        self.host.property(path)
    }

    /// Defines a counter: `outrigger.<filter>.<what>`. Its name must come from a bounded set.
    pub fn counter(&mut self, name: &str) -> Metric {
        self.metric(MetricKind::Counter, name)
    }

    /// Defines a gauge.
    pub fn gauge(&mut self, name: &str) -> Metric {
        self.metric(MetricKind::Gauge, name)
    }

    fn metric(&mut self, kind: MetricKind, name: &str) -> Metric {
        match self.host.define_metric(kind, name) {
            Ok(id) => Metric(Some(id)),
            Err(error) => {
                log::warn!("metric {name} cannot be defined ({error}): it will not be counted");
                Metric(None)
            }
        }
    }

    /// Adds to a metric. A host that refuses is not asked why: counting must not decide about traffic.
    pub fn add(&mut self, metric: Metric, by: i64) {
        if let Metric(Some(id)) = metric {
            let _ = self.host.increment_metric(id, by);
        }
    }
}
