//! What the fields of an HTTP route say together.

use super::validate::{Scope, check_destination, check_weights};
use super::{CorsPolicy, DirectResponse, Fault, Headers, HttpMatchRequest, HttpRoute, Redirect, Retries, Rewrite};
use crate::scalar::is_base64;
use http_match::{Place, Regex, StringMatch, StringMatcher, Substitution};
use plugin_config::{At, Quoted};

/// Records every fault of a route.
pub(super) fn check(route: &HttpRoute, scope: Scope, at: &mut At) {
    check_what_it_does(route, scope, at);
    at.field("match", |at| {
        for (i, clause) in route.matches.iter().enumerate() {
            at.index(i, |at| check_match(clause, scope, at));
        }
    });
    at.field("route", |at| {
        for (i, destination) in route.route.iter().enumerate() {
            at.index(i, |at| {
                at.field("destination", |at| check_destination(&destination.destination, at));
                check_headers(destination.headers.as_ref(), at);
            });
        }
        check_weights(route.route.iter().map(|destination| destination.weight), at);
    });
    check_mirrors(route, at);
    check_headers(route.headers.as_ref(), at);
    let matches = (!at.is_unread("match")).then_some(route.matches.as_slice());
    optional("redirect", &route.redirect, at, |redirect, at| check_redirect(redirect, matches, at));
    optional("directResponse", &route.direct_response, at, check_direct_response);
    optional("rewrite", &route.rewrite, at, |rewrite, at| check_rewrite(rewrite, route, at));
    optional("retries", &route.retries, at, check_retries);
    optional("fault", &route.fault, at, check_fault);
    optional("corsPolicy", &route.cors_policy, at, check_cors);
}

pub(super) fn optional<T>(field: &'static str, value: &Option<T>, at: &mut At, check: impl FnOnce(&T, &mut At)) {
    if let Some(value) = value {
        at.field(field, |at| check(value, at));
    }
}

/// One of route, redirect, direct response and delegate; and beside the last three not what only forwarding has.
fn check_what_it_does(route: &HttpRoute, scope: Scope, at: &mut At) {
    let done = [
        ("route", !route.route.is_empty()),
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
        ("delegate", route.delegate.is_some()),
    ];
    let mut given = done.iter().filter(|(_, given)| *given).map(|(field, _)| *field);
    let Some(first) = given.next() else {
        return at.refuse("", "does nothing: expected route, redirect, directResponse or delegate");
    };
    for other in given {
        at.field(other, |at| at.refuse("", format!("not together with {first}")));
    }
    if scope.is_delegate && route.delegate.is_some() {
        let reason = "one that others delegate to cannot delegate further";
        at.field("delegate", |at| at.refuse("", reason));
    }
    if matches!(first, "redirect" | "directResponse") {
        for (field, given) in [("rewrite", route.rewrite.is_some()), ("fault", route.fault.is_some())] {
            if given {
                at.field(field, |at| at.refuse("", format!("not together with {first}")));
            }
        }
    }
}

/// How the headers begin that stand for claims of a verified token.
pub const CLAIMS: &str = "@request.auth.claims";

fn check_match(clause: &HttpMatchRequest, scope: Scope, at: &mut At) {
    let is_claim = |name: &str| name.starts_with(CLAIMS);
    let lists = [("headers", &clause.request.headers), ("withoutHeaders", &clause.request.without_headers)];
    for (field, headers) in lists {
        at.field(field, |at| {
            for (name, value) in headers.iter().filter(|(name, _)| is_claim(name)) {
                at.key(name, |at| {
                    check_claim(name, scope, at);
                    StringMatcher::compile(value, Place::Named, at);
                });
            }
        });
    }
    let mut others = clause.request.clone();
    others.headers.0.retain(|(name, _)| !is_claim(name));
    others.without_headers.0.retain(|(name, _)| !is_claim(name));
    others.check(at);
}

/// `@request.auth.claims.name`, or with each level in brackets.
fn check_claim(name: &str, scope: Scope, at: &mut At) {
    let claim = name.strip_prefix(CLAIMS).unwrap_or_default();
    let in_brackets = |claim: &str| claim.strip_prefix('[')?.strip_suffix(']').map(|inner| !inner.is_empty());
    if claim.strip_prefix('.').is_none_or(str::is_empty) && in_brackets(claim) != Some(true) {
        at.refuse(Quoted(name), "expected @request.auth.claims.name, or each level in brackets: …claims[a][b]");
    }
    if !scope.is_for_gateways {
        at.refuse(Quoted(name), "claims are known at gateways alone: name one in gateways");
    }
}

fn check_mirrors(route: &HttpRoute, at: &mut At) {
    optional("mirror", &route.mirror, at, check_destination);
    at.field("mirrors", |at| {
        for (i, mirror) in route.mirrors.iter().enumerate() {
            at.index(i, |at| at.field("destination", |at| check_destination(&mirror.destination, at)));
        }
        if route.mirror.is_some() && !route.mirrors.is_empty() {
            at.refuse("", "not together with mirror");
        }
    });
}

fn check_headers(headers: Option<&Headers>, at: &mut At) {
    let Some(headers) = headers else { return };
    at.field("headers", |at| {
        for (field, operations, is_request) in
            [("request", &headers.request, true), ("response", &headers.response, false)]
        {
            let Some(operations) = operations else { continue };
            at.field(field, |at| {
                for (field, values) in [("set", &operations.set), ("add", &operations.add)] {
                    at.field(field, |at| {
                        for (name, value) in values.iter() {
                            at.key(name, |at| {
                                check_header_name(name, is_request, at);
                                check_header_value(value, at);
                            });
                        }
                    });
                }
                at.field("remove", |at| {
                    for (i, name) in operations.remove.iter().enumerate() {
                        at.index(i, |at| check_header_name(name, false, at));
                    }
                });
            });
        }
    });
}

fn check_header_name(name: &str, is_authority_allowed: bool, at: &mut At) {
    let lower = http_match::header_name(name);
    match lower.as_deref() {
        None => at.refuse(Quoted(name), "expected a header name"),
        Some("host" | ":authority") if is_authority_allowed => {}
        Some("host" | ":authority") => at.refuse(Quoted(name), "can only be set in a request"),
        Some(name) if name.starts_with(':') => at.refuse(Quoted(name), "a pseudo-header cannot be changed"),
        Some(_) => {}
    }
}

fn check_header_value(value: &str, at: &mut At) {
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return at.refuse(Quoted(value), "a header value has no control characters");
    }
    if let Err(fault) = http_match::read_format(value) {
        at.refuse(Quoted(value), fault.reason);
    }
}

/// Statuses that a redirect may have: others make a route without an action.
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

fn check_redirect(redirect: &Redirect, matches: Option<&[HttpMatchRequest]>, at: &mut At) {
    let texts = [&redirect.uri, &redirect.prefix_rewrite, &redirect.authority, &redirect.scheme];
    let changes = texts.iter().any(|text| text.is_some()) || redirect.port.is_some() || redirect.derive_port.is_some();
    if !changes {
        at.refuse("", "leads back to itself: expected uri, prefixRewrite, authority, scheme, port or derivePort");
    }
    if redirect.uri.is_some() && redirect.prefix_rewrite.is_some() {
        at.field("prefixRewrite", |at| at.refuse("", "not together with uri"));
    }
    let is_prefix = |clause: &HttpMatchRequest| matches!(clause.request.uri, Some(StringMatch::Prefix(_)));
    let by_prefix = matches.is_none_or(|matches| !matches.is_empty() && matches.iter().all(is_prefix));
    if redirect.prefix_rewrite.is_some() && !by_prefix {
        at.field("prefixRewrite", |at| at.refuse("", "needs a uri.prefix in every match"));
    }
    if redirect.port.is_some() && redirect.derive_port.is_some() {
        at.field("derivePort", |at| at.refuse("", "not together with port"));
    }
    if let Some(scheme) = redirect.scheme.as_deref()
        && !["http", "https"].contains(&scheme)
    {
        at.field("scheme", |at| at.refuse(Quoted(scheme), "expected http or https"));
    }
    if let Some(code) = redirect.redirect_code.filter(|code| !REDIRECTS.contains(code)) {
        at.field("redirectCode", |at| at.refuse(code, "expected 301, 302, 303, 307 or 308"));
    }
}

/// Largest body, in bytes.
const LARGEST_BODY: usize = 1 << 20;

fn check_direct_response(response: &DirectResponse, at: &mut At) {
    let Some(body) = &response.body else { return };
    at.field("body", |at| match (&body.string, &body.bytes) {
        (Some(_), Some(_)) | (None, None) => at.refuse("", "expected exactly one of string and bytes"),
        (None, Some(bytes)) if !is_base64(bytes) => {
            at.field("bytes", |at| at.refuse(Quoted(bytes), "expected base64"));
        }
        _ if body_size(response) > LARGEST_BODY => {
            at.refuse(body_size(response), format!("longer than {LARGEST_BODY} bytes"));
        }
        _ => {}
    });
}

pub(super) fn body_size(response: &DirectResponse) -> usize {
    let Some(body) = &response.body else { return 0 };
    let bytes = body.bytes.as_ref().map_or(0, |bytes| bytes.trim_end_matches('=').len() / 4 * 3);
    body.string.as_ref().map_or(bytes, String::len)
}

fn check_rewrite(rewrite: &Rewrite, route: &HttpRoute, at: &mut At) {
    if rewrite.uri.is_none() && rewrite.authority.is_none() && rewrite.uri_regex_rewrite.is_none() {
        at.refuse("", "changes nothing: expected uri, authority or uriRegexRewrite");
    }
    if rewrite.uri.is_some() && rewrite.uri_regex_rewrite.is_some() {
        at.field("uriRegexRewrite", |at| at.refuse("", "not together with uri"));
    }
    optional("uriRegexRewrite", &rewrite.uri_regex_rewrite, at, |regex, at| {
        let compiled = at.field("match", |at| Regex::compile(&regex.pattern, at));
        at.field("rewrite", |at| {
            if regex.rewrite.is_empty() {
                at.refuse("\"\"", "must not be empty");
            } else if let Some(compiled) = compiled {
                Substitution::compile(&regex.rewrite, compiled.groups(), at);
            }
        });
    });
    let set = route.headers.as_ref().and_then(|headers| headers.request.as_ref());
    let is_authority = |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
    let sets = |list: &plugin_config::ListMap<String>| list.iter().any(|(name, _)| is_authority(name));
    if rewrite.authority.is_some() && set.is_some_and(|request| sets(&request.set) || sets(&request.add)) {
        at.field("authority", |at| at.refuse("", "headers.request changes it too: leave one out"));
    }
}

/// What may be repeated, by Envoy's names.
const CONDITIONS: [&str; 16] = [
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
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

pub(crate) fn check_retries(retries: &Retries, at: &mut At) {
    if retries.attempts.get() == 0 && !at.is_unread("attempts") {
        for (field, given) in [
            ("perTryTimeout", retries.per_try_timeout.is_some()),
            ("retryOn", retries.retry_on.is_some()),
            ("retryRemoteLocalities", retries.retry_remote_localities.is_some()),
        ] {
            if given {
                at.field(field, |at| at.refuse("", "attempts: 0 repeats nothing: leave this out"));
            }
        }
    }
    for condition in retries.retry_on.iter().flat_map(|conditions| conditions.split(',')) {
        let is_status = condition.parse::<u16>().is_ok_and(|status| (100..600).contains(&status));
        if !is_status && !CONDITIONS.contains(&condition) {
            let reason = "expected conditions of Envoy and statuses, separated by commas without blanks";
            at.field("retryOn", |at| at.refuse(Quoted(condition), reason));
        }
    }
}

/// gRPC's statuses, by their canonical names.
const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn check_fault(fault: &Fault, at: &mut At) {
    const UNIMPLEMENTED: &str = "Istio's proxies do not implement this field";
    if fault.delay.is_none() && fault.abort.is_none() {
        at.refuse("", "expected delay, abort, or both");
    }
    optional("delay", &fault.delay, at, |delay, at| {
        if let Some(time) = &delay.exponential_delay {
            at.field("exponentialDelay", |at| at.refuse(time, UNIMPLEMENTED));
        } else if delay.fixed_delay.is_none() {
            at.field("fixedDelay", |at| at.refuse("nothing", "required field is missing"));
        }
    });
    optional("abort", &fault.abort, at, |abort, at| {
        if let Some(error) = abort.http2_error.as_deref() {
            at.field("http2Error", |at| at.refuse(Quoted(error), UNIMPLEMENTED));
        }
        if abort.http_status.is_some() && abort.grpc_status.is_some() {
            at.field("grpcStatus", |at| at.refuse("", "not together with httpStatus"));
        }
        if let Some(status) = abort.grpc_status.as_deref().filter(|status| !GRPC_STATUSES.contains(status)) {
            at.field("grpcStatus", |at| at.refuse(Quoted(status), "expected a status of gRPC, such as UNAVAILABLE"));
        }
    });
}

const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

fn check_cors(policy: &CorsPolicy, at: &mut At) {
    at.field("allowOrigins", |at| {
        for (i, origin) in policy.allow_origins.iter().enumerate() {
            at.index(i, |at| match origin {
                StringMatch::Exact(text) | StringMatch::Prefix(text) if text.is_empty() => {
                    at.refuse("\"\"", "must not be empty");
                }
                origin => {
                    StringMatcher::compile(origin, Place::Value, at);
                }
            });
        }
    });
    at.field("allowMethods", |at| {
        for (i, method) in policy.allow_methods.iter().enumerate() {
            if !METHODS.contains(&method.as_str()) {
                at.index(i, |at| at.refuse(Quoted(method), "expected an HTTP method in capitals, or *"));
            }
        }
    });
    if let Some(age) = policy.max_age.filter(|age| age.0.subsec_nanos() != 0 || age.0.as_secs() == 0) {
        at.field("maxAge", |at| at.refuse(age, "expected whole seconds, at least 1s"));
    }
}
