//! Requests at a configuration's own boundaries: what a match is about, and what is just beside it.

use super::vocabulary::{Shape, Vocabulary};
use outrigger_tests::case_file::{Body, Bytes, Request};

/// Chosen draws: the same requests each time.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn one<'l, T>(&mut self, list: &'l [T]) -> Option<&'l T> {
        list.get(self.below(list.len()))
    }
}

/// What no configuration here has a word about.
const STRANGE: &str = "strange";

/// So many requests, of every shape that the vocabulary has: as it is, and with up to three things changed.
pub(super) fn requests(vocabulary: &Vocabulary, count: usize) -> Vec<Request> {
    let mut draws = Draws(1);
    let whole = [Shape::default()];
    let shapes = if vocabulary.shapes.is_empty() { &whole[..] } else { &vocabulary.shapes };
    (0..count)
        .map(|number| {
            let mut shape = shapes[number % shapes.len()].clone();
            let mut further = Vec::new();
            let changes = if number < shapes.len() { 0 } else { draws.below(4) };
            for _ in 0..changes {
                change(&mut shape, &mut further, vocabulary, &mut draws);
            }
            written(shape, further, number, &mut draws)
        })
        .collect()
}

fn written(shape: Shape, further: Vec<(String, String)>, number: usize, draws: &mut Draws) -> Request {
    let mut path = shape.path.filter(|path| path.starts_with('/')).unwrap_or_else(|| "/".to_owned());
    for (place, (name, value)) in shape.query.iter().enumerate() {
        let separator = if place == 0 && !path.contains('?') { '?' } else { '&' };
        path = format!("{path}{separator}{name}={value}");
    }
    let path: String = path.chars().filter(|c| c.is_ascii_graphic() && *c != '#').collect();
    let path = path.trim_end_matches("%2").trim_end_matches("%6").trim_end_matches('%').to_owned();
    // Decisions by chance follow from it, in both proxies alike.
    let id = format!("00000000-0000-4000-8000-{number:012x}");
    let headers = shape.headers.into_iter().chain(further).chain([("x-request-id".to_owned(), id)]);
    let method = shape.method.filter(|method| !method.is_empty() && method.bytes().all(|b| b.is_ascii_alphabetic()));
    let method = method.filter(|method| method != "CONNECT").unwrap_or_else(|| "GET".to_owned());
    let body = matches!(method.as_str(), "POST" | "PUT" | "PATCH").then(|| Body::Size { size: draws.below(3000) });
    Request {
        method,
        path,
        authority: shape.authority.unwrap_or_else(|| STRANGE.to_owned()),
        headers: headers.map(|(name, value)| (name, Bytes::Text(visible(&value)))).collect(),
        body,
        ..Request::default()
    }
}

/// What a header may have; more is for other tests.
fn visible(value: &str) -> String {
    value.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect::<String>().trim().to_owned()
}

fn change(shape: &mut Shape, further: &mut Vec<(String, String)>, vocabulary: &Vocabulary, draws: &mut Draws) {
    match draws.below(12) {
        0 | 1 => {
            let known = draws.one(&vocabulary.authorities).cloned();
            let authority = shape.authority.clone().or(known).unwrap_or_else(|| STRANGE.to_owned());
            let beside = beside_authority(&authority, draws);
            // Our proxy knows one spelling, Envoy the client's.
            shape.authority = Some(if vocabulary.spelling { beside.to_ascii_lowercase() } else { beside });
        }
        2..=4 => {
            let known = draws.one(&vocabulary.paths).cloned();
            let path = if draws.below(2) == 0 { shape.path.clone().or(known) } else { known };
            shape.path = Some(beside_path(&path.unwrap_or_else(|| "/".to_owned()), draws));
        }
        5 => {
            let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
            shape.method = draws.one(&methods).map(|method| (*method).to_owned());
        }
        6..=8 => named(&mut shape.headers, &vocabulary.headers, draws),
        9 => named(&mut shape.query, &vocabulary.query, draws),
        10 => further.extend(preflight(shape, draws)),
        _ => further.extend(draws.one(&FOREIGN).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))),
    }
}

/// What clients may not say, or what comes by other proxies.
const FOREIGN: [(&str, &str); 9] = [
    ("x-outrigger-cluster", "PassthroughCluster"),
    ("x-outrigger-route", "forged"),
    ("x-envoy-retry-on", "5xx"),
    ("x-envoy-upstream-rq-timeout-ms", "1"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-for", "10.1.2.3, 203.0.113.8"),
    ("x-forwarded-client-cert", "By=spiffe://a/b;URI=spiffe://c/d"),
    ("accept-encoding", "gzip"),
    ("cookie", "a=b; user=jason"),
];

fn preflight(shape: &mut Shape, draws: &mut Draws) -> Vec<(String, String)> {
    if draws.below(2) == 0 {
        shape.method = Some("OPTIONS".to_owned());
    }
    shape.headers.entry("origin".to_owned()).or_insert_with(|| "https://strange.example".to_owned());
    vec![("access-control-request-method".to_owned(), "PUT".to_owned())]
}

/// A header or a parameter: another value of it, none, a new one.
fn named(
    own: &mut std::collections::BTreeMap<String, String>,
    known: &std::collections::BTreeMap<String, Vec<String>>,
    draws: &mut Draws,
) {
    let names: Vec<&String> = own.keys().chain(known.keys()).collect();
    let Some(name) = draws.one(&names).map(|name| (*name).clone()) else { return };
    if draws.below(4) == 0 {
        own.remove(&name);
        return;
    }
    let value = known.get(&name).and_then(|values| draws.one(values)).cloned().unwrap_or_default();
    let value = match draws.below(6) {
        0 => String::new(),
        1 => format!("{value}x"),
        2 => value.to_ascii_uppercase(),
        3 => value.chars().skip(1).collect(),
        _ => value,
    };
    own.insert(name, value);
}

/// Well-formed in any case: what is not is for other tests.
fn beside_authority(authority: &str, draws: &mut Draws) -> String {
    let host = authority.split(':').next().unwrap_or_default();
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    match draws.below(8) {
        0 => authority.to_ascii_uppercase(),
        1 => format!("{host}:8080"),
        2 => format!("sub.{authority}"),
        3 => authority.split_once(".").filter(|_| !is_address).map_or(STRANGE, |(_, rest)| rest).to_owned(),
        4 => format!("{host}x"),
        5 => STRANGE.to_owned(),
        _ => authority.to_owned(),
    }
}

fn beside_path(path: &str, draws: &mut Draws) -> String {
    match draws.below(14) {
        0 => format!("{path}/"),
        1 => format!("{path}x"),
        2 => path.chars().take(path.len().saturating_sub(1).max(1)).collect(),
        3 => format!("{path}/below"),
        4 => format!("{path}?a=b"),
        5 => path.to_ascii_uppercase(),
        6 => format!("/{path}"),
        7 => format!("/x/..{path}"),
        8 => format!("{path}/./more"),
        9 => path.replacen('/', "/%61/../", 1),
        10 => format!("{path}%20"),
        11 => path.replacen('e', "%65", 1),
        12 => STRANGE.to_owned().replace('s', "/s"),
        _ => path.to_owned(),
    }
}
