//! Everything that keeps a request from being answered by an upstream: what the client sees and what the log says.

use crate::filter_chain::HostReply;
use crate::http::PeerError;
use crate::telemetry::ResponseFlags;
use crate::upstream::{ConnectFailure, Unavailable};

/// Why a request is answered by the proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyError {
    /// No route: nothing names a cluster.
    NoRoute,
    /// The cluster does not exist.
    NoCluster,
    /// No endpoint, or none that is healthy.
    NoHealthyUpstream,
    /// The name that a request gives for its destination cannot be looked up.
    NameUnknown,
    /// A circuit breaker is at its limit.
    Overflow,
    /// No connection could be made.
    ConnectFailure,
    /// Connecting took too long.
    ConnectTimeout,
    /// The upstream closed before it had answered.
    ConnectionTermination,
    /// The upstream refused the stream.
    RemoteRefusedStream,
    /// The upstream reset the stream before it had answered.
    RemoteReset,
    /// The upstream's answer is no HTTP that may be passed on.
    UpstreamProtocol,
    /// The time for the whole request is over.
    RouteTimeout,
    /// The time that the client has given (`grpc-timeout`) is over.
    ClientTimeout,
    /// The time for one attempt is over.
    PerTryTimeout,
    /// A filter has held the stream for too long.
    HeldTooLong,
    /// Nothing was heard on the stream for too long.
    StreamIdle,
    /// Nothing was heard on the stream for too long, and the client has not sent all of its request.
    RequestIdle,
    /// Filters have left a request that cannot be written.
    InvalidRequest,
    /// Filters have left a response that cannot be written.
    InvalidResponse,
    /// A response that has to be kept whole is larger than may be.
    ResponseTooLarge,
    /// An upgrade that is not allowed.
    UpgradeFailed,
}

impl From<Unavailable> for ProxyError {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::NoHealthyUpstream => Self::NoHealthyUpstream,
            Unavailable::Overflow => Self::Overflow,
        }
    }
}

impl From<ConnectFailure> for ProxyError {
    fn from(error: ConnectFailure) -> Self {
        match error {
            ConnectFailure::Refused | ConnectFailure::System(_) | ConnectFailure::Tls(_) => Self::ConnectFailure,
            ConnectFailure::Timeout => Self::ConnectTimeout,
            ConnectFailure::Overflow => Self::Overflow,
        }
    }
}

/// Of an upstream that has not answered yet.
impl From<PeerError> for ProxyError {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Closed => Self::ConnectionTermination,
            PeerError::Reset => Self::RemoteReset,
            PeerError::RefusedStream => Self::RemoteRefusedStream,
            PeerError::Protocol(_) => Self::UpstreamProtocol,
            PeerError::Framing => Self::InvalidRequest,
        }
    }
}

const RESET: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";
const RETRIED: &str =
    "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: ";

impl ProxyError {
    /// What the client sees, and what the log says. `retried`: it was the last of several attempts.
    pub fn reply(self, retried: bool) -> (HostReply, ResponseFlags) {
        use ResponseFlags as Flags;
        let (status, body, details, flags) = match self {
            Self::NoRoute => (404, "", "route_not_found", Flags::NO_ROUTE_FOUND),
            Self::NoCluster => (503, "", "cluster_not_found", Flags::NO_CLUSTER_FOUND),
            Self::NoHealthyUpstream => (503, "no healthy upstream", "no_healthy_upstream", Flags::NO_HEALTHY_UPSTREAM),
            Self::NameUnknown => {
                (503, "DNS resolution failure", "dns_resolution_failure", Flags::DNS_RESOLUTION_FAILED)
            }
            Self::Overflow => return reset("overflow", Flags::UPSTREAM_OVERFLOW, retried),
            Self::ConnectFailure => {
                return reset("remote connection failure", Flags::UPSTREAM_CONNECTION_FAILURE, retried);
            }
            Self::ConnectTimeout => return reset("connection timeout", Flags::UPSTREAM_CONNECTION_FAILURE, retried),
            Self::ConnectionTermination => {
                return reset("connection termination", Flags::UPSTREAM_CONNECTION_TERMINATION, retried);
            }
            Self::RemoteRefusedStream => {
                return reset("remote refused stream reset", Flags::UPSTREAM_REMOTE_RESET, retried);
            }
            Self::RemoteReset => return reset("remote reset", Flags::UPSTREAM_REMOTE_RESET, retried),
            Self::UpstreamProtocol => {
                let (mut reply, flags) = reset("protocol error", Flags::UPSTREAM_PROTOCOL_ERROR, retried);
                reply.status = 502;
                return (reply, flags);
            }
            Self::RouteTimeout => {
                (504, "upstream request timeout", "response_timeout", Flags::UPSTREAM_REQUEST_TIMEOUT)
            }
            Self::ClientTimeout => (504, "downstream duration timeout", "max_duration_timeout", Flags::NONE),
            Self::PerTryTimeout => {
                (504, "upstream request timeout", "upstream_per_try_timeout", Flags::UPSTREAM_REQUEST_TIMEOUT)
            }
            Self::HeldTooLong => (504, "stream timeout", "filter_held_stream_too_long", Flags::STREAM_IDLE_TIMEOUT),
            Self::StreamIdle => (504, "stream timeout", "stream_idle_timeout", Flags::STREAM_IDLE_TIMEOUT),
            Self::RequestIdle => (408, "stream timeout", "stream_idle_timeout", Flags::STREAM_IDLE_TIMEOUT),
            Self::InvalidRequest => (503, "", "invalid_request_after_filters", Flags::NONE),
            Self::InvalidResponse => (502, "", "invalid_response_after_filters", Flags::NONE),
            Self::ResponseTooLarge => (500, "Internal Server Error", "response_payload_too_large", Flags::NONE),
            Self::UpgradeFailed => (403, "", "upgrade_failed", Flags::NONE),
        };
        let flags = if retried { Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED.and(flags) } else { flags };
        // DEADLINE_EXCEEDED: whose time it was knows what to make of it.
        let grpc_status = (self == Self::ClientTimeout).then_some(4);
        (HostReply { status, body: body.into(), details: details.into(), headers: Vec::new(), grpc_status }, flags)
    }

    /// Whether it is the upstream that has no answer: it is counted as the cluster's, as Envoy does.
    pub(crate) fn is_of_upstream(self) -> bool {
        match self {
            Self::NoHealthyUpstream
            | Self::Overflow
            | Self::ConnectFailure
            | Self::ConnectTimeout
            | Self::ConnectionTermination
            | Self::RemoteRefusedStream
            | Self::RemoteReset
            | Self::UpstreamProtocol
            | Self::RouteTimeout
            | Self::PerTryTimeout => true,
            Self::NoRoute
            | Self::NoCluster
            | Self::NameUnknown
            | Self::ClientTimeout
            | Self::HeldTooLong
            | Self::StreamIdle
            | Self::RequestIdle
            | Self::InvalidRequest
            | Self::InvalidResponse
            | Self::ResponseTooLarge
            | Self::UpgradeFailed => false,
        }
    }

    /// What the log says of a response that was cut off for this reason.
    pub(crate) fn late_reset(self) -> (String, ResponseFlags) {
        let (reply, flags) = self.reply(false);
        (reply.details.replace(EARLY, LATE), flags)
    }
}

/// What Envoy's details say of a reset, before the response's headers and behind them.
const EARLY: &str = "upstream_reset_before_response_started";
const LATE: &str = "upstream_reset_after_response_started";

/// A reset before the response's headers, in Envoy's words.
fn reset(reason: &str, flags: ResponseFlags, retried: bool) -> (HostReply, ResponseFlags) {
    let text = if retried { RETRIED } else { RESET };
    let details = format!("{EARLY}{{{}}}", reason.replace(' ', "_"));
    let overloaded = flags == ResponseFlags::UPSTREAM_OVERFLOW;
    let headers = if overloaded { vec![("x-envoy-overloaded", "true")] } else { Vec::new() };
    let flags = if retried { ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED.and(flags) } else { flags };
    (HostReply { status: 503, body: format!("{text}{reason}"), details, headers, grpc_status: None }, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue() {
        let rows: &[(ProxyError, u16, usize, &str, &str)] = &[
            (ProxyError::NoRoute, 404, 0, "NR", "route_not_found"),
            (ProxyError::NoCluster, 503, 0, "NC", "cluster_not_found"),
            (ProxyError::NoHealthyUpstream, 503, 19, "UH", "no_healthy_upstream"),
            (ProxyError::NameUnknown, 503, 22, "DF", "dns_resolution_failure"),
            (ProxyError::Overflow, 503, 81, "UO", "upstream_reset_before_response_started{overflow}"),
            (
                ProxyError::ConnectFailure,
                503,
                98,
                "UF",
                "upstream_reset_before_response_started{remote_connection_failure}",
            ),
            (
                ProxyError::ConnectionTermination,
                503,
                95,
                "UC",
                "upstream_reset_before_response_started{connection_termination}",
            ),
            (ProxyError::RemoteReset, 503, 85, "UR", "upstream_reset_before_response_started{remote_reset}"),
            (ProxyError::StreamIdle, 504, 14, "SI", "stream_idle_timeout"),
            (ProxyError::RequestIdle, 408, 14, "SI", "stream_idle_timeout"),
            (ProxyError::RouteTimeout, 504, 24, "UT", "response_timeout"),
            (ProxyError::ClientTimeout, 504, 27, "-", "max_duration_timeout"),
            (ProxyError::PerTryTimeout, 504, 24, "UT", "upstream_per_try_timeout"),
        ];
        for (error, status, length, flags, details) in rows {
            let (reply, found) = error.reply(false);
            let found = (reply.status, reply.body.len(), found.to_string(), reply.details);
            assert_eq!(found, (*status, *length, (*flags).to_owned(), (*details).to_owned()), "{error:?}");
        }
        let (reply, flags) = ProxyError::ConnectFailure.reply(true);
        assert!(reply.body.contains("retried and the latest reset reason: remote connection failure"));
        assert_eq!(flags.to_string(), "URX,UF");
        assert_eq!(ProxyError::Overflow.reply(false).0.headers, [("x-envoy-overloaded", "true")]);
        let (details, flags) = ProxyError::UpstreamProtocol.late_reset();
        let late = "upstream_reset_after_response_started{protocol_error}";
        assert_eq!((details.as_str(), flags.to_string().as_str()), (late, "UPE"));
    }
}
