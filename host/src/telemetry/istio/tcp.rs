//! `istio_tcp_connections_opened_total` and what goes with it, for each TCP connection that is forwarded.

use crate::telemetry::istio::labels::{Key, Protocol, Reporter, Rest};
use crate::telemetry::istio::series::{MAX_SERIES, SeriesTable};
use crate::telemetry::{Counter, Registry, ResponseFlags};
use crate::wasm::ConnectionProperties;
use std::rc::Rc;

const OPENED: &str = "istio_tcp_connections_opened_total";

/// Istio's metrics of TCP connections, at one TCP proxy on one worker.
pub struct TcpMetrics {
    registry: Registry,
    reporter: Reporter,
    series: SeriesTable<Handles>,
}

#[derive(Clone)]
struct Handles {
    opened: Counter,
    closed: Counter,
    sent: Counter,
    received: Counter,
}

/// One connection; it counts as closed when this is dropped.
pub struct TcpConnectionMetrics {
    metrics: Rc<TcpMetrics>,
    connection: Rc<ConnectionProperties>,
    cluster: Rc<str>,
    handles: Option<Handles>,
    /// Why it ended so, for the count of closed ones.
    pub flags: ResponseFlags,
}

impl TcpMetrics {
    /// Metrics that a reporter counts in.
    pub fn new(registry: Registry, reporter: Reporter) -> Rc<Self> {
        Rc::new(Self { registry, reporter, series: SeriesTable::new() })
    }

    /// Counts a connection to a cluster as opened.
    pub fn open(self: &Rc<Self>, connection: Rc<ConnectionProperties>, cluster: Rc<str>) -> TcpConnectionMetrics {
        let handles = self.with(&connection, &cluster, ResponseFlags::NONE, |handles| {
            handles.opened.add(1);
            handles.clone()
        });
        TcpConnectionMetrics { metrics: self.clone(), connection, cluster, handles, flags: ResponseFlags::NONE }
    }

    fn with<R>(
        &self,
        connection: &ConnectionProperties,
        cluster: &str,
        flags: ResponseFlags,
        used: impl FnOnce(&Handles) -> R,
    ) -> Option<R> {
        let key = Key::new(&self.reporter, connection, cluster, (Protocol::Tcp, 0, flags));
        self.series.with(&key, |key| self.define(key), used)
    }

    fn define(&self, key: Option<&Key<'_>>) -> Option<Handles> {
        if key.is_some() && self.registry.counters(OPENED) >= MAX_SERIES {
            return None;
        }
        let labels = self.reporter.labels(key.unwrap_or(&REST));
        let labels = labels.pairs();
        let counter = |name| self.registry.counter(name, &labels);
        Some(Handles {
            opened: counter(OPENED),
            closed: counter("istio_tcp_connections_closed_total"),
            sent: counter("istio_tcp_sent_bytes_total"),
            received: counter("istio_tcp_received_bytes_total"),
        })
    }
}

impl TcpConnectionMetrics {
    /// Bytes have been sent to the client.
    pub fn sent(&self, bytes: u64) {
        if let Some(handles) = &self.handles {
            handles.sent.add(bytes);
        }
    }

    /// Bytes have come from the client.
    pub fn received(&self, bytes: u64) {
        if let Some(handles) = &self.handles {
            handles.received.add(bytes);
        }
    }
}

impl Drop for TcpConnectionMetrics {
    fn drop(&mut self) {
        self.metrics.with(&self.connection, &self.cluster, self.flags, |handles| handles.closed.add(1));
    }
}

/// What is left to say of connections beyond [`MAX_SERIES`].
const REST: Key<'_> = Key {
    cluster: "",
    peer: "",
    rest: Rest { mutual_tls: false, protocol: Protocol::Tcp, status: 0, flags: ResponseFlags::NONE },
};
