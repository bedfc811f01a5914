//! Providers as configured → providers that can be asked.

use super::http::{HttpCheck, NamePattern, Names};
use super::{Protocol, Provider};
use crate::config::{self, GrpcProvider, HttpProvider, RequestBody};
use plugin_config::{At, Duration};
use std::time::Duration as Time;

/// Istio's default for providers without `timeout`.
const TIMEOUT: Time = Time::from_secs(600);

/// Compiles one provider.
pub(crate) fn compile(provider: &config::Provider, at: &mut At) -> Option<Provider> {
    let named = at.field("name", |at| check_name(&provider.name, at));
    let settings = match (&provider.http, &provider.grpc) {
        (Some(http), None) => at.field("envoyExtAuthzHttp", |at| http_provider(http, at)),
        (None, Some(grpc)) => at.field("envoyExtAuthzGrpc", |at| grpc_provider(grpc, at)),
        _ => at.fault(&provider.name, "expected exactly one of envoyExtAuthzHttp, envoyExtAuthzGrpc"),
    };
    let (Settings { cluster, timeout, fail_open, status_on_error }, protocol) = settings?;
    named.map(|()| Provider {
        cluster: cluster.into(),
        timeout,
        fail_open,
        status_on_error,
        protocol,
    })
}

/// What both kinds of providers have.
struct Settings {
    cluster: String,
    timeout: Time,
    fail_open: bool,
    status_on_error: u16,
}

fn check_name(name: &str, at: &mut At) -> Option<()> {
    let inner = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if inner && !name.is_empty() && name.len() <= 63 && !name.starts_with('-') && !name.ends_with('-') {
        return Some(());
    }
    at.fault(name, "expected a DNS label: lower-case letters, digits and inner hyphens, at most 63")
}

fn http_provider(http: &HttpProvider, at: &mut At) -> Option<(Settings, Protocol)> {
    let settings = settings(
        (http.cluster.as_deref(), http.service.as_deref(), http.port),
        http.timeout,
        (http.fail_open, http.status_on_error.as_deref()),
        at,
    );
    let body = no_body(http.include_request_body_in_check.as_ref(), at);
    let prefix = http.path_prefix.as_deref().unwrap_or_default();
    let path_prefix = match prefix {
        prefix if prefix.is_empty() || prefix.starts_with('/') => Some(prefix),
        prefix => at.field("pathPrefix", |at| at.fault(prefix, "expected a path that begins with /")),
    };
    let old = at.field("includeHeadersInCheck", |at| names(&http.include_headers_in_check, at));
    let new = at.field("includeRequestHeadersInCheck", |at| names(&http.include_request_headers_in_check, at));
    let check = HttpCheck {
        to_upstream: at.field("headersToUpstreamOnAllow", |at| names(&http.headers_to_upstream_on_allow, at))?,
        to_client_on_deny: at.field("headersToDownstreamOnDeny", |at| names(&http.headers_to_downstream_on_deny, at))?,
        to_client_on_allow: at
            .field("headersToDownstreamOnAllow", |at| names(&http.headers_to_downstream_on_allow, at))?,
        added: at.field("includeAdditionalHeadersInCheck", |at| added(http, at))?,
        path_prefix: path_prefix?.into(),
        included: if http.include_request_headers_in_check.is_empty() { old? } else { new? },
    };
    body.and(Some((settings?, Protocol::Http(Box::new(check)))))
}

fn grpc_provider(grpc: &GrpcProvider, at: &mut At) -> Option<(Settings, Protocol)> {
    let settings = settings(
        (grpc.cluster.as_deref(), grpc.service.as_deref(), grpc.port),
        grpc.timeout,
        (grpc.fail_open, grpc.status_on_error.as_deref()),
        at,
    );
    no_body(grpc.include_request_body_in_check.as_ref(), at)?;
    Some((settings?, Protocol::Grpc))
}

fn settings(
    (cluster, service, port): (Option<&str>, Option<&str>, Option<u16>),
    timeout: Option<Duration>,
    (fail_open, status): (bool, Option<&str>),
    at: &mut At,
) -> Option<Settings> {
    let cluster = cluster_name(cluster, service, port, at);
    let status_on_error = match status.unwrap_or("403").parse::<u16>() {
        Ok(status @ 200..=599) => Some(status),
        _ => at.field("statusOnError", |at| {
            at.fault(status.unwrap_or_default(), "expected an HTTP status from 200 to 599, as text")
        }),
    };
    let timeout = match timeout.map_or(TIMEOUT, |timeout| timeout.0) {
        timeout if timeout >= Time::from_millis(1) => Some(timeout),
        _ => at.field("timeout", |at| at.fault("0s", "expected at least 1ms")),
    };
    Some(Settings { cluster: cluster?, timeout: timeout?, fail_open, status_on_error: status_on_error? })
}

/// The cluster to ask: the one named, else the one Istio's sidecars have for the service.
fn cluster_name(cluster: Option<&str>, service: Option<&str>, port: Option<u16>, at: &mut At) -> Option<String> {
    if port == Some(0) {
        return at.field("port", |at| at.fault(0, "expected a port from 1 to 65535"));
    }
    match (cluster, service, port) {
        (Some(cluster), ..) if !cluster.is_empty() => Some(cluster.to_owned()),
        (None, Some(service), Some(port)) => {
            let hostname = service.rsplit('/').next().unwrap_or(service);
            let well_formed = service.matches('/').count() <= 1 && !hostname.is_empty() && !hostname.contains('*');
            if !well_formed {
                return at.field("service", |at| at.fault(service, "expected [namespace/]hostname"));
            }
            Some(format!("outbound|{port}||{hostname}"))
        }
        _ => at.field("cluster", |at| {
            at.fault("nothing", "expected the name of a cluster, or service and port to derive it from")
        }),
    }
}

fn no_body(body: Option<&RequestBody>, at: &mut At) -> Option<()> {
    match body {
        None => Some(()),
        Some(_) => at.field("includeRequestBodyInCheck", |at| {
            let reason = "a Wasm filter cannot hold a request until its body is there: while it holds the headers no \
                          body arrives; use Envoy's own ext_authz filter for checks that need the body";
            at.fault("an object", reason)
        }),
    }
}

fn names(list: &[String], at: &mut At) -> Option<Names> {
    let patterns: Vec<Option<NamePattern>> = list
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let reason = "expected a header name, pre* or *suf; a bare * is none";
            name_pattern(name).or_else(|| at.index(i, |at| at.fault(name, reason)))
        })
        .collect();
    patterns.into_iter().collect::<Option<_>>().map(Names)
}

/// One entry of a list of header names.
pub(super) fn name_pattern(name: &str) -> Option<NamePattern> {
    let lower = name.to_ascii_lowercase();
    let (pattern, text): (fn(Box<[u8]>) -> NamePattern, &str) = match (lower.strip_prefix('*'), lower.strip_suffix('*')) {
        (Some(suffix), _) => (NamePattern::Suffix, suffix),
        (None, Some(prefix)) => (NamePattern::Prefix, prefix),
        (None, None) => (NamePattern::Exact, &lower),
    };
    (!text.is_empty()).then(|| pattern(text.as_bytes().into()))
}

fn added(http: &HttpProvider, at: &mut At) -> Option<Vec<(Box<str>, Box<[u8]>)>> {
    let added: Vec<Option<_>> = http
        .include_additional_headers_in_check
        .iter()
        .map(|(name, value)| {
            if name.is_empty() || name.starts_with(':') || name.contains(|c: char| c.is_ascii_whitespace()) {
                return at.key(name, |at| at.fault(name, "expected a header name"));
            }
            Some((name.to_ascii_lowercase().into(), value.as_bytes().into()))
        })
        .collect();
    added.into_iter().collect()
}
