//! Decisions about described requests, without a proxy; and that the index changes none of them.

#![cfg(not(target_family = "wasm"))]

use authz::config::{Config, Operation, Policy, Rule, RuleFrom, RuleTo, Source};
use authz::{Attributes, Decision, Described, Part, Peer, Policies, RuleId, Surroundings, Why};
use filter_api::HostError;
use http_match::HeaderList;
use plugin_config::At;
use proptest::prelude::*;

fn compiled(config: &Config) -> Policies {
    let mut at = At::root();
    match authz::policies(config, &mut at) {
        Some(policies) => policies,
        None => panic!("{}", at.into_faults()),
    }
}

fn parsed(json: &str) -> Policies {
    compiled(&plugin_config::from_slice(json.as_bytes()).unwrap())
}

fn request(headers: &[(&str, &str)]) -> Described {
    let pseudo = [(":method", "GET"), (":path", "/"), (":authority", "a.example"), (":scheme", "http")];
    let own = pseudo.iter().filter(|(name, _)| !headers.iter().any(|(given, _)| given == name));
    let list: HeaderList = headers.iter().chain(own).copied().collect();
    Described { headers: list, ..Described::default() }
}

/// What a cache already knows needs no certificate.
fn with_peer(mut request: Described, ids: &[&str], surroundings: &mut Surroundings) -> Described {
    surroundings.peers.insert(b"digest", Peer::new(ids));
    request.properties.push(("connection.sha256_peer_certificate_digest".into(), b"digest".to_vec()));
    request
}

fn id(policy: u32, rule: u32) -> Option<RuleId> {
    Some(RuleId { policy, rule })
}

#[test]
fn names_the_rule_that_decided() {
    let policies = parsed(
        r#"{"policies": [
            {"name": "get", "namespace": "shop", "rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]},
            {"name": "no-admin", "namespace": "istio-system", "action": "DENY", "rules": [
                {"to": [{"operation": {"paths": ["/x"]}}]}, {"to": [{"operation": {"paths": ["/admin*"]}}]}]}
        ]}"#,
    );
    let decide = |headers: &[(&str, &str)]| {
        let (mut request, mut surroundings) = (request(headers), Surroundings::default());
        policies.decide(&mut Attributes::new(&mut request, &mut surroundings)).unwrap()
    };
    assert_eq!(decide(&[]), Decision::Allowed(id(0, 0)));
    assert_eq!(decide(&[(":path", "/admin")]), Decision::Denied(id(1, 1)));
    assert_eq!(decide(&[(":method", "PUT")]), Decision::Denied(None));
    assert_eq!(policies.id(RuleId { policy: 1, rule: 1 }), "ns[istio-system]-policy[no-admin]-rule[1]");
}

#[test]
fn tells_the_nearest_miss() {
    let policies = parsed(
        r#"{"policies": [{"name": "p", "rules": [
            {"from": [{"source": {"principals": ["*"]}}], "to": [{"operation": {"methods": ["PUT"]}}]},
            {"from": [{"source": {"principals": ["*"]}}], "to": [{"operation": {"methods": ["GET"]}}],
             "when": [{"key": "request.headers[x]", "values": ["a"]}]}
        ]}]}"#,
    );
    let (mut request, mut surroundings) = (request(&[("x", "a")]), Surroundings::default());
    let miss = policies.nearest_miss(&mut Attributes::new(&mut request, &mut surroundings)).unwrap().unwrap();
    assert_eq!((miss.rule, miss.parts), (RuleId { policy: 0, rule: 1 }, vec![Part::From]));
}

#[test]
fn what_cannot_be_told_is_an_error() {
    let policies = parsed(
        r#"{"policies": [{"name": "p", "action": "DENY", "rules": [
            {"from": [{"source": {"namespaces": ["a"]}}], "to": [{"operation": {"paths": ["/a"]}}]},
            {"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/8"]}}], "to": [{"operation": {"paths": ["/b"]}}]},
            {"from": [{"source": {"requestPrincipals": ["*"]}}], "to": [{"operation": {"paths": ["/c"]}}]}
        ]}]}"#,
    );
    let decide = |path: &str, property: &str, value: &[u8]| {
        let (mut request, mut surroundings) = (request(&[(":path", path)]), Surroundings::default());
        request.properties.push((property.to_owned(), value.to_vec()));
        policies.decide(&mut Attributes::new(&mut request, &mut surroundings))
    };
    let digest = "connection.sha256_peer_certificate_digest";
    assert_eq!(decide("/a", digest, b"unknown").unwrap_err().what, "connection.peer_certificate");
    assert_eq!(decide("/a", digest, b"").unwrap(), Decision::Allowed(None), "no certificate was shown");
    assert_eq!(decide("/b", "source.address", b"nonsense").unwrap_err().what, "source.address");
    assert_eq!(decide("/b", "other", b"").unwrap_err().what, "source.address");
    assert_eq!(decide("/c", "outrigger.jwt", b"[1]").unwrap_err().what, "outrigger.jwt");
    assert!(matches!(decide("/c", "metadata", b"\xff").unwrap_err().why, Why::Unreadable(_)));
    assert_eq!(decide("/none", digest, b"unknown").unwrap(), Decision::Allowed(None), "nothing was asked for");
}

#[test]
fn a_host_that_gives_no_headers_is_an_error() {
    struct Silent;
    impl authz::Facts for Silent {
        fn headers(&mut self) -> Result<&HeaderList, HostError> {
            Err(HostError::BadArgument)
        }
        fn property(&mut self, _: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
            Err(HostError::Status(10))
        }
    }
    for rule in [
        r#"{"to": [{"operation": {"paths": ["/a"]}}]}"#,
        r#"{"to": [{"operation": {"notMethods": ["GET"]}}]}"#,
        r#"{"from": [{"source": {"notNamespaces": ["a"]}}]}"#,
        r#"{"when": [{"key": "request.auth.claims[a]", "notValues": ["b"]}]}"#,
        r#"{"when": [{"key": "connection.sni", "values": ["b"]}]}"#,
        r#"{"when": [{"key": "destination.port", "values": ["80"]}]}"#,
    ] {
        for action in ["ALLOW", "DENY"] {
            let policies =
                parsed(&format!(r#"{{"policies": [{{"name": "p", "action": "{action}", "rules": [{rule}]}}]}}"#));
            let decided = policies.decide(&mut Attributes::new(&mut Silent, &mut Surroundings::default()));
            assert!(decided.is_err(), "{action} {rule}");
        }
    }
}

#[test]
fn claims_of_our_own_token_filter_come_first() {
    let policies = parsed(
        r#"{"policies": [{"name": "p", "rules": [{"when": [{"key": "request.auth.claims[group]", "values": ["a"]}]}]}]}"#,
    );
    let (mut request, mut surroundings) = (request(&[]), Surroundings::default());
    request.properties.push(("outrigger.jwt".into(), br#"{"group": ["b", "a"]}"#.to_vec()));
    let decided = policies.decide(&mut Attributes::new(&mut request, &mut surroundings));
    assert_eq!(decided.unwrap(), Decision::Allowed(id(0, 0)));
}

/// Values that overlap in every way a pattern can.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "ab", "b", "ba", "a/b", "/a", "/a/b", "/ab", "a.b", "td/ns/a/sa/b", "td/ns/a/sa/ab"])
        .prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = String> {
    (word(), 0..4).prop_map(|(word, kind)| match kind {
        0 => format!("{word}*"),
        1 => format!("*{word}"),
        2 if word.len() == 1 => "*".to_owned(),
        _ => word,
    })
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(pattern(), 0..3)
}

fn rule() -> impl Strategy<Value = Rule> {
    let operation = (
        patterns(),
        patterns(),
        patterns(),
        prop::collection::vec(prop::sample::select(vec!["/a/{*}", "/{**}"]), 0..2),
    );
    let operation = operation.prop_map(|(hosts, mut paths, not_paths, templates)| {
        paths.extend(templates.into_iter().map(str::to_owned));
        Operation { hosts, paths, not_paths, ..Operation::default() }
    });
    let source = (patterns(), patterns(), prop::collection::vec(word(), 0..2), patterns(), 0..2_usize);
    let source = source.prop_map(|(principals, not_principals, namespaces, request_principals, accounts)| {
        let plain = Source { principals, not_principals, namespaces, request_principals, ..Source::default() };
        let words = ["a/b", "a/ab", "b"];
        let service_accounts = words.iter().take(accounts * 3).map(|word| (*word).to_owned()).collect();
        if accounts > 0 { Source { service_accounts, ..Source::default() } } else { plain }
    });
    let to = prop::collection::vec(operation.prop_filter("empty", |o| *o != Operation::default()), 0..3);
    let from = prop::collection::vec(source.prop_filter("empty", |s| *s != Source::default()), 0..3);
    let when = prop::collection::vec(
        (prop::sample::select(vec!["request.headers[x]", "request.auth.claims[c]"]), patterns(), patterns()),
        0..2,
    );
    (from, to, when).prop_map(|(from, to, when)| Rule {
        from: (!from.is_empty()).then(|| from.into_iter().map(|source| RuleFrom { source: source.into() }).collect()),
        to: (!to.is_empty()).then(|| to.into_iter().map(|o| RuleTo { operation: o.into() }).collect()),
        when: when
            .into_iter()
            .filter(|(_, values, not_values)| !values.is_empty() || !not_values.is_empty())
            .map(|(key, values, not_values)| authz::config::Condition { key: key.to_owned(), values, not_values })
            .collect(),
    })
}

fn policy(rules: Vec<Rule>) -> Config {
    let policy = Policy { name: "p".into(), rules, ..Policy::default() };
    Config { policies: vec![policy], ..Config::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A set of rules decides like its rules one by one, which no index can filter.
    #[test]
    fn the_index_changes_nothing(
        rules in prop::collection::vec(rule(), 1..12),
        (path, host, x) in (word(), word(), prop::collection::vec(word(), 0..3)),
        ids in prop::collection::vec(word(), 0..3),
        (claim, issuer, subject) in (word(), word(), word()),
    ) {
        let mut headers = vec![(":path", path.as_str()), (":authority", host.as_str())];
        headers.extend(x.iter().map(|value| ("x", value.as_str())));
        let ids: Vec<String> = ids.iter().map(|id| format!("spiffe://{id}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut surroundings = Surroundings::default();
        let mut request = with_peer(request(&headers), &ids, &mut surroundings);
        let token = format!(r#"{{"iss": "{issuer}", "sub": "{subject}", "c": ["{claim}"]}}"#);
        request.properties.push(("outrigger.jwt".into(), token.into_bytes()));
        let mut decide = |policies: &Policies| {
            policies.decide(&mut Attributes::new(&mut request, &mut surroundings)).unwrap()
        };
        let together = decide(&compiled(&policy(rules.clone())));
        let apart = rules.into_iter().enumerate().find_map(|(i, rule)| {
            // Beside a rule that matches everything, the rule in question must match to be named first.
            let decided = decide(&compiled(&policy(vec![rule, Rule::default()])));
            (decided == Decision::Allowed(id(0, 0))).then(|| u32::try_from(i).unwrap())
        });
        let expected = apart.map_or(Decision::Denied(None), |rule| Decision::Allowed(id(0, rule)));
        prop_assert_eq!(together, expected);
    }
}
