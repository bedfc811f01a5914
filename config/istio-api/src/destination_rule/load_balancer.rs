//! Choosing an endpoint.

use crate::scalar::{Decimal, Millis, Optional, WholePercent};
use plugin_config::{Duration, ListMap};

plugin_config::object! {
    /// How an endpoint is chosen: `simple` or `consistentHash`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct LoadBalancer {
        /// A policy without settings.
        pub simple: Option<SimpleLb> = "simple",
        /// The same endpoint for the same key.
        pub consistent_hash: Option<ConsistentHash> = "consistentHash",
        /// Preference by locality, in place of the mesh's.
        pub locality_lb_setting: Option<LocalityLbSetting> = "localityLbSetting",
        /// Preference for the proxy's own zone; exclusive with `localityLbSetting`.
        pub zone_aware_lb_setting: Option<ZoneAwareLbSetting> = "zoneAwareLbSetting",
        /// The deprecated form of `warmup`.
        pub warmup_duration_secs: Option<Millis> = "warmupDurationSecs",
        /// New endpoints get their share little by little.
        pub warmup: Option<Warmup> = "warmup",
    }

    /// New endpoints get their share little by little.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Warmup {
        /// For how long.
        pub duration: Millis = "duration",
        /// The share of its weight that one starts with, 0 to 100; 10 when absent.
        pub minimum_percent: Option<Decimal> = "minimumPercent",
        /// How steeply it grows, more than 0; linearly (1) when absent.
        pub aggression: Option<Decimal> = "aggression",
    }

    /// The same endpoint for the same key: one key, and at most one algorithm.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ConsistentHash {
        /// The key is this header.
        pub http_header_name: Optional<String> = "httpHeaderName",
        /// The key is a cookie.
        pub http_cookie: Option<HttpCookie> = "httpCookie",
        /// The key is the client's address.
        pub use_source_ip: Option<bool> = "useSourceIp",
        /// The key is this query parameter.
        pub http_query_parameter_name: Optional<String> = "httpQueryParameterName",
        /// A ring; also when neither is named.
        pub ring_hash: Option<RingHash> = "ringHash",
        /// A table.
        pub maglev: Option<Maglev> = "maglev",
        /// The deprecated form of `ringHash.minimumRingSize`.
        pub minimum_ring_size: Option<u64> = "minimumRingSize",
    }

    /// The cookie that is the key.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpCookie {
        /// Its name.
        pub name: String = "name",
        /// The path it is set for.
        pub path: Optional<String> = "path",
        /// With it, a client without the cookie is given one for so long; with 0, until its browser ends.
        pub ttl: Option<Duration> = "ttl",
        /// What else is said when it is set: `SameSite=Lax`.
        pub attributes: Vec<CookieAttribute> = "attributes",
    }

    /// What else is said when a cookie is set.
    #[derive(Clone, Debug, PartialEq)]
    pub struct CookieAttribute {
        /// Its name.
        pub name: String = "name",
        /// Its value; the name alone when absent.
        pub value: Optional<String> = "value",
    }

    /// A ring.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RingHash {
        /// Least number of places on it; 1024 when absent.
        pub minimum_ring_size: Option<u64> = "minimumRingSize",
    }

    /// A table.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Maglev {
        /// Its size, a prime number below 5000011; 65537 when absent.
        pub table_size: Option<u64> = "tableSize",
    }

    /// Preference by locality: one of `distribute`, `failover`, `failoverPriority`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct LocalityLbSetting {
        /// Where traffic of a locality goes, by weight.
        pub distribute: Vec<Distribute> = "distribute",
        /// Where traffic of a region goes when its endpoints fail.
        pub failover: Vec<Failover> = "failover",
        /// Labels, the most important first: an endpoint that differs in one comes behind those that differ later.
        pub failover_priority: Vec<String> = "failoverPriority",
        /// Whether any of it holds; so when absent.
        pub enabled: Option<bool> = "enabled",
    }

    /// Where traffic of a locality goes.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Distribute {
        /// `region/zone/subzone`, each of which may be `*` at the end.
        pub from: String = "from",
        /// Localities with their weights, whose sum is 100.
        pub to: ListMap<WholePercent> = "to",
    }

    /// Where traffic of a region goes when its endpoints fail.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Failover {
        /// The region.
        pub from: String = "from",
        /// Another region.
        pub to: String = "to",
    }

    /// Preference for the proxy's own zone.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ZoneAwareLbSetting {
        /// Whether it holds.
        pub enabled: Option<bool> = "enabled",
        /// Where traffic of a region goes when its endpoints fail.
        pub failover: Vec<Failover> = "failover",
        /// Labels, the most important first, as in `localityLbSetting`.
        pub failover_priority: Vec<String> = "failoverPriority",
        /// Least number of endpoints for which it holds; 6 when absent.
        pub min_cluster_size: Option<u32> = "minClusterSize",
    }
}

plugin_config::keyword! {
    /// A policy without settings.
    pub enum SimpleLb {
        /// `LEAST_REQUEST`.
        Unspecified = "UNSPECIFIED",
        /// The deprecated name of `LEAST_REQUEST`.
        LeastConn = "LEAST_CONN",
        /// Any endpoint.
        Random = "RANDOM",
        /// The address the client asked for, whatever the endpoints.
        Passthrough = "PASSTHROUGH",
        /// One after the other.
        RoundRobin = "ROUND_ROBIN",
        /// Of two endpoints the one with fewer requests.
        LeastRequest = "LEAST_REQUEST",
    }
}
