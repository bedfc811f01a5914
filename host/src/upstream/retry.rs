//! Whether a failed attempt is made again, and after how long: asked by the router after every attempt.

use http_match::HeaderList;
use std::ops::{BitOr, BitOrAssign};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The conditions of a retry, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(u16);

impl RetryOn {
    /// No condition: nothing is retried.
    pub const NONE: Self = Self(0);
    /// `5xx`: answers 500..=599, and every attempt that ended without an answer.
    pub const FIVE_XX: Self = Self(1);
    /// `gateway-error`: answers 502, 503 and 504, and every attempt that ended without an answer.
    pub const GATEWAY_ERROR: Self = Self(1 << 1);
    /// `reset`: every attempt that ended without an answer.
    pub const RESET: Self = Self(1 << 2);
    /// `connect-failure`: no connection could be made.
    pub const CONNECT_FAILURE: Self = Self(1 << 3);
    /// `reset-before-request`: the attempt ended before any of the request was sent.
    pub const RESET_BEFORE_REQUEST: Self = Self(1 << 4);
    /// `refused-stream`: the upstream reset the stream with REFUSED_STREAM.
    pub const REFUSED_STREAM: Self = Self(1 << 5);
    /// `retriable-4xx`: answer 409.
    pub const RETRIABLE_4XX: Self = Self(1 << 6);
    /// `retriable-status-codes`: answers with one of [`RetryPolicy::status_codes`].
    pub const RETRIABLE_STATUS_CODES: Self = Self(1 << 7);
    /// `envoy-ratelimited`: answers that carry `x-envoy-ratelimited`.
    pub const RATE_LIMITED: Self = Self(1 << 8);
    /// `cancelled`: grpc-status 1.
    pub const CANCELLED: Self = Self(1 << 9);
    /// `deadline-exceeded`: grpc-status 4.
    pub const DEADLINE_EXCEEDED: Self = Self(1 << 10);
    /// `resource-exhausted`: grpc-status 8.
    pub const RESOURCE_EXHAUSTED: Self = Self(1 << 11);
    /// `internal`: grpc-status 13.
    pub const INTERNAL: Self = Self(1 << 12);
    /// `unavailable`: grpc-status 14.
    pub const UNAVAILABLE: Self = Self(1 << 13);

    /// The conditions of a comma list, those of `x-envoy-retry-on` and of `x-envoy-retry-grpc-on`. Blanks around a
    /// word do not count; words that are none of the conditions, numbers among them, are ignored.
    pub fn parse(list: &[u8]) -> Self {
        list.split(|byte| *byte == b',').fold(Self::NONE, |set, word| set | Self::condition(word.trim_ascii()))
    }

    /// Whether any of `conditions` is in the set.
    pub fn has_any(self, conditions: Self) -> bool {
        self.0 & conditions.0 != 0
    }

    fn condition(word: &[u8]) -> Self {
        match word {
            b"5xx" => Self::FIVE_XX,
            b"gateway-error" => Self::GATEWAY_ERROR,
            b"reset" => Self::RESET,
            b"connect-failure" => Self::CONNECT_FAILURE,
            b"reset-before-request" => Self::RESET_BEFORE_REQUEST,
            b"refused-stream" => Self::REFUSED_STREAM,
            b"retriable-4xx" => Self::RETRIABLE_4XX,
            b"retriable-status-codes" => Self::RETRIABLE_STATUS_CODES,
            b"envoy-ratelimited" => Self::RATE_LIMITED,
            b"cancelled" => Self::CANCELLED,
            b"deadline-exceeded" => Self::DEADLINE_EXCEEDED,
            b"resource-exhausted" => Self::RESOURCE_EXHAUSTED,
            b"internal" => Self::INTERNAL,
            b"unavailable" => Self::UNAVAILABLE,
            _ => Self::NONE,
        }
    }
}

impl BitOr for RetryOn {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for RetryOn {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// How an attempt failed, or what it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptFailure {
    /// No connection could be made: refused, timed out, or TLS failed.
    ConnectFailure,
    /// The connection ended before any of the request was sent.
    ResetBeforeRequest,
    /// The connection or stream ended after the request was sent, before the answer's headers.
    ResetBeforeHeaders,
    /// The upstream reset the stream with REFUSED_STREAM: it has not looked at the request.
    RefusedStream,
    /// The time of this attempt ran out before the answer's headers.
    PerTryTimeout,
    /// The upstream answered with this status. Never for a local reply.
    Status(u16),
    /// The upstream answered with this grpc-status in its headers.
    GrpcStatus(u32),
    /// The upstream answered with `x-envoy-ratelimited`.
    RateLimited,
    /// No room under a circuit breaker, here or, by `x-envoy-overloaded`, in a proxy further on.
    Overflow,
    /// The time of the route ran out.
    RouteTimeout,
}

/// What is retried, how often and how fast (VirtualService `retries`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The conditions; none means no retry.
    pub on: RetryOn,
    /// The statuses of [`RetryOn::RETRIABLE_STATUS_CODES`].
    pub status_codes: Vec<u16>,
    /// The retries after the first attempt; 0: none.
    pub max_retries: u32,
    /// The time of one attempt; None: the route's alone.
    pub per_try_timeout: Option<Duration>,
    /// Before the first retry at most this long.
    pub back_off_base: Duration,
    /// Before any retry at most this long.
    pub back_off_max: Duration,
}

impl RetryPolicy {
    /// Istio's policy where a route names none: two retries when the request cannot have been acted on, or gRPC says
    /// that it was not. An answer 503 is not retried.
    pub fn default_istio() -> Self {
        let conditions = [
            RetryOn::CONNECT_FAILURE,
            RetryOn::REFUSED_STREAM,
            RetryOn::UNAVAILABLE,
            RetryOn::CANCELLED,
            RetryOn::RETRIABLE_STATUS_CODES,
        ];
        let on = conditions.into_iter().fold(RetryOn::NONE, BitOr::bitor);
        Self { on, max_retries: 2, ..Self::none() }
    }

    /// Istio's policy for requests to the own workload: two retries while nothing of the request was sent.
    pub fn default_inbound() -> Self {
        Self { on: RetryOn::RESET_BEFORE_REQUEST, max_retries: 2, ..Self::none() }
    }

    /// No retry at all.
    pub fn none() -> Self {
        let back_off_base = Duration::from_millis(25);
        Self {
            on: RetryOn::NONE,
            status_codes: Vec::new(),
            max_retries: 0,
            per_try_timeout: None,
            back_off_base,
            back_off_max: back_off_base.saturating_mul(10),
        }
    }

    /// Replaces the conditions by those of Istio's `retryOn`: as [`RetryOn::parse`], and numbers are statuses.
    #[must_use]
    pub fn with_retry_on(mut self, list: &[u8]) -> Self {
        let words = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        self.status_codes = words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok()).collect();
        self.on = RetryOn::parse(list);
        if !self.status_codes.is_empty() {
            self.on |= RetryOn::RETRIABLE_STATUS_CODES;
        }
        self
    }

    /// Sets the base of the back-off; the most is ten times that, as in Envoy.
    #[must_use]
    pub fn with_back_off(mut self, base: Duration) -> Self {
        self.back_off_base = base;
        self.back_off_max = base.saturating_mul(10);
        self
    }

    /// Whether one more retry is within [`Self::max_retries`] after `retries` of them.
    pub fn has_retries_left(&self, retries: u32) -> bool {
        retries < self.max_retries
    }

    /// Whether the conditions name this failure. The number of retries, the retry circuit breaker and whether the
    /// body is still at hand are the caller's to ask.
    pub fn should_retry(&self, failure: &AttemptFailure) -> bool {
        use RetryOn as On;
        let without_answer = On::FIVE_XX | On::GATEWAY_ERROR | On::RESET;
        let conditions = match failure {
            AttemptFailure::ConnectFailure => without_answer | On::CONNECT_FAILURE | On::RESET_BEFORE_REQUEST,
            AttemptFailure::ResetBeforeRequest => without_answer | On::RESET_BEFORE_REQUEST,
            AttemptFailure::ResetBeforeHeaders | AttemptFailure::PerTryTimeout => without_answer,
            AttemptFailure::RefusedStream => without_answer | On::REFUSED_STREAM,
            AttemptFailure::Status(status) => self.conditions_of_status(*status),
            AttemptFailure::GrpcStatus(status) => conditions_of_grpc_status(*status),
            AttemptFailure::RateLimited => On::RATE_LIMITED,
            AttemptFailure::Overflow | AttemptFailure::RouteTimeout => On::NONE,
        };
        self.on.has_any(conditions)
    }

    /// Whether the conditions name an upstream's answer, by its status and headers: a proxy further on that is
    /// overloaded is left alone, one that limits the rate too unless the conditions say so, and a gRPC answer counts
    /// both by its status and its grpc-status.
    pub fn should_retry_answer(&self, status: u16, headers: &HeaderList) -> bool {
        if headers.get("x-envoy-overloaded").is_some() {
            return self.should_retry(&AttemptFailure::Overflow);
        }
        if headers.get("x-envoy-ratelimited").is_some() {
            return self.should_retry(&AttemptFailure::RateLimited);
        }
        let grpc = headers.get("grpc-status").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        self.should_retry(&AttemptFailure::Status(status))
            || grpc.is_some_and(|status| self.should_retry(&AttemptFailure::GrpcStatus(status)))
    }

    /// How long to wait before retry number `attempt` (the first is 1): by `draw` anything below base × 2^(attempt-1),
    /// and below the most. Fully jittered, as in Envoy: clients that failed together do not come back together.
    pub fn back_off(&self, attempt: u32, draw: u64) -> Duration {
        let doubled = 1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let bound = self.back_off_base.saturating_mul(doubled).min(self.back_off_max);
        let bound = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(draw.checked_rem(bound).unwrap_or(0))
    }

    fn conditions_of_status(&self, status: u16) -> RetryOn {
        let mut conditions = match status {
            502..=504 => RetryOn::FIVE_XX | RetryOn::GATEWAY_ERROR,
            500..=599 => RetryOn::FIVE_XX,
            409 => RetryOn::RETRIABLE_4XX,
            _ => RetryOn::NONE,
        };
        if self.status_codes.contains(&status) {
            conditions |= RetryOn::RETRIABLE_STATUS_CODES;
        }
        conditions
    }
}

fn conditions_of_grpc_status(status: u32) -> RetryOn {
    match status {
        1 => RetryOn::CANCELLED,
        4 => RetryOn::DEADLINE_EXCEEDED,
        8 => RetryOn::RESOURCE_EXHAUSTED,
        13 => RetryOn::INTERNAL,
        14 => RetryOn::UNAVAILABLE,
        _ => RetryOn::NONE,
    }
}
