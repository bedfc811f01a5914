//! The plugin configuration as written.

use filter_api::Rule;
use http_match::StringMatch;
use plugin_config::{Duration, ListMap};

plugin_config::object! {
    /// The plugin configuration.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Config {
        /// Route id (property `outrigger.route`) → policy.
        pub routes: ListMap<CorsPolicy> = "routes",
        /// Policies with a match list of their own; the first that matches applies.
        pub rules: Vec<Rule<CorsPolicy>> = "rules",
    }

    /// Istio's `CorsPolicy`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct CorsPolicy {
        /// Origins that may read responses. An exact `*` is any origin, as is whatever else `*` satisfies: `regex: .*`.
        pub allow_origins: Vec<StringMatch> = "allowOrigins",
        /// The deprecated list of exact origins, read when `allowOrigins` is empty.
        pub allow_origin: Vec<String> = "allowOrigin",
        /// Methods a preflight is told; `*` alone tells it the method it asked for.
        pub allow_methods: Vec<String> = "allowMethods",
        /// Headers a preflight is told; `*` alone tells it those it asked for.
        pub allow_headers: Vec<String> = "allowHeaders",
        /// Response headers a page may read.
        pub expose_headers: Vec<String> = "exposeHeaders",
        /// How long a preflight may be remembered, in whole seconds.
        pub max_age: Option<Duration> = "maxAge",
        /// Whether cookies may be sent.
        pub allow_credentials: Option<bool> = "allowCredentials",
        /// What happens to a preflight of another origin.
        pub unmatched_preflights: UnmatchedPreflights = "unmatchedPreflights" or UnmatchedPreflights::Unspecified,
    }
}

plugin_config::keyword! {
    /// What happens to a preflight whose origin is not allowed.
    pub enum UnmatchedPreflights {
        /// As `FORWARD`.
        Unspecified = "UNSPECIFIED",
        /// It goes to the upstream like any request.
        Forward = "FORWARD",
        /// It is answered without `access-control-allow-origin`.
        Ignore = "IGNORE",
    }
}
