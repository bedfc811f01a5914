//! Why a route's match does not hold: its conditions one by one, each by the matcher that the filters have.

use crate::compile::claims;
use http_match::{HttpMatchRequest, MatchTableBuilder, Request, StringMatch};
use plugin_config::At;

/// The conditions of a match that do not hold, in words.
pub(super) fn unmet(written: &HttpMatchRequest, request: &Request<'_>, jwt_authn: &jwt_authn::Config) -> Vec<String> {
    let conditions = conditions(written, jwt_authn);
    conditions.into_iter().filter(|(_, condition)| !holds(condition, request)).map(|(words, _)| words).collect()
}

fn holds(condition: &HttpMatchRequest, request: &Request<'_>) -> bool {
    let mut table = MatchTableBuilder::new();
    let mut at = At::root();
    table.push(std::slice::from_ref(condition), &mut at);
    at.is_good() && table.build().find(request).is_some()
}

/// Each condition by itself, with what it is called.
fn conditions(written: &HttpMatchRequest, jwt_authn: &jwt_authn::Config) -> Vec<(String, HttpMatchRequest)> {
    let mut conditions = Vec::new();
    let none = HttpMatchRequest::default;
    let mut single = |name: &str, wanted: &Option<StringMatch>, made: HttpMatchRequest| {
        if let Some(wanted) = wanted {
            conditions.push((format!("{name} {}", words(wanted)), made));
        }
    };
    let ignore_uri_case = written.ignore_uri_case;
    single("uri", &written.uri, HttpMatchRequest { uri: written.uri.clone(), ignore_uri_case, ..none() });
    single("scheme", &written.scheme, HttpMatchRequest { scheme: written.scheme.clone(), ..none() });
    single("method", &written.method, HttpMatchRequest { method: written.method.clone(), ..none() });
    single("authority", &written.authority, HttpMatchRequest { authority: written.authority.clone(), ..none() });
    let called = |name: &str| match claims::written(name, jwt_authn) {
        Some(claim) => claim,
        None => format!("header {name}"),
    };
    for (name, wanted) in &written.headers.0 {
        let mut one = none();
        one.headers.0.push((name.clone(), wanted.clone()));
        conditions.push((format!("{} {}", called(name), words(wanted)), one));
    }
    for (name, wanted) in &written.without_headers.0 {
        let mut one = none();
        one.without_headers.0.push((name.clone(), wanted.clone()));
        conditions.push((format!("no {} {}", called(name), words(wanted)), one));
    }
    for (name, wanted) in &written.query_params.0 {
        let mut one = none();
        one.query_params.0.push((name.clone(), wanted.clone()));
        conditions.push((format!("query parameter {name} {}", words(wanted)), one));
    }
    conditions
}

fn words(wanted: &StringMatch) -> String {
    match wanted {
        StringMatch::Exact(text) => format!("exact {text:?}"),
        StringMatch::Prefix(text) => format!("prefix {text:?}"),
        StringMatch::Regex(text) => format!("regex {text:?}"),
        StringMatch::Present => "present".to_owned(),
    }
}
