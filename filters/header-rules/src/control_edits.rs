//! Request headers that steer the proxy: those a client may not send, and those a route sends instead.

use crate::config::RetriesConfig;
use filter_api::{HeaderEdit, HostError, Stream};
use plugin_config::{At, Duration, Quoted, joined};

/// What Istio's default condition list asks for; the list of status codes that goes with it is empty.
const DEFAULT_CONDITIONS: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

const HTTP_CONDITIONS: [&str; 11] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
];

const GRPC_CONDITIONS: [&str; 5] = ["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"];

/// What Envoy takes from internal clients only; the address lists that make a client internal are empty by default.
const ENVOY_CONTROL: [&str; 14] = [
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-ms",
];

/// Removes what a client could steer the proxy with: Envoy's control headers, ours (`x-outrigger-…`), and the one
/// that carries a cluster.
pub(crate) fn strip(cluster_header: &str, stream: &mut Stream<'_>) -> Result<(), HostError> {
    let headers = stream.request_headers()?;
    let mut unwanted: Vec<String> = Vec::new();
    for name in headers.names() {
        if is_control(name) || name == cluster_header.as_bytes() {
            unwanted.extend(std::str::from_utf8(name).ok().map(str::to_owned));
        }
    }
    unwanted.into_iter().try_for_each(|name| stream.edit_request(&HeaderEdit::Remove(name)))
}

#[inline(always)]
fn is_control(name: &[u8]) -> bool {
    match name {
        [b'x', b'-', b'o', ..] => name.starts_with(b"x-outrigger-"),
        [b'x', b'-', b'e', ..] => ENVOY_CONTROL.iter().any(|known| known.as_bytes() == name),
        _ => false,
    }
}

/// Compiles a route's timeout.
pub(crate) fn compile_timeout(timeout: Duration, at: &mut At) -> Option<HeaderEdit> {
    let millis = compile_millis(timeout, at)?;
    Some(set("x-envoy-upstream-rq-timeout-ms", &millis))
}

/// Compiles a route's retries.
pub(crate) fn compile_retries(written: &RetriesConfig, at: &mut At) -> Option<Vec<HeaderEdit>> {
    let per_try = at.field("perTryTimeout", |at| match written.per_try_timeout {
        Some(timeout) => compile_millis(timeout, at).map(Some),
        None => Some(None),
    });
    let conditions =
        at.field("retryOn", |at| Conditions::compile(written.retry_on.as_deref().unwrap_or(DEFAULT_CONDITIONS), at));
    if written.attempts == 0 && (written.per_try_timeout.is_some() || written.retry_on.is_some()) {
        let reason = "0 switches retries off: perTryTimeout and retryOn cannot be given with it";
        return at.field("attempts", |at| at.fault(0, reason));
    }
    let (per_try, conditions) = (per_try?, conditions?);
    let mut edits = vec![set("x-envoy-max-retries", &written.attempts.to_string())];
    if written.attempts > 0 {
        edits.extend(per_try.map(|millis| set("x-envoy-upstream-rq-per-try-timeout-ms", &millis)));
        edits.extend(conditions.edits());
    }
    Some(edits)
}

/// `retryOn`, sorted into the headers that carry it.
#[derive(Default)]
struct Conditions {
    http: Vec<String>,
    grpc: Vec<String>,
    statuses: Vec<String>,
}

impl Conditions {
    fn compile(text: &str, at: &mut At) -> Option<Self> {
        let mut conditions = Self::default();
        for word in text.split(',') {
            if HTTP_CONDITIONS.contains(&word) {
                conditions.http.push(word.to_owned());
            } else if GRPC_CONDITIONS.contains(&word) {
                conditions.grpc.push(word.to_owned());
            } else if is_status(word) {
                conditions.statuses.push(word.to_owned());
            } else {
                let known = joined(&mut HTTP_CONDITIONS.into_iter().chain(GRPC_CONDITIONS), ", ");
                let reason = format!("{} is no condition: expected a status or one of {known}", Quoted(word));
                return at.fault(Quoted(text), reason);
            }
        }
        let codes = "retriable-status-codes";
        if !conditions.statuses.is_empty() && !conditions.http.iter().any(|condition| condition == codes) {
            conditions.http.push(codes.to_owned());
        }
        Some(conditions)
    }

    fn edits(&self) -> impl Iterator<Item = HeaderEdit> {
        let headers = [
            ("x-envoy-retry-on", &self.http),
            ("x-envoy-retry-grpc-on", &self.grpc),
            ("x-envoy-retriable-status-codes", &self.statuses),
        ];
        headers
            .into_iter()
            .filter(|(_, words)| !words.is_empty())
            .map(|(name, words)| set(name, &joined(&mut words.iter().map(String::as_str), ",")))
    }
}

fn is_status(word: &str) -> bool {
    word.len() == 3 && word.parse::<u16>().is_ok_and(|status| (100..=599).contains(&status))
}

fn compile_millis(duration: Duration, at: &mut At) -> Option<String> {
    match duration.whole_millis() {
        Some(millis) if millis > 0 => Some(millis.to_string()),
        _ => at.fault(duration, "expected at least 1ms, in whole milliseconds"),
    }
}

fn set(name: &str, value: &str) -> HeaderEdit {
    HeaderEdit::Set(name.to_owned(), value.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(written: &RetriesConfig) -> Result<Vec<(String, String)>, Vec<String>> {
        let mut at = At::root();
        let edits = compile_retries(written, &mut at);
        let text = |edit| match edit {
            HeaderEdit::Set(name, value) => (name, String::from_utf8(value).unwrap()),
            other => panic!("{other:?}"),
        };
        match edits {
            Some(edits) => Ok(edits.into_iter().map(text).collect()),
            None => Err(at.into_faults().iter().map(|fault| fault.path.clone()).collect()),
        }
    }

    fn retries(attempts: u32, per_try: Option<u64>, retry_on: Option<&str>) -> RetriesConfig {
        let per_try_timeout = per_try.map(|nanos| Duration(std::time::Duration::from_nanos(nanos)));
        RetriesConfig { attempts, per_try_timeout, retry_on: retry_on.map(Into::into) }
    }

    #[test]
    fn retries_become_headers() {
        let pairs = |expected: &[(&str, &str)]| {
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(headers(&retries(0, None, None)), Ok(pairs(&[("x-envoy-max-retries", "0")])));
        let default = [
            ("x-envoy-max-retries", "3"),
            ("x-envoy-upstream-rq-per-try-timeout-ms", "250"),
            ("x-envoy-retry-on", "connect-failure,refused-stream,retriable-status-codes"),
            ("x-envoy-retry-grpc-on", "unavailable,cancelled"),
        ];
        assert_eq!(headers(&retries(3, Some(250_000_000), None)), Ok(pairs(&default)));
        let codes = [
            ("x-envoy-max-retries", "1"),
            ("x-envoy-retry-on", "5xx,retriable-status-codes"),
            ("x-envoy-retriable-status-codes", "409,503"),
        ];
        assert_eq!(headers(&retries(1, None, Some("409,5xx,503"))), Ok(pairs(&codes)));
    }

    #[test]
    fn refuses_what_istio_refuses() {
        for (written, path) in [
            (retries(0, Some(1_000_000), None), "attempts"),
            (retries(0, None, Some("5xx")), "attempts"),
            (retries(1, Some(0), None), "perTryTimeout"),
            (retries(1, Some(1_500_000), None), "perTryTimeout"),
            (retries(1, None, Some("5xx, reset")), "retryOn"),
            (retries(1, None, Some("")), "retryOn"),
            (retries(1, None, Some("600")), "retryOn"),
            (retries(1, None, Some("always")), "retryOn"),
        ] {
            assert_eq!(headers(&written), Err(vec![path.to_owned()]), "{written:?}");
        }
    }

    #[test]
    fn control_headers_are_those_that_steer() {
        for name in ["x-outrigger-cluster", "x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms", "x-envoy-internal"] {
            assert!(is_control(name.as_bytes()), "{name}");
        }
        for name in ["x-envoy-original-path", "x-envoy-attempt-count", "x-envoy-fault-abort-request", "x-outrig", "x"] {
            assert!(!is_control(name.as_bytes()), "{name}");
        }
    }
}
