//! Why a response is not what the upstream said: Envoy's response flags.

use std::fmt;

/// A set of response flags.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ResponseFlags(u32);

/// Every flag with its short name, in the order in which several are written.
const NAMES: [(ResponseFlags, &str); 19] = [
    (ResponseFlags::NO_HEALTHY_UPSTREAM, "UH"),
    (ResponseFlags::UPSTREAM_CONNECTION_FAILURE, "UF"),
    (ResponseFlags::UPSTREAM_OVERFLOW, "UO"),
    (ResponseFlags::NO_ROUTE_FOUND, "NR"),
    (ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED, "URX"),
    (ResponseFlags::NO_CLUSTER_FOUND, "NC"),
    (ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION, "DC"),
    (ResponseFlags::UPSTREAM_REQUEST_TIMEOUT, "UT"),
    (ResponseFlags::UPSTREAM_REMOTE_RESET, "UR"),
    (ResponseFlags::UPSTREAM_CONNECTION_TERMINATION, "UC"),
    (ResponseFlags::DELAY_INJECTED, "DI"),
    (ResponseFlags::FAULT_INJECTED, "FI"),
    (ResponseFlags::STREAM_IDLE_TIMEOUT, "SI"),
    (ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR, "DPE"),
    (ResponseFlags::UPSTREAM_PROTOCOL_ERROR, "UPE"),
    (ResponseFlags::OVERLOAD_MANAGER, "OM"),
    (ResponseFlags::DURATION_TIMEOUT, "DT"),
    (ResponseFlags::UNAUTHORIZED_EXTERNAL_SERVICE, "UAEX"),
    (ResponseFlags::LOCAL_RESET, "LR"),
];

impl ResponseFlags {
    /// `UH`: no endpoint is healthy.
    pub const NO_HEALTHY_UPSTREAM: Self = Self(1 << 1);
    /// `UT`: the upstream took too long.
    pub const UPSTREAM_REQUEST_TIMEOUT: Self = Self(1 << 2);
    /// `LR`: the proxy reset the stream.
    pub const LOCAL_RESET: Self = Self(1 << 3);
    /// `UR`: the upstream reset the stream.
    pub const UPSTREAM_REMOTE_RESET: Self = Self(1 << 4);
    /// `UF`: no connection could be made.
    pub const UPSTREAM_CONNECTION_FAILURE: Self = Self(1 << 5);
    /// `UC`: the upstream closed the connection.
    pub const UPSTREAM_CONNECTION_TERMINATION: Self = Self(1 << 6);
    /// `UO`: a circuit breaker is at its limit.
    pub const UPSTREAM_OVERFLOW: Self = Self(1 << 7);
    /// `NR`: no route.
    pub const NO_ROUTE_FOUND: Self = Self(1 << 8);
    /// `DI`: a delay was injected.
    pub const DELAY_INJECTED: Self = Self(1 << 9);
    /// `FI`: an abort was injected.
    pub const FAULT_INJECTED: Self = Self(1 << 10);
    /// `UAEX`: the external authorization service said no.
    pub const UNAUTHORIZED_EXTERNAL_SERVICE: Self = Self(1 << 12);
    /// `DC`: the client went away.
    pub const DOWNSTREAM_CONNECTION_TERMINATION: Self = Self(1 << 14);
    /// `URX`: every retry was used.
    pub const UPSTREAM_RETRY_LIMIT_EXCEEDED: Self = Self(1 << 15);
    /// `SI`: nothing was heard on the stream for too long.
    pub const STREAM_IDLE_TIMEOUT: Self = Self(1 << 16);
    /// `DPE`: what the client sent is no HTTP that may be passed on.
    pub const DOWNSTREAM_PROTOCOL_ERROR: Self = Self(1 << 18);
    /// `UPE`: what the upstream sent is none.
    pub const UPSTREAM_PROTOCOL_ERROR: Self = Self(1 << 21);
    /// `DT`: the stream lasted too long.
    pub const DURATION_TIMEOUT: Self = Self(1 << 23);
    /// `NC`: the cluster that the route names does not exist.
    pub const NO_CLUSTER_FOUND: Self = Self(1 << 25);
    /// `OM`: the proxy is overloaded.
    pub const OVERLOAD_MANAGER: Self = Self(1 << 26);

    /// No flag.
    pub const NONE: Self = Self(0);

    /// Both sets.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The number that Envoy's `response.flags` attribute has: a bit for each.
    pub const fn bits(self) -> u32 {
        self.0 >> 1
    }
}

/// The short names, with commas; `-` for none.
impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| name);
        f.write_str(names.next().unwrap_or(&"-"))?;
        names.try_for_each(|name| write!(f, ",{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let retried = ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED.and(ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
        assert_eq!(retried.to_string(), "UF,URX");
        assert_eq!(ResponseFlags::NONE.to_string(), "-");
        assert!(NAMES.iter().all(|(flag, name)| flag.to_string() == *name));
    }
}
