//! Why a response is not what the upstream said: Envoy's response flags.

use std::fmt;

/// A set of response flags that remembers in which order they were set, as Envoy's does: an HTTP stream whose retries
/// were used up has `URX,UF`, a TCP connection `UF,URX`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ResponseFlags {
    set: u32,
    /// The bits' numbers, five bits each, the first set lowest. A seventh flag has no place: no stream has as many.
    order: u32,
}

/// Every flag with its short name.
const NAMES: [(ResponseFlags, &str); 20] = [
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
    (ResponseFlags::DNS_RESOLUTION_FAILED, "DF"),
    (ResponseFlags::UNAUTHORIZED_EXTERNAL_SERVICE, "UAEX"),
    (ResponseFlags::LOCAL_RESET, "LR"),
];

/// Bits of a place in the order, and those of the first.
const PLACE: u32 = 5;
const LAST: u32 = (1 << PLACE) - 1;

impl ResponseFlags {
    /// `UH`: no endpoint is healthy.
    pub const NO_HEALTHY_UPSTREAM: Self = Self::of(1);
    /// `UT`: the upstream took too long.
    pub const UPSTREAM_REQUEST_TIMEOUT: Self = Self::of(2);
    /// `LR`: the proxy reset the stream.
    pub const LOCAL_RESET: Self = Self::of(3);
    /// `UR`: the upstream reset the stream.
    pub const UPSTREAM_REMOTE_RESET: Self = Self::of(4);
    /// `UF`: no connection could be made.
    pub const UPSTREAM_CONNECTION_FAILURE: Self = Self::of(5);
    /// `UC`: the upstream closed the connection.
    pub const UPSTREAM_CONNECTION_TERMINATION: Self = Self::of(6);
    /// `UO`: a circuit breaker is at its limit.
    pub const UPSTREAM_OVERFLOW: Self = Self::of(7);
    /// `NR`: no route.
    pub const NO_ROUTE_FOUND: Self = Self::of(8);
    /// `DI`: a delay was injected.
    pub const DELAY_INJECTED: Self = Self::of(9);
    /// `FI`: an abort was injected.
    pub const FAULT_INJECTED: Self = Self::of(10);
    /// `UAEX`: the external authorization service said no.
    pub const UNAUTHORIZED_EXTERNAL_SERVICE: Self = Self::of(12);
    /// `DC`: the client went away.
    pub const DOWNSTREAM_CONNECTION_TERMINATION: Self = Self::of(14);
    /// `URX`: every retry was used.
    pub const UPSTREAM_RETRY_LIMIT_EXCEEDED: Self = Self::of(15);
    /// `SI`: nothing was heard on the stream for too long.
    pub const STREAM_IDLE_TIMEOUT: Self = Self::of(16);
    /// `DPE`: what the client sent is no HTTP that may be passed on.
    pub const DOWNSTREAM_PROTOCOL_ERROR: Self = Self::of(18);
    /// `UPE`: what the upstream sent is none.
    pub const UPSTREAM_PROTOCOL_ERROR: Self = Self::of(21);
    /// `DT`: the stream lasted too long.
    pub const DURATION_TIMEOUT: Self = Self::of(23);
    /// `NC`: the cluster that the route names does not exist.
    pub const NO_CLUSTER_FOUND: Self = Self::of(25);
    /// `OM`: the proxy is overloaded.
    pub const OVERLOAD_MANAGER: Self = Self::of(26);
    /// `DF`: a name could not be looked up.
    pub const DNS_RESOLUTION_FAILED: Self = Self::of(27);

    /// No flag.
    pub const NONE: Self = Self { set: 0, order: 0 };

    const fn of(bit: u32) -> Self {
        Self { set: 1 << bit, order: bit }
    }

    /// What Envoy's own filter sets where a filter of ours replies with these details.
    pub fn of_details(details: &str) -> Self {
        match details {
            "route_not_found" => Self::NO_ROUTE_FOUND,
            "fault_filter_abort" => Self::FAULT_INJECTED,
            _ => Self::NONE,
        }
    }

    /// What Envoy's own filters set while a request is on its way, by what ours leave as properties.
    pub fn of_properties(properties: &[(Vec<u8>, Vec<u8>)]) -> Self {
        match properties.iter().any(|(name, _)| name == b"outrigger.delay_injected") {
            true => Self::DELAY_INJECTED,
            false => Self::NONE,
        }
    }

    /// Both sets; `other` was set later.
    pub const fn and(mut self, other: Self) -> Self {
        let mut later = other.order;
        while later != 0 {
            let bit = later & LAST;
            if self.set & 1 << bit == 0 {
                let taken = u32::BITS - self.order.leading_zeros();
                // No bit's number is 0: where the last one is shows how many there are.
                let place = taken.div_ceil(PLACE) * PLACE;
                if place < PLACE * 6 {
                    self.order |= bit << place;
                }
                self.set |= 1 << bit;
            }
            later >>= PLACE;
        }
        self
    }

    /// Whether all of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.set & other.set == other.set
    }

    /// The number that Envoy's `response.flags` attribute has: a bit for each.
    pub const fn bits(self) -> u32 {
        self.set >> 1
    }
}

/// The short names, with commas; `-` for none.
impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.set == 0 {
            return f.write_str("-");
        }
        let places = (0..6).map(|place| self.order >> (place * PLACE) & LAST).take_while(|bit| *bit != 0);
        places.enumerate().try_for_each(|(number, bit)| {
            let name = NAMES.iter().find(|(flag, _)| flag.order == bit).map_or("", |(_, name)| name);
            write!(f, "{}{name}", if number == 0 { "" } else { "," })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let retried = ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED.and(ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
        assert_eq!(retried.to_string(), "URX,UF");
        assert_eq!(retried.and(retried), retried);
        assert_eq!(ResponseFlags::UPSTREAM_CONNECTION_FAILURE.and(retried).to_string(), "UF,URX");
        let all = NAMES.iter().fold(ResponseFlags::NONE, |all, (flag, _)| all.and(*flag));
        assert!(NAMES.iter().all(|(flag, _)| all.has(*flag)));
        assert_eq!(all.to_string(), "UH,UF,UO,NR,URX,NC");
        assert_eq!(ResponseFlags::NONE.to_string(), "-");
        assert!(NAMES.iter().all(|(flag, name)| flag.to_string() == *name));
    }
}
