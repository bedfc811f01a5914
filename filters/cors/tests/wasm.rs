//! Decisions on wasm32-unknown-unknown: what an origin is told must not depend on the target.

#![cfg(all(target_family = "wasm", target_os = "unknown"))]

use cors::{Policy, Preflight};
use plugin_config::At;
use wasm_bindgen_test::wasm_bindgen_test;

fn policy(json: &str) -> Option<Policy> {
    let written = plugin_config::from_slice(json.as_bytes()).ok()?;
    let mut at = At::root();
    Policy::compile(&written, &mut at).filter(|_| at.into_faults().is_empty())
}

#[wasm_bindgen_test]
fn a_preflight_is_told_the_policy() {
    let policy = policy(r#"{"allowOrigins": [{"regex": "https://[a-z]+[.]example"}], "allowMethods": ["GET", "PUT"]}"#);
    let policy = policy.expect("a good policy");
    let expected = [("access-control-allow-origin", "https://a.example"), ("access-control-allow-methods", "GET,PUT")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
    assert!(policy.allows(b"https://a.example"));
    assert!(!policy.allows(b"https://a.example.evil") && !policy.allows(b"https://\xff.example"));
    assert_eq!(policy.preflight(Some(b"https://a.example"), b"GET", b""), Preflight::Answer(expected));
    assert_eq!(policy.preflight(None, b"GET", b""), Preflight::Forward);
}

#[wasm_bindgen_test]
fn bad_policies_are_refused() {
    for json in [r#"{"allowMethods": ["get"]}"#, r#"{"maxAge": "1.5s"}"#, r#"{"allowOrigins": [{"regex": "("}]}"#] {
        assert!(policy(json).is_none(), "{json}");
    }
}
