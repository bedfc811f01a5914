//! The plugin configuration as written.

use filter_api::Rule;
use plugin_config::{Duration, ListMap, Percent};
use std::time::Duration as Time;

/// Largest body that is copied: what Envoy buffers per stream by default, so a copy costs a request no more memory than
/// a retry would.
const MAX_BODY_BYTES: u32 = 1 << 20;
/// Copies in flight per VM: a mirror that hangs holds no more than so many bodies.
const MAX_IN_FLIGHT: u32 = 100;
/// How long a copy may take. Its answer is not wanted, but its place is.
const TIMEOUT: Duration = Duration(Time::from_secs(15));

plugin_config::object! {
    /// The plugin configuration.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Config {
        /// Largest body that is copied, in bytes; a request with a larger one gets no copy, and is counted.
        pub max_body_bytes: u32 = "maxBodyBytes" or MAX_BODY_BYTES,
        /// Copies in flight at once per VM; more are not sent, and counted.
        pub max_in_flight: u32 = "maxInFlight" or MAX_IN_FLIGHT,
        /// How long a copy may take.
        pub timeout: Duration = "timeout" or TIMEOUT,
        /// Whether a copy's authority gets Envoy's classic suffix `-shadow`; Istio does without since 1.28.
        pub shadow_host_suffix: bool = "shadowHostSuffix",
        /// Route id (property `outrigger.route`) → mirrors.
        pub routes: ListMap<MirrorPolicy> = "routes",
        /// Mirrors with a match list of their own; the first that matches applies.
        pub rules: Vec<Rule<MirrorPolicy>> = "rules",
    }

    /// Where copies go: `mirror`, or `mirrors`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct MirrorPolicy {
        /// One mirror.
        pub mirror: Option<Mirror> = "mirror",
        /// Its share. Absent, and no `mirrorPercent`: every request.
        pub mirror_percentage: Option<Percent> = "mirrorPercentage",
        /// Its share as the deprecated whole percentage, read when `mirrorPercentage` is absent.
        pub mirror_percent: Option<u32> = "mirrorPercent",
        /// Any number of mirrors, each with a draw of its own.
        pub mirrors: Vec<Mirror> = "mirrors",
    }

    /// A mirror.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Mirror {
        /// The proxy's cluster that copies are sent to.
        pub cluster: String = "cluster",
        /// The share of requests that are copied. Absent: every request. In `mirror` it stands outside.
        pub percentage: Option<Percent> = "percentage",
    }
}
