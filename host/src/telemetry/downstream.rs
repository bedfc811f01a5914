//! What is counted of listeners and of the requests on them, under Envoy's names.

use crate::telemetry::{ActiveGauge, Counter, Histogram, Registry, ResponseFlags};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Counts of a listener (`listener.<address>.…`).
#[derive(Clone)]
pub struct ListenerStats {
    total: Counter,
    active: ActiveGauge,
    registry: Registry,
    address: String,
    /// By reason, once there is one.
    rejected: RefCell<HashMap<&'static str, Counter>>,
}

/// Counts of an HTTP connection manager (`http.<listener>.…`).
#[derive(Clone, Debug)]
pub struct HttpStats {
    connections: Counter,
    connections_active: ActiveGauge,
    connections_by_protocol: [Counter; 2],
    requests: Counter,
    requests_active: ActiveGauge,
    requests_by_protocol: [Counter; 2],
    completed: Counter,
    classes: [Counter; 5],
    resets: Counter,
    time: Histogram,
}

/// Something that counts as active as long as this lives.
#[derive(Debug)]
pub struct Active(ActiveGauge);

impl Active {
    fn begin(gauge: &ActiveGauge) -> Self {
        gauge.begin();
        Self(gauge.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl ListenerStats {
    /// Counts of the listener at an address.
    pub fn new(registry: &Registry, address: SocketAddr) -> Self {
        // As Envoy spells addresses in names.
        let address = address.to_string().replace(':', "_");
        let labels = [("envoy_listener_address", address.as_str())];
        Self {
            total: registry.counter("envoy_listener_downstream_cx_total", &labels),
            active: registry.active_gauge("envoy_listener_downstream_cx_active", &labels),
            registry: registry.clone(),
            rejected: RefCell::default(),
            address,
        }
    }

    /// A connection is closed before anything has served it; `reason`: a word for it, of few.
    pub fn rejected(&self, reason: &'static str) {
        let mut rejected = self.rejected.borrow_mut();
        let labels = || [("envoy_listener_address", self.address.as_str()), ("reason", reason)];
        let counter = || self.registry.counter("outrigger_listener_connections_rejected", &labels());
        rejected.entry(reason).or_insert_with(counter).add(1);
    }

    /// A connection has been accepted.
    pub fn accepted(&self) -> Active {
        self.total.add(1);
        Active::begin(&self.active)
    }
}

impl HttpStats {
    /// Counts of a listener's HTTP.
    pub fn new(registry: &Registry, listener: &str) -> Self {
        let label = ("envoy_http_conn_manager_prefix", listener);
        let counter = |name: &str| registry.counter(&format!("envoy_http_downstream_{name}"), &[label]);
        let active = |name: &str| registry.active_gauge(&format!("envoy_http_downstream_{name}"), &[label]);
        let class =
            |class| registry.counter("envoy_http_downstream_rq_xx", &[label, ("envoy_response_code_class", class)]);
        Self {
            connections: counter("cx_total"),
            connections_active: active("cx_active"),
            connections_by_protocol: ["cx_http1_total", "cx_http2_total"].map(counter),
            requests: counter("rq_total"),
            requests_active: active("rq_active"),
            requests_by_protocol: ["rq_http1_total", "rq_http2_total"].map(counter),
            completed: counter("rq_completed"),
            classes: ["1", "2", "3", "4", "5"].map(class),
            resets: counter("rq_rx_reset"),
            time: registry.histogram("envoy_http_downstream_rq_time", &[label]),
        }
    }

    /// A connection has begun to speak.
    pub fn connection(&self, http2: bool) -> Active {
        let [http1_total, http2_total] = &self.connections_by_protocol;
        self.connections.add(1);
        if http2 { http2_total } else { http1_total }.add(1);
        Active::begin(&self.connections_active)
    }

    /// A request has come.
    pub fn request(&self, http2: bool) -> Active {
        let [http1_total, http2_total] = &self.requests_by_protocol;
        self.requests.add(1);
        if http2 { http2_total } else { http1_total }.add(1);
        Active::begin(&self.requests_active)
    }

    /// It has been answered, or cut off.
    pub fn completed(&self, status: Option<u16>, flags: ResponseFlags, duration: Duration) {
        self.completed.add(1);
        let class = status.and_then(|status| usize::from(status / 100).checked_sub(1));
        if let Some(class) = class.and_then(|class| self.classes.get(class)) {
            class.add(1);
        }
        if flags.has(ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION) {
            self.resets.add(1);
        }
        self.time.record(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{StatsQuery, prometheus_text, stats_text};

    #[test]
    fn a_listener_counts_connections() {
        let registry = Registry::for_threads(1);
        let stats = ListenerStats::new(&registry, "127.0.0.1:8080".parse().unwrap());
        let (_first, second) = (stats.accepted(), stats.accepted());
        drop(second);
        let text = stats_text(&registry.collect(), &StatsQuery::default());
        assert_eq!(
            text,
            "listener.127.0.0.1_8080.downstream_cx_active: 1\nlistener.127.0.0.1_8080.downstream_cx_total: 2\n"
        );
    }

    #[test]
    fn requests_by_class_and_protocol() {
        let registry = Registry::for_threads(1);
        let stats = HttpStats::new(&registry, "inbound");
        let _connection = stats.connection(true);
        let (_active, ended) = (stats.request(false), stats.request(true));
        drop(ended);
        let gone = ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION;
        for (status, flags) in [
            (Some(101), ResponseFlags::NONE),
            (Some(204), ResponseFlags::NONE),
            (Some(503), ResponseFlags::UPSTREAM_OVERFLOW),
            (Some(599), gone),
            (None, gone),
            (Some(7), ResponseFlags::NONE),
        ] {
            stats.completed(status, flags, Duration::from_millis(3));
        }
        let used = StatsQuery { used_only: true, filter: None };
        let wanted = [
            "downstream_cx_active: 1",
            "downstream_cx_http2_total: 1",
            "downstream_cx_total: 1",
            "downstream_rq_1xx: 1",
            "downstream_rq_2xx: 1",
            "downstream_rq_5xx: 2",
            "downstream_rq_active: 1",
            "downstream_rq_completed: 6",
            "downstream_rq_http1_total: 1",
            "downstream_rq_http2_total: 1",
            "downstream_rq_rx_reset: 2",
            "downstream_rq_total: 2",
        ];
        let text = stats_text(&registry.collect(), &used);
        let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("http.inbound.")).collect();
        assert_eq!(lines[..wanted.len()], wanted, "{text}");
        let prometheus = prometheus_text(&registry.collect(), &used);
        let line =
            "envoy_http_downstream_rq_xx{envoy_http_conn_manager_prefix=\"inbound\",envoy_response_code_class=\"5\"} 2";
        assert!(prometheus.lines().any(|found| found == line), "{prometheus}");
    }
}
