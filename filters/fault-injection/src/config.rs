//! The plugin configuration as written.

use filter_api::Rule;
use plugin_config::{At, Duration, FromNode, ListMap, Node, Percent, ReadNode, read};

plugin_config::object! {
    /// The plugin configuration.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Config {
        /// With a seed, which requests are hit follows from their `x-request-id`: the same ids are hit again.
        pub seed: Option<Seed> = "seed",
        /// How many requests may be held or answered at once in this VM; more pass without a fault. Absent: no bound.
        pub max_active_faults: Option<u32> = "maxActiveFaults",
        /// Route id (property `outrigger.route`) → fault.
        pub routes: ListMap<FaultPolicy> = "routes",
        /// Faults with a match list of their own; the first that matches applies.
        pub rules: Vec<Rule<FaultPolicy>> = "rules",
    }

    /// Istio's `HTTPFaultInjection`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct FaultPolicy {
        /// Holds requests.
        pub delay: Option<Delay> = "delay",
        /// Answers requests.
        pub abort: Option<Abort> = "abort",
    }

    /// Istio's `HTTPFaultInjection.Delay`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Delay {
        /// How long to hold; at least 1 ms, in whole milliseconds.
        pub fixed_delay: Duration = "fixedDelay",
        /// The share of requests to hold. Absent, and no `percent`: none.
        pub percentage: Option<Percent> = "percentage",
        /// The deprecated whole percentage, read when `percentage` is absent.
        pub percent: Option<u32> = "percent",
        /// Not available in Istio: refused.
        pub exponential_delay: Option<Refused> = "exponentialDelay",
    }

    /// Istio's `HTTPFaultInjection.Abort`. Exactly one of the two statuses.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Abort {
        /// HTTP status, 200 to 599.
        pub http_status: Option<u16> = "httpStatus",
        /// Canonical gRPC code by name: `UNAVAILABLE`.
        pub grpc_status: Option<String> = "grpcStatus",
        /// Not available in Istio: refused.
        pub http2_error: Option<Refused> = "http2Error",
        /// The share of requests to answer. Absent, and no `percent`: none.
        pub percentage: Option<Percent> = "percentage",
        /// The deprecated whole percentage, read when `percentage` is absent.
        pub percent: Option<u32> = "percent",
    }
}

/// What seeded draws start from. A number reaches to 2^53, as far as JSON carries one exactly; a text has no such end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seed {
    /// `seed: 42`
    Number(u64),
    /// `seed: black friday`
    Text(String),
}

impl Default for Seed {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl ReadNode for Seed {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        match node {
            Node::String(text) => *self = Self::Text(text.as_ref().to_owned()),
            Node::Number(_) => *self = Self::Number(read(node, at)),
            other => at.refuse(other, "expected a whole number or a text"),
        }
    }
}

impl FromNode for Seed {}

#[cfg(not(target_family = "wasm"))]
impl serde::Serialize for Seed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// A field that Istio's API has and its proxies refuse: whatever stands there is a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused(());

impl ReadNode for Refused {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        at.refuse(node, "Istio's proxies do not implement this field");
    }
}

impl FromNode for Refused {}

#[cfg(not(target_family = "wasm"))]
impl serde::Serialize for Refused {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}
