//! Questions and answers: what every page takes and gives.

use crate::admin::ProxyStatus;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use regex_lite::{Regex, RegexBuilder};
use serde_json::Value as Json;
use std::borrow::Cow;

/// What a page is asked.
pub(super) struct Asked<'a> {
    pub(super) status: &'a dyn ProxyStatus,
    /// In the order of the query.
    pub(super) parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(status: &'a dyn ProxyStatus, query: &'a str) -> Self {
        Self { status, parameters: form_urlencoded::parse(query.as_bytes()).collect() }
    }

    /// A parameter's value; empty when it has none.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Whether JSON is asked for.
    pub(super) fn json(&self) -> Result<bool, Answer> {
        match self.parameter("format") {
            None | Some("text") => Ok(false),
            Some("json") => Ok(true),
            Some(format) => Err(Answer::bad(&format!("format: {format:?} is not text or json"))),
        }
    }

    /// The expression in `filter`.
    pub(super) fn filter(&self) -> Result<Option<Regex>, Answer> {
        let Some(filter) = self.parameter("filter").filter(|filter| !filter.is_empty()) else { return Ok(None) };
        let built = RegexBuilder::new(filter).size_limit(1 << 20).build();
        built
            .map(Some)
            .map_err(|error| Answer::bad(&format!("filter: {filter:?} is not a regular expression: {error}")))
    }
}

/// What a page says.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: String,
    allow: Option<&'static str>,
}

impl Answer {
    pub(super) fn text(body: String) -> Self {
        Self::with_kind("text/plain; charset=utf-8", body)
    }

    pub(super) fn with_kind(kind: &'static str, body: String) -> Self {
        Self { status: StatusCode::OK, kind, body, allow: None }
    }

    pub(super) fn json(body: &Json) -> Self {
        // A value of JSON is always written.
        Self::with_kind("application/json", serde_json::to_string_pretty(body).unwrap_or_default() + "\n")
    }

    pub(super) fn ok() -> Self {
        Self::text("OK\n".into())
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn bad(reason: &str) -> Self {
        Self::text(format!("{reason}\n")).with_status(StatusCode::BAD_REQUEST)
    }

    /// The page is there, but not for this method.
    pub(super) fn other_method(wanted: &'static str) -> Self {
        let answer = Self::text(format!("method not allowed: {wanted} required\n"));
        Self { allow: Some(wanted), ..answer.with_status(StatusCode::METHOD_NOT_ALLOWED) }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Nothing here is made of more than text and links, and no page may be put into another.
        let policy = "default-src 'none'; frame-ancestors 'none'";
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
