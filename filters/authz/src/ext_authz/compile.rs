//! Providers as configured → providers that can be asked.

use super::http::{HttpCheck, Names};
use super::{Protocol, Provider};
use crate::config::{self, GrpcProvider, HttpProvider};
use crate::field::{quoted, refuse, refuse_at};
use http_match::StringPattern;
use plugin_config::{At, Duration};
use std::time::Duration as Time;

/// Istio's default for providers without `timeout`.
const TIMEOUT: Time = Time::from_secs(600);

/// Compiles one provider.
pub(crate) fn compile(provider: &config::Provider, at: &mut At) -> Option<Provider> {
    let label = is_label(&provider.name);
    if !label {
        let reason = "expected a DNS label: lower-case letters, digits and inner hyphens, at most 63";
        refuse("name", &quoted(&provider.name), reason, at);
    }
    let compiled = match (&provider.http, &provider.grpc) {
        (Some(http), None) => at.field("envoyExtAuthzHttp", |at| http_provider(http, at)),
        (None, Some(grpc)) => at.field("envoyExtAuthzGrpc", |at| Settings::of_grpc(grpc).compile(Protocol::Grpc, at)),
        _ => at.fault(quoted(&provider.name), "expected exactly one of envoyExtAuthzHttp, envoyExtAuthzGrpc"),
    };
    compiled.filter(|_| label)
}

fn is_label(name: &str) -> bool {
    let allowed = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    allowed && !name.is_empty() && name.len() <= 63 && !name.starts_with('-') && !name.ends_with('-')
}

/// What both kinds of providers have.
struct Settings<'c> {
    cluster: Option<&'c str>,
    service: Option<&'c str>,
    port: Option<u16>,
    timeout: Option<Duration>,
    fail_open: bool,
    status: &'c str,
    with_body: bool,
}

impl<'c> Settings<'c> {
    fn of_http(http: &'c HttpProvider) -> Self {
        Self {
            cluster: http.cluster.as_deref(),
            service: http.service.as_deref(),
            port: http.port,
            timeout: http.timeout,
            fail_open: http.fail_open,
            status: http.status_on_error.as_deref().unwrap_or("403"),
            with_body: http.include_request_body_in_check.is_some(),
        }
    }

    fn of_grpc(grpc: &'c GrpcProvider) -> Self {
        Self {
            cluster: grpc.cluster.as_deref(),
            service: grpc.service.as_deref(),
            port: grpc.port,
            timeout: grpc.timeout,
            fail_open: grpc.fail_open,
            status: grpc.status_on_error.as_deref().unwrap_or("403"),
            with_body: grpc.include_request_body_in_check.is_some(),
        }
    }

    fn compile(&self, protocol: Protocol, at: &mut At) -> Option<Provider> {
        let cluster = self.cluster(at);
        let status_on_error = self.status.parse::<u16>().ok().filter(|status| (200..=599).contains(status));
        if status_on_error.is_none() {
            refuse("statusOnError", &quoted(self.status), "expected an HTTP status from 200 to 599, as text", at);
        }
        let timeout = self.timeout.map_or(TIMEOUT, |timeout| timeout.0);
        if timeout < Time::from_millis(1) {
            refuse("timeout", "\"0s\"", "expected at least 1ms", at);
            return None;
        }
        if self.with_body {
            let reason = "a Wasm filter cannot hold a request until its body is there: while it holds the headers no \
                          body arrives; use Envoy's own ext_authz filter for checks that need the body";
            refuse("includeRequestBodyInCheck", "an object", reason, at);
            return None;
        }
        let (cluster, status_on_error) = (cluster?.into(), status_on_error?);
        Some(Provider { cluster, timeout, fail_open: self.fail_open, status_on_error, protocol })
    }

    /// The cluster to ask: the one named, else the one Istio's sidecars have for the service.
    fn cluster(&self, at: &mut At) -> Option<String> {
        match (self.cluster, self.service, self.port) {
            (_, _, Some(0)) => refuse("port", "0", "expected a port from 1 to 65535", at),
            (Some(cluster), ..) if !cluster.is_empty() => return Some(cluster.to_owned()),
            (None, Some(service), Some(port)) => {
                let (_, hostname) = service.split_once('/').unwrap_or(("", service));
                if !hostname.is_empty() && !hostname.contains(['*', '/']) {
                    return Some(format!("outbound|{port}||{hostname}"));
                }
                refuse("service", &quoted(service), "expected [namespace/]hostname", at);
            }
            _ => {
                let reason = "expected the name of a cluster, or service and port to derive it from";
                refuse("cluster", "nothing", reason, at);
            }
        }
        None
    }
}

fn http_provider(http: &HttpProvider, at: &mut At) -> Option<Provider> {
    let prefix = http.path_prefix.as_deref().unwrap_or_default();
    let good_prefix = prefix.is_empty() || prefix.starts_with('/');
    if !good_prefix {
        refuse("pathPrefix", &quoted(prefix), "expected a path that begins with /", at);
    }
    let old = names("includeHeadersInCheck", &http.include_headers_in_check, at);
    let new = names("includeRequestHeadersInCheck", &http.include_request_headers_in_check, at);
    let to_upstream = names("headersToUpstreamOnAllow", &http.headers_to_upstream_on_allow, at);
    let on_deny = names("headersToDownstreamOnDeny", &http.headers_to_downstream_on_deny, at);
    let on_allow = names("headersToDownstreamOnAllow", &http.headers_to_downstream_on_allow, at);
    let added = added(http, at);
    // The settings come last, with empty lists where one is faulty: all faults are wanted at once.
    let good = good_prefix && [&old, &new, &to_upstream, &on_deny, &on_allow].iter().all(|names| names.is_some());
    let check = HttpCheck {
        path_prefix: prefix.into(),
        included: if http.include_request_headers_in_check.is_empty() { old } else { new }.unwrap_or_default(),
        to_upstream: to_upstream.unwrap_or_default(),
        to_client_on_deny: on_deny.unwrap_or_default(),
        to_client_on_allow: on_allow.unwrap_or_default(),
        added: added.clone().unwrap_or_default(),
    };
    let provider = Settings::of_http(http).compile(Protocol::Http(Box::new(check)), at);
    provider.filter(|_| good && added.is_some())
}

fn names(field: &'static str, list: &[String], at: &mut At) -> Option<Names> {
    let mut patterns = Vec::with_capacity(list.len());
    for (i, name) in list.iter().enumerate() {
        if name.is_empty() || name == "*" {
            let reason = "expected a header name, pre* or *suf; a bare * is none";
            at.field(field, |at| refuse_at(i, name, reason, at));
        } else {
            patterns.push(StringPattern::parse(&name.to_ascii_lowercase()));
        }
    }
    (patterns.len() == list.len()).then_some(Names(patterns))
}

fn added(http: &HttpProvider, at: &mut At) -> Option<Vec<(String, String)>> {
    let mut added = Vec::new();
    for (name, value) in http.include_additional_headers_in_check.iter() {
        if name.is_empty() || name.starts_with(':') || name.contains(|c: char| c.is_ascii_whitespace()) {
            at.field("includeAdditionalHeadersInCheck", |at| {
                at.key(name, |at| at.refuse(quoted(value), "expected a header name as key"));
            });
        } else {
            added.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }
    (added.len() == http.include_additional_headers_in_check.len()).then_some(added)
}
