//! What the filters have decided about a request: cluster, timeouts, retries, key. They say it in headers.

use crate::http::authority::{normalize_authority, scheme_port};
use crate::proxy_error::ProxyError;
use crate::upstream::retry::{RetryOn, RetryPolicy};
use crate::upstream::{Cluster, ClusterSet};
use compiler::snapshot::Destination;
use http_match::HeaderList;
use std::rc::Rc;
use std::time::Duration;

/// The header whose value is hashed for clusters that choose endpoints by key.
const KEY: &str = "x-outrigger-hash";

/// What is to be done with a request.
pub(crate) struct Route {
    pub(crate) cluster: Rc<Cluster>,
    /// For the whole of it, from when all of the request has come.
    pub(crate) timeout: Option<Duration>,
    /// What the client gives it (`grpc-timeout`), from its beginning; no more than `timeout`.
    pub(crate) client_timeout: Option<Duration>,
    pub(crate) retry: Rc<RetryPolicy>,
    pub(crate) key: Option<Vec<u8>>,
}

impl Route {
    /// Reads what the filters decided.
    pub(crate) fn of(
        headers: &HeaderList,
        destination: &Destination,
        clusters: &ClusterSet,
        default_retry: &Rc<RetryPolicy>,
    ) -> Result<Self, ProxyError> {
        let name = match destination {
            Destination::Cluster(name) => name.as_str(),
            Destination::ClusterHeader { name, default } => match headers.get(name) {
                Some(value) => str::from_utf8(value).map_err(|_| ProxyError::NoCluster)?,
                None => default.as_deref().ok_or(ProxyError::NoRoute)?,
            },
        };
        let cluster = clusters.get(name).cloned().ok_or(ProxyError::NoCluster)?;
        let mut route = Self { cluster, timeout: None, client_timeout: None, retry: default_retry.clone(), key: None };
        let mut conditions = None;
        for (name, value) in headers.iter() {
            if name.first() == Some(&b'x') && (name.starts_with(b"x-envoy-") || name == KEY.as_bytes()) {
                route.read(name, value, &mut conditions);
            } else if name == b"grpc-timeout" {
                route.client_timeout = grpc_timeout(value);
            }
        }
        route.client_timeout = route.client_timeout.map(|own| route.timeout.map_or(own, |limit| limit.min(own)));
        if let Some(on) = conditions {
            Rc::make_mut(&mut route.retry).on = on;
        }
        Ok(route)
    }

    /// Says in the request how long its answer may take (as Envoy's router).
    pub(crate) fn tell_upstream(&self, headers: &mut HeaderList) {
        if let Some(limit) = self.retry.per_try_timeout.or(self.timeout) {
            headers.set("x-envoy-expected-rq-timeout-ms", limit.as_millis().to_string().as_bytes());
        }
    }

    /// `conditions`: those of retries, of HTTP and gRPC together; the default's no longer count where any are named.
    fn read(&mut self, name: &[u8], value: &[u8], conditions: &mut Option<RetryOn>) {
        let milliseconds = || number(value).map(Duration::from_millis).filter(|limit| !limit.is_zero());
        match name {
            b"x-envoy-upstream-rq-timeout-ms" => self.timeout = milliseconds(),
            b"x-envoy-upstream-rq-per-try-timeout-ms" => {
                Rc::make_mut(&mut self.retry).per_try_timeout = milliseconds();
            }
            b"x-envoy-max-retries" => {
                let retries = number(value).and_then(|number| u32::try_from(number).ok());
                Rc::make_mut(&mut self.retry).max_retries = retries.unwrap_or(0);
            }
            b"x-envoy-retry-on" | b"x-envoy-retry-grpc-on" => {
                *conditions = Some(conditions.unwrap_or_default() | RetryOn::parse(value));
            }
            b"x-envoy-retriable-status-codes" => {
                let codes = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                let codes = codes.filter_map(number).filter_map(|code| u16::try_from(code).ok());
                Rc::make_mut(&mut self.retry).status_codes = codes.collect();
            }
            _ if name == KEY.as_bytes() => self.key = Some(value.to_vec()),
            _ => {}
        }
    }
}

/// What the filters tell the proxy is not for the upstream.
pub(crate) fn strip_control(headers: &mut HeaderList, destination: &Destination) {
    let own = match destination {
        Destination::ClusterHeader { name, .. } => name.as_str(),
        Destination::Cluster(_) => "",
    };
    headers.retain(|name, _| {
        let control = match name {
            [b'x', b'-', b'o', ..] => name.starts_with(b"x-outrigger-"),
            [b'x', b'-', b'e', ..] => matches!(
                name,
                b"x-envoy-upstream-rq-timeout-ms"
                    | b"x-envoy-upstream-rq-per-try-timeout-ms"
                    | b"x-envoy-max-retries"
                    | b"x-envoy-retry-on"
                    | b"x-envoy-retry-grpc-on"
                    | b"x-envoy-retriable-status-codes"
            ),
            _ => false,
        };
        !control && name != own.as_bytes()
    });
}

/// Gives the upstream the authority as the client spelt it, unless a filter has put another in its place: filters and
/// routes see the one spelling, an upstream may compare its own (as Envoy, which changes none).
pub(crate) fn restore_authority(headers: &mut HeaderList, as_sent: &[u8], secure: bool) {
    let normal = normalize_authority(as_sent, scheme_port(secure));
    if let Some(place) = headers.position(b":authority")
        && headers.at(place).is_some_and(|(_, current)| normal.is_ok_and(|normal| normal == current))
    {
        headers.replace_at(place, as_sent);
    }
}

/// What `grpc-timeout` says: at most eight digits and a unit (gRPC over HTTP/2, "Timeout"). Anything else says nothing.
fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let count = number(digits).filter(|_| digits.len() <= 8)?;
    match unit {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

fn number(value: &[u8]) -> Option<u64> {
    // Digits alone: no sign.
    crate::http::syntax::decimal(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_grpc_clients() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("0n", Some(Duration::ZERO)),
            ("100000000m", None),
            ("1s", None),
            ("+1S", None),
            ("1.5S", None),
            ("S", None),
            ("", None),
        ] {
            assert_eq!(grpc_timeout(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn the_authority_is_the_clients_unless_a_filter_says_otherwise() {
        for (now, as_sent, expected) in [
            ("a.test", "A.Test.:80", "A.Test.:80"),
            ("b.test", "A.Test.:80", "b.test"),
            ("a.test:443", "A.Test:443", "A.Test:443"),
        ] {
            let mut headers: HeaderList = [(":authority", now)].into_iter().collect();
            restore_authority(&mut headers, as_sent.as_bytes(), false);
            assert_eq!(headers.get(":authority"), Some(expected.as_bytes()), "{now} {as_sent}");
        }
    }
}
