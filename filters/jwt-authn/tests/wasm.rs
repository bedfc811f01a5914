//! Decisions on wasm32-unknown-unknown: which tokens are good must not depend on the target. Signatures of every
//! algorithm, as `cargo run -p outrigger-tests --example jwt_vectors` makes them.

#![cfg(all(target_family = "wasm", target_os = "unknown"))]

mod support;

use support::{Behind, given, proxy, token, with};
use wasm_bindgen_test::wasm_bindgen_test;

/// A configuration, then a token on each line.
const VECTORS: &str = include_str!("vectors.txt");

#[wasm_bindgen_test]
fn every_algorithm_verifies_and_no_changed_signature_does() {
    let mut lines = VECTORS.lines();
    let mut proxy = proxy(lines.next().expect("a configuration")).expect("a good one");
    let mut behind = Behind::with_keys(&[]);
    let mut seen = 0;
    for token in lines {
        assert_eq!(behind.send(&mut proxy, with(token)).0, "200", "{token}");
        let changed = token.len() - 20;
        let other = if token.as_bytes()[changed] == b'A' { "B" } else { "A" };
        let bad = format!("{}{other}{}", &token[..changed], &token[changed + 1..]);
        assert_eq!(behind.send(&mut proxy, with(&bad)), ("401".into(), "Jwt verification fails".into()), "{token}");
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[wasm_bindgen_test]
fn times_are_compared() {
    let mut proxy = proxy(&given(&[1])).expect("a good configuration");
    let mut behind = Behind::with_keys(&[]);
    for (claim, expected) in
        [(r#","exp":1782000000"#, "200"), (r#","exp":1600000000"#, "401"), (r#","nbf":4102444800"#, "401")]
    {
        assert_eq!(behind.send(&mut proxy, with(&token(1, claim))).0, expected, "{claim}");
    }
}

#[wasm_bindgen_test]
fn bad_configurations_are_refused() {
    for json in ["{\"providers\": [{\"name\": \"p\"}]}", "{\"providers\": [{\"name\": \"p\", \"jwks\": \"{}\"}]}"] {
        assert!(proxy(json).is_none(), "{json}");
    }
}
