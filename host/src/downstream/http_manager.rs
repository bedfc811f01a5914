//! How HTTP connections of a filter chain are served: the settings of one configuration on one worker.

use crate::downstream::prepare::Prepared;
use crate::downstream::tcp_manager::direction_number;
use crate::filter_chain::{FilterChain, FilteredStream};
use crate::http::http1::head::HeadLimits;
use crate::http::path::PathNormalization;
use crate::telemetry::{Active, HttpTelemetry, ResponseFlags};
use crate::upstream::ClusterSet;
use crate::upstream::retry::RetryPolicy;
use crate::wasm::{Stream, StreamState};
use compiler::snapshot::{self, Direction, HttpConnectionManager};
use http_match::HeaderList;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How HTTP connections of a filter chain are served on one worker, with one snapshot.
pub(crate) struct HttpManager {
    pub(crate) config: Arc<HttpConnectionManager>,
    pub(crate) direction: Direction,
    pub(crate) chain: Rc<FilterChain>,
    pub(crate) clusters: Rc<ClusterSet>,
    pub(crate) limits: HeadLimits,
    /// What a message may have after filters have edited it: theirs is added.
    pub(crate) after_filters: HeadLimits,
    pub(crate) retry: Rc<RetryPolicy>,
    pub(crate) pause_limit: Duration,
    pub(crate) path_normalization: PathNormalization,
    telemetry: HttpTelemetry,
}

impl HttpManager {
    pub(crate) fn new(
        config: Arc<HttpConnectionManager>,
        direction: Direction,
        chain: Rc<FilterChain>,
        clusters: Rc<ClusterSet>,
        telemetry: HttpTelemetry,
    ) -> Self {
        let limits = HeadLimits {
            bytes: config.limits.header_bytes,
            fields: config.limits.header_fields,
            target: config.limits.target,
        };
        let after_filters =
            HeadLimits { bytes: limits.bytes * 2, fields: limits.fields * 2, target: limits.target * 2 };
        let retry = Rc::new(match direction {
            Direction::Inbound => RetryPolicy::default_inbound(),
            Direction::Outbound | Direction::Unspecified => RetryPolicy::default_istio(),
        });
        let pause_limit = pause_limit(&chain);
        let path_normalization = match config.path_normalization {
            snapshot::PathNormalization::None => PathNormalization::None,
            snapshot::PathNormalization::Base => PathNormalization::Base,
            snapshot::PathNormalization::MergeSlashes => PathNormalization::MergeSlashes,
            snapshot::PathNormalization::DecodeAndMergeSlashes => PathNormalization::DecodeAndMergeSlashes,
        };
        Self {
            config,
            direction,
            chain,
            clusters,
            limits,
            after_filters,
            retry,
            pause_limit,
            path_normalization,
            telemetry,
        }
    }

    /// Counts a connection as long as what is returned lives.
    pub(crate) fn connection(&self, http2: bool) -> Active {
        self.telemetry.stats.connection(http2)
    }

    /// Counts a stream as long as what is returned lives.
    pub(crate) fn stream(&self, http2: bool) -> Active {
        self.telemetry.begin(http2)
    }

    /// A stream at its start.
    pub(crate) fn begin(&self, headers: HeaderList, prepared: Prepared, protocol: &'static str) -> FilteredStream {
        let Prepared { connection, authority_as_sent } = prepared;
        let mut state = StreamState::new(headers, self.chain.plugins().len(), connection, SystemTime::now());
        state.authority_as_sent = authority_as_sent;
        state.protocol = protocol;
        state.direction = direction_number(self.direction);
        FilteredStream::new(self.chain.clone(), Stream::new(state))
    }

    /// Whether upstreams are told how often they have been tried, as Istio has it of who calls (Envoy's
    /// `include_request_attempt_count`).
    pub(crate) fn counts_attempts(&self) -> bool {
        self.direction != Direction::Inbound
    }

    pub(crate) fn is_http2(&self, stream: &Stream) -> bool {
        stream.state.borrow().protocol == "HTTP/2"
    }

    /// Counts a stream that has ended, and writes its line to the access log.
    pub(crate) fn log(&self, stream: &Stream, flags: ResponseFlags, duration: Duration) {
        self.telemetry.end(&stream.state.borrow(), flags, duration);
    }
}

/// How long a stream may be held: as long as the least patient of the plugins says.
pub(super) fn pause_limit(chain: &FilterChain) -> Duration {
    let pauses = chain.plugins().iter().map(|plugin| plugin.settings().limits.pause);
    pauses.min().unwrap_or(Duration::from_secs(15))
}
