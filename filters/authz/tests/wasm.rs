//! Decisions on wasm32-unknown-unknown: who may pass must not depend on the target.

#![cfg(all(target_family = "wasm", target_os = "unknown"))]

use authz::{Attributes, Decision, Described, Peer, Policies, RuleId, Surroundings};
use http_match::HeaderList;
use plugin_config::At;
use wasm_bindgen_test::wasm_bindgen_test;

fn policies(json: &str) -> Option<Policies> {
    let written = plugin_config::from_slice(json.as_bytes()).ok()?;
    let mut at = At::root();
    authz::policies(&written, &mut at).filter(|_| at.into_faults().is_empty())
}

fn decide(policies: &Policies, method: &str, path: &str, id: &str) -> Decision {
    let headers = [(":method", method), (":path", path), (":authority", "Shop.example")];
    let digest = ("connection.sha256_peer_certificate_digest".to_owned(), b"d".to_vec());
    let mut request = Described { headers: HeaderList::from_iter(headers), properties: vec![digest] };
    let mut surroundings = Surroundings::default();
    surroundings.peers.insert(b"d", Peer::new([id]));
    policies.decide(&mut Attributes::new(&mut request, &mut surroundings)).expect("everything is told")
}

#[wasm_bindgen_test]
fn policies_decide() {
    let policies = policies(
        r#"{"workload": {"trustDomain": "td"}, "policies": [
            {"name": "a", "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/a/sa/b"]}}],
                                     "to": [{"operation": {"hosts": ["*.EXAMPLE"], "paths": ["/u/{*}/f/{**}"]}}]}]},
            {"name": "d", "action": "DENY", "rules": [{"to": [{"operation": {"notMethods": ["GET"]}}]}]}]}"#,
    );
    let policies = policies.expect("good policies");
    let rule = |policy| Some(RuleId { policy, rule: 0 });
    assert_eq!(decide(&policies, "GET", "/u/me/f/?x", "spiffe://td/ns/a/sa/b"), Decision::Allowed(rule(0)));
    assert_eq!(decide(&policies, "GET", "/u/me/f", "spiffe://td/ns/a/sa/b"), Decision::Denied(None));
    assert_eq!(decide(&policies, "GET", "/u/me/f/", "spiffe://cluster.local/ns/a/sa/b"), Decision::Denied(None));
    assert_eq!(decide(&policies, "PUT", "/u/me/f/", "spiffe://td/ns/a/sa/b"), Decision::Denied(rule(1)));
}

#[wasm_bindgen_test]
fn bad_policies_are_refused() {
    for rule in [
        r#"{"from": [{"source": {"ipBlocks": ["10.0.0.1"]}}]}"#,
        r#"{"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/33"]}}]}"#,
        r#"{"to": [{"operation": {"ports": ["65536"]}}]}"#,
        r#"{"when": [{"key": "destination.user", "values": ["a"]}]}"#,
    ] {
        assert!(policies(&format!(r#"{{"policies": [{{"name": "p", "rules": [{rule}]}}]}}"#)).is_none(), "{rule}");
    }
}
