//! A match table finds what reading its clauses one after the other finds.

use crate::support::faultless;
use http_match::{
    Found, HeaderList, HttpMatchRequest, MatchTable, MatchTableBuilder, MatchedUri, Regex, Request, StringMatch,
};
use plugin_config::ListMap;
use proptest::prelude::*;

/// Expressions, with and without plain text in front.
const EXPRESSIONS: [&str; 7] = ["/a.*", "a|ab", "(?i)AB?", ".*", "a+", "[^a]", "/?a?b"];

fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["", "a", "ab", "b", "A", " a ", "/", "/a", "/A", "/a/", "/ab", "/a/b"][..])
}

fn string_match(empty_prefix: bool, present: bool) -> impl Strategy<Value = StringMatch> {
    let prefix = value().prop_filter("empty", move |prefix| empty_prefix || !prefix.is_empty());
    prop_oneof![
        4 => value().prop_map(|text| StringMatch::Exact(text.into())),
        4 => prefix.prop_map(|text| StringMatch::Prefix(text.into())),
        2 => prop::sample::select(&EXPRESSIONS[..]).prop_map(|text| StringMatch::Regex(text.into())),
        i32::from(present) as u32 => prop_oneof![Just(StringMatch::Present), Just(StringMatch::Regex("*".into()))],
    ]
}

fn map(names: &'static [&'static str]) -> impl Strategy<Value = ListMap<StringMatch>> {
    let entry = (prop::sample::select(names), string_match(false, true));
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(entry, 1..3)]
        .prop_map(|entries| entries.into_iter().collect())
}

fn clause() -> impl Strategy<Value = HttpMatchRequest> {
    let rarely = || prop::option::weighted(0.15, string_match(false, false));
    (
        prop::option::weighted(0.6, string_match(true, false)),
        any::<bool>(),
        (rarely(), rarely(), rarely()),
        map(&["x-a", "X-B", ":path", "Host"]),
        map(&["x-a", "x-b"]),
        map(&["a", "b"]),
        prop::option::weighted(0.1, 1u16..3),
    )
        .prop_map(
            |(uri, ignore_uri_case, (scheme, method, authority), headers, without_headers, query_params, port)| {
                let name = None;
                HttpMatchRequest {
                    name,
                    uri,
                    ignore_uri_case,
                    scheme,
                    method,
                    authority,
                    headers,
                    without_headers,
                    query_params,
                    port,
                }
            },
        )
}

fn headers() -> impl Strategy<Value = HeaderList> {
    let name = prop::sample::select(&["x-a", "x-b", ":scheme", ":method", ":authority"][..]);
    let bytes = prop_oneof![9 => value().prop_map(|text| text.as_bytes().to_vec()), 1 => Just(vec![0xff])];
    let query =
        prop::collection::vec((prop::sample::select(&["a", "b", "ab", ""][..]), prop::option::of(value())), 0..3);
    (value(), prop::option::of(query), prop::collection::vec((name, bytes), 0..6)).prop_map(|(path, query, more)| {
        let pair = |(key, value): (&str, Option<&str>)| value.map_or(key.to_owned(), |value| format!("{key}={value}"));
        let query = query.map(|pairs| format!("?{}", pairs.into_iter().map(pair).collect::<Vec<_>>().join("&")));
        let mut headers = HeaderList::new();
        headers.add(":path", format!("{path}{}", query.unwrap_or_default()).as_bytes());
        more.iter().for_each(|(name, value)| headers.add(name, value));
        headers
    })
}

fn full_match(pattern: &str, value: &[u8]) -> bool {
    faultless(|at| Regex::compile(pattern, at)).unwrap().is_full_match(value)
}

fn holds(matcher: &StringMatch, value: &[u8]) -> bool {
    match matcher {
        StringMatch::Exact(text) => text.as_bytes() == value,
        StringMatch::Prefix(text) => value.starts_with(text.as_bytes()),
        StringMatch::Regex(text) => text == "*" || full_match(text, value),
        StringMatch::Present => true,
    }
}

fn uri_holds(clause: &HttpMatchRequest, path: &[u8]) -> bool {
    match (&clause.uri, clause.ignore_uri_case) {
        (None, _) => true,
        (Some(StringMatch::Exact(text)), true) => {
            holds(&StringMatch::Exact(text.to_lowercase()), &path.to_ascii_lowercase())
        }
        (Some(StringMatch::Prefix(text)), true) => {
            holds(&StringMatch::Prefix(text.to_lowercase()), &path.to_ascii_lowercase())
        }
        (Some(matcher), _) => holds(matcher, path),
    }
}

fn values<'h>(headers: &'h HeaderList, name: &str) -> Vec<&'h [u8]> {
    let name = name.to_lowercase().replace("host", ":authority");
    headers.iter().filter(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value.trim_ascii()).collect()
}

fn is_without(headers: &HeaderList, name: &str, matcher: &StringMatch) -> bool {
    let presence = matches!(matcher, StringMatch::Present) || *matcher == StringMatch::Regex("*".into());
    match values(headers, name).as_slice() {
        [] => presence || !holds(matcher, b""),
        values => !values.iter().any(|value| holds(matcher, value)),
    }
}

fn parameter_holds(query: Option<&[u8]>, key: &str, matcher: &StringMatch) -> bool {
    let pairs = query.into_iter().flat_map(|query| query.split(|byte| *byte == b'&'));
    let mut split = pairs.map(|pair| match pair.iter().position(|byte| *byte == b'=') {
        Some(end) => (&pair[..end], &pair[end + 1..]),
        None => (pair, &b""[..]),
    });
    split.find(|(known, _)| *known == key.as_bytes()).is_some_and(|(_, value)| holds(matcher, value))
}

fn clause_matches(clause: &HttpMatchRequest, request: &Request<'_>) -> bool {
    let parts =
        [(&clause.scheme, request.scheme), (&clause.method, request.method), (&clause.authority, request.authority)];
    uri_holds(clause, request.path)
        && parts.iter().all(|(matcher, value)| matcher.as_ref().is_none_or(|matcher| holds(matcher, value)))
        && clause.headers.iter().all(|(name, m)| values(request.headers, name).iter().any(|value| holds(m, value)))
        && clause.without_headers.iter().all(|(name, matcher)| is_without(request.headers, name, matcher))
        && clause.query_params.iter().all(|(key, matcher)| parameter_holds(request.query, key, matcher))
        && clause.port.is_none_or(|port| request.port == Some(port))
}

fn naive(entries: &[Vec<HttpMatchRequest>], request: &Request<'_>) -> Option<Found> {
    entries.iter().enumerate().find_map(|(entry, clauses)| {
        if clauses.is_empty() {
            return Some(Found { entry, alternative: 0, uri: MatchedUri::Prefix(1) });
        }
        let alternative = clauses.iter().position(|clause| clause_matches(clause, request))?;
        let uri = match &clauses[alternative].uri {
            None => MatchedUri::Prefix(1),
            Some(StringMatch::Prefix(prefix)) => MatchedUri::Prefix(prefix.len()),
            Some(_) => MatchedUri::Whole,
        };
        Some(Found { entry, alternative, uri })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn the_first_match_is_found(
        entries in prop::collection::vec(prop::collection::vec(clause(), 0..4), 0..12),
        requests in prop::collection::vec((headers(), prop::option::of(1u16..3)), 8),
    ) {
        let build = |build: fn(MatchTableBuilder) -> MatchTable| faultless(|at| {
            let mut builder = MatchTableBuilder::new();
            entries.iter().for_each(|entry| builder.push(entry, at));
            build(builder)
        });
        let (table, sequence) = (build(MatchTableBuilder::build), build(MatchTableBuilder::build_sequence));
        for (headers, port) in &requests {
            let request = Request { port: *port, ..Request::new(headers) };
            let expected = naive(&entries, &request);
            // A clause that takes every path takes those without a slash too; only then is it decided unread.
            if let Some(fixed) = table.fixed().filter(|_| request.path.starts_with(b"/")) {
                prop_assert_eq!(fixed, expected);
            }
            if request.path.starts_with(b"/") {
                prop_assert_eq!(table.find(&request), expected, "{:?}", headers.iter().collect::<Vec<_>>());
            }
            for start in 0..=entries.len() {
                let found = sequence.find_from(start, &request).map(|found| found.entry);
                prop_assert_eq!(found, naive(&entries[start..], &request).map(|found| found.entry + start));
            }
        }
    }
}
