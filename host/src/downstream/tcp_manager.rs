//! How TCP connections of a filter chain are served: the settings of one configuration on one worker.

use crate::downstream::http_manager::pause_limit;
use crate::filter_chain::FilterChain;
use crate::telemetry::TcpTelemetry;
use crate::upstream::ClusterSet;
use compiler::snapshot::{Direction, TcpProxy};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How TCP connections of a filter chain are served on one worker, with one snapshot.
pub(crate) struct TcpManager {
    pub(crate) config: Arc<TcpProxy>,
    pub(crate) direction: Direction,
    pub(crate) chain: Rc<FilterChain>,
    pub(crate) clusters: Rc<ClusterSet>,
    pub(crate) pause_limit: Duration,
    /// Endpoints that are tried (Envoy's `max_connect_attempts`).
    pub(crate) connect_attempts: usize,
    pub(crate) telemetry: TcpTelemetry,
}

impl TcpManager {
    pub(crate) fn new(
        config: Arc<TcpProxy>,
        direction: Direction,
        chain: Rc<FilterChain>,
        clusters: Rc<ClusterSet>,
        telemetry: TcpTelemetry,
    ) -> Self {
        let pause_limit = pause_limit(&chain);
        Self { config, direction, chain, clusters, pause_limit, connect_attempts: 1, telemetry }
    }
}

/// A direction as the attribute `xds.listener_direction` has it.
pub(crate) fn direction_number(direction: Direction) -> i64 {
    match direction {
        Direction::Unspecified => 0,
        Direction::Inbound => 1,
        Direction::Outbound => 2,
    }
}
