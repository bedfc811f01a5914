//! The plugin configuration as written.

use filter_api::{HeadersConfig, Rule};
use plugin_config::{Duration, ListMap};

/// The header that names the drawn cluster; a proxy's one route has it as `cluster_header`.
pub(crate) const CLUSTER_HEADER: &str = "x-outrigger-cluster";
/// The header that carries the key for consistent hashing; a proxy's hash policy names it.
pub(crate) const HASH_HEADER: &str = "x-outrigger-hash";

plugin_config::object! {
    /// The plugin configuration.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Config {
        /// The request header that gets the drawn destination's `cluster`. Another name lets the proxy's own routes match
        /// on it.
        pub header: String = "header" or CLUSTER_HEADER.to_owned(),
        /// The request header that gets the key for consistent hashing, where a policy has `hash`.
        pub hash_header: String = "hashHeader" or HASH_HEADER.to_owned(),
        /// Route id (property `outrigger.route`) → destinations.
        pub routes: ListMap<ShiftingPolicy> = "routes",
        /// Destinations with a match list of their own; the first that matches applies.
        pub rules: Vec<Rule<ShiftingPolicy>> = "rules",
    }

    /// The destinations of one route.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ShiftingPolicy {
        /// One gets everything; of several each gets weight ÷ sum of weights.
        pub destinations: Vec<Destination> = "destinations",
        /// Route-level header operations. They stand here, and not with the route, where destinations have operations of
        /// their own: then the order in which the two act depends on how many destinations there are.
        pub headers: Option<HeadersConfig> = "headers",
        /// Keeps a client with the destination it got.
        pub sticky: Option<Sticky> = "sticky",
        /// What the proxy's consistent hashing goes by.
        pub hash: Option<HashKey> = "hash",
    }

    /// A destination.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Destination {
        /// The value the header gets.
        pub cluster: String = "cluster",
        /// Its weight; of several destinations one without a weight gets nothing.
        pub weight: Option<u32> = "weight",
        /// Destination-level header operations.
        pub headers: Option<HeadersConfig> = "headers",
    }

    /// Where the key of a client is: exactly one of the two.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Sticky {
        /// In a header.
        pub header: Option<String> = "header",
        /// In a cookie.
        pub cookie: Option<Cookie> = "cookie",
    }

    /// A cookie (Istio's `HTTPCookie`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct Cookie {
        /// Its name.
        pub name: String = "name",
        /// Its path, when it is set here.
        pub path: Option<String> = "path",
        /// How long it lasts; `0s`: as long as the browser. Without it none is set for a client that has none.
        pub ttl: Option<Duration> = "ttl",
    }

    /// Istio's `consistentHash` keys: exactly one.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HashKey {
        /// The value of a header.
        pub http_header_name: Option<String> = "httpHeaderName",
        /// The value of a cookie.
        pub http_cookie: Option<Cookie> = "httpCookie",
        /// The client's address.
        pub use_source_ip: bool = "useSourceIp",
        /// The value of a query parameter.
        pub http_query_parameter_name: Option<String> = "httpQueryParameterName",
    }
}
