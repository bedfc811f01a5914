//! Istio's HTTPMatchRequest: as written, and compiled.

use crate::{HeaderList, Key, Place, Request, StringMatch, StringMatcher, Term};
use plugin_config::{At, ListMap, Quoted};

plugin_config::object! {
    /// One match clause (Istio's `HTTPMatchRequest`): all its conditions must hold.
    ///
    /// `gateways`, `sourceLabels` and `sourceNamespace` are not here: they are decided when a proxy's configuration is
    /// made, not per request.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpMatchRequest {
        /// A name for logs.
        pub name: Option<String> = "name",
        /// The path without its query.
        pub uri: Option<StringMatch> = "uri",
        /// Whether `uri.exact` and `uri.prefix` ignore case.
        pub ignore_uri_case: bool = "ignoreUriCase",
        /// What the proxy takes for the scheme, case-sensitive.
        pub scheme: Option<StringMatch> = "scheme",
        /// The method, case-sensitive.
        pub method: Option<StringMatch> = "method",
        /// The authority as sent: with its port, case-sensitive.
        pub authority: Option<StringMatch> = "authority",
        /// Headers that must be there; each value of a repeated header is tested on its own, one hit suffices.
        pub headers: ListMap<StringMatch> = "headers",
        /// Headers that must not be there like this; a missing header counts as an empty value.
        pub without_headers: ListMap<StringMatch> = "withoutHeaders",
        /// Query parameters, undecoded; the first occurrence of a key decides.
        pub query_params: ListMap<StringMatch> = "queryParams",
        /// The port the request was addressed to.
        pub port: Option<u16> = "port",
    }
}

impl HttpMatchRequest {
    /// Records every fault in `at`.
    pub fn check(&self, at: &mut At) {
        CompiledMatch::compile(self, at);
    }
}

/// What of a request an index looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Attribute {
    Path,
    Scheme,
    Method,
    Authority,
    Header(Box<str>),
    QueryParam(Box<[u8]>),
}

/// A compiled match clause.
#[derive(Debug, Default)]
pub(crate) struct CompiledMatch {
    pub(crate) uri: Option<StringMatcher>,
    scheme: Option<StringMatcher>,
    method: Option<StringMatcher>,
    authority: Option<StringMatcher>,
    headers: Vec<(Box<str>, StringMatcher)>,
    without_headers: Vec<(Box<str>, StringMatcher)>,
    query_params: Vec<(Box<[u8]>, StringMatcher)>,
    pub(crate) port: Option<u16>,
}

impl CompiledMatch {
    /// Compiles; every fault is recorded in `at`.
    pub(crate) fn compile(written: &HttpMatchRequest, at: &mut At) -> Option<Self> {
        let ignore_case = written.ignore_uri_case;
        let uri = optional("uri", &written.uri, Place::Uri { ignore_case }, at);
        let scheme = optional("scheme", &written.scheme, Place::Value, at);
        let method = optional("method", &written.method, Place::Value, at);
        let authority = optional("authority", &written.authority, Place::Value, at);
        let headers = at.field("headers", |at| named(&written.headers, header_name, at));
        let without_headers = at.field("withoutHeaders", |at| named(&written.without_headers, header_name, at));
        let query_params = at.field("queryParams", |at| named(&written.query_params, query_key, at));
        if written.port == Some(0) {
            at.field("port", |at| at.refuse(0, "expected 1 to 65535"));
        }
        Some(Self {
            uri: uri?,
            scheme: scheme?,
            method: method?,
            authority: authority?,
            headers: headers?,
            without_headers: without_headers?,
            query_params: query_params?,
            port: written.port,
        })
    }

    /// Whether every request matches, unread.
    pub(crate) fn is_catch_all(&self) -> bool {
        let any_uri = match &self.uri {
            None => true,
            Some(StringMatcher::Prefix(prefix)) => prefix.is_empty() || **prefix == *b"/",
            Some(_) => false,
        };
        any_uri
            && self.scheme.is_none()
            && self.method.is_none()
            && self.authority.is_none()
            && self.headers.is_empty()
            && self.without_headers.is_empty()
            && self.query_params.is_empty()
            && self.port.is_none()
    }

    /// Whether a request matches.
    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        let holds = |matcher: &Option<StringMatcher>, value| matcher.as_ref().is_none_or(|m| m.matches(value));
        self.port.is_none_or(|port| request.port == Some(port))
            && holds(&self.method, request.method)
            && holds(&self.scheme, request.scheme)
            && holds(&self.authority, request.authority)
            && holds(&self.uri, request.path)
            && self.headers.iter().all(|(name, matcher)| header_matches(request.headers, name, matcher))
            && self.without_headers.iter().all(|(name, matcher)| header_is_without(request.headers, name, matcher))
            && self
                .query_params
                .iter()
                .all(|(key, matcher)| query_param(request.query, key).is_some_and(|v| matcher.matches(v)))
    }

    /// The conditions an index can answer.
    pub(crate) fn terms(&self) -> Vec<Term<Attribute>> {
        let mut terms = Vec::new();
        let mut term = |attribute: Attribute, matcher: &StringMatcher| {
            terms.extend(matcher.key().map(|key: Key| (attribute, vec![key])));
        };
        let parts = [
            (Attribute::Path, &self.uri),
            (Attribute::Scheme, &self.scheme),
            (Attribute::Method, &self.method),
            (Attribute::Authority, &self.authority),
        ];
        for (attribute, matcher) in parts {
            matcher.iter().for_each(|matcher| term(attribute.clone(), matcher));
        }
        for (name, matcher) in &self.headers {
            term(Attribute::Header(name.clone()), matcher);
        }
        for (key, matcher) in &self.query_params {
            term(Attribute::QueryParam(key.clone()), matcher);
        }
        terms
    }
}

/// Hands the values a request has for an attribute to `each`.
pub(crate) fn attribute_values(request: &Request<'_>, attribute: &Attribute, each: &mut dyn FnMut(&[u8])) {
    match attribute {
        Attribute::Path => each(request.path),
        Attribute::Scheme => each(request.scheme),
        Attribute::Method => each(request.method),
        Attribute::Authority => each(request.authority),
        Attribute::Header(name) => request.headers.values(name).for_each(|value| each(trim(value))),
        Attribute::QueryParam(key) => query_param(request.query, key).into_iter().for_each(each),
    }
}

fn optional(
    field: &'static str,
    written: &Option<StringMatch>,
    place: Place,
    at: &mut At,
) -> Option<Option<StringMatcher>> {
    match written {
        None => Some(None),
        Some(written) => at.field(field, |at| StringMatcher::compile(written, place, at)).map(Some),
    }
}

fn named<N>(
    written: &ListMap<StringMatch>,
    name: fn(&str, &mut At) -> Option<N>,
    at: &mut At,
) -> Option<Vec<(N, StringMatcher)>> {
    let compiled: Vec<Option<(N, StringMatcher)>> = written
        .iter()
        .map(|(key, matcher)| {
            at.key(key, |at| {
                let name = name(key, at);
                let matcher = StringMatcher::compile(matcher, Place::Named, at);
                Some((name?, matcher?))
            })
        })
        .collect();
    compiled.into_iter().collect()
}

fn header_name(name: &str, at: &mut At) -> Option<Box<str>> {
    if name.starts_with("@request.auth.claims") {
        return at.fault(Quoted(name), "verified claims are not available to a match clause of a filter");
    }
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let token = name.strip_prefix(':').unwrap_or(name);
    if token.is_empty() || !token.bytes().all(valid) {
        return at.fault(Quoted(name), "not a header name");
    }
    // Proxies keep what the client sent as Host under this name.
    let name = if name.eq_ignore_ascii_case("host") { ":authority" } else { name };
    Some(name.to_ascii_lowercase().into())
}

fn query_key(key: &str, at: &mut At) -> Option<Box<[u8]>> {
    if key.is_empty() {
        return at.fault("\"\"", "a query parameter needs a name");
    }
    Some(key.as_bytes().into())
}

/// Blanks around a value are not part of it.
fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

fn header_matches(headers: &HeaderList, name: &str, matcher: &StringMatcher) -> bool {
    headers.values(name).any(|value| matcher.matches(trim(value)))
}

/// `withoutHeaders`: no value may match; a missing header is an empty value, but not a present one.
fn header_is_without(headers: &HeaderList, name: &str, matcher: &StringMatcher) -> bool {
    match headers.get(name) {
        None => matches!(matcher, StringMatcher::Present) || !matcher.matches(b""),
        Some(_) => !header_matches(headers, name, matcher),
    }
}

/// The first value of a query parameter, undecoded; `k` without `=` has an empty one.
fn query_param<'q>(query: Option<&'q [u8]>, key: &[u8]) -> Option<&'q [u8]> {
    query?.split(|&byte| byte == b'&').find_map(|pair| {
        let rest = pair.strip_prefix(key)?;
        match rest.split_first() {
            None => Some(rest),
            Some((b'=', value)) => Some(value),
            Some(_) => None,
        }
    })
}
