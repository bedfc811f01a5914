//! `istio_requests_total` and what goes with it, for each finished request.

use crate::telemetry::istio::labels::{Key, Protocol, Reporter, Rest};
use crate::telemetry::istio::series::{MAX_SERIES, SeriesTable};
use crate::telemetry::{Counter, Histogram, Registry, ResponseFlags};
use crate::wasm::StreamState;
use std::time::Duration;

const REQUESTS: &str = "istio_requests_total";

/// Istio's metrics of HTTP and gRPC requests, at one HTTP connection manager on one worker.
pub struct RequestMetrics {
    registry: Registry,
    reporter: Reporter,
    series: SeriesTable<Handles>,
}

#[derive(Clone)]
struct Handles {
    requests: Counter,
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

impl RequestMetrics {
    /// Metrics that a reporter counts in.
    pub fn new(registry: Registry, reporter: Reporter) -> Self {
        Self { registry, reporter, series: SeriesTable::new() }
    }

    /// Counts a stream that has ended. One of a kind that came before takes no lock and no memory.
    pub fn record(&self, state: &StreamState, flags: ResponseFlags, duration: Duration) {
        let varying = (protocol(state), state.status().unwrap_or(0), flags);
        let key = Key::new(&self.reporter, &state.connection, &state.cluster, varying);
        self.series.with(
            &key,
            |key| self.define(key),
            |handles| {
                let [request, response] = state.body_bytes;
                handles.requests.add(1);
                handles.duration.record(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
                handles.request_bytes.record(request);
                handles.response_bytes.record(response);
            },
        );
    }

    /// The handles of a key; none when there are as many series as there may be.
    fn define(&self, key: Option<&Key<'_>>) -> Option<Handles> {
        if key.is_some() && self.registry.counters(REQUESTS) >= MAX_SERIES {
            return None;
        }
        let labels = self.reporter.labels(key.unwrap_or(&REST));
        let labels = labels.pairs();
        let histogram = |name| self.registry.histogram(name, &labels);
        Some(Handles {
            requests: self.registry.counter(REQUESTS, &labels),
            duration: histogram("istio_request_duration_milliseconds"),
            request_bytes: histogram("istio_request_bytes"),
            response_bytes: histogram("istio_response_bytes"),
        })
    }
}

/// What is left to say of requests beyond [`MAX_SERIES`].
const REST: Key<'_> = Key {
    cluster: "",
    peer: "",
    rest: Rest { mutual_tls: false, protocol: Protocol::Http, status: 0, flags: ResponseFlags::NONE },
};

fn protocol(state: &StreamState) -> Protocol {
    match state.is_grpc() {
        true => Protocol::Grpc(state.grpc_status()),
        false => Protocol::Http,
    }
}
