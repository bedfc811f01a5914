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
    /// For the whole of it.
    pub(crate) timeout: Option<Duration>,
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
        let mut route = Self { cluster, timeout: None, retry: default_retry.clone(), key: None };
        let mut conditions = None;
        for (name, value) in headers.iter() {
            if name.first() == Some(&b'x') && (name.starts_with(b"x-envoy-") || name == KEY.as_bytes()) {
                route.read(name, value, &mut conditions);
            }
        }
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
        let control = name.starts_with(b"x-outrigger-")
            || name == own.as_bytes()
            || matches!(
                name,
                b"x-envoy-upstream-rq-timeout-ms"
                    | b"x-envoy-upstream-rq-per-try-timeout-ms"
                    | b"x-envoy-max-retries"
                    | b"x-envoy-retry-on"
                    | b"x-envoy-retry-grpc-on"
                    | b"x-envoy-retriable-status-codes"
            );
        !control
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

fn number(value: &[u8]) -> Option<u64> {
    str::from_utf8(value).ok()?.parse().ok()
}
