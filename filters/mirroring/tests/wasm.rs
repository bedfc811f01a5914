//! Decisions on wasm32-unknown-unknown: which mirrors get a copy must not depend on the target.

#![cfg(all(target_family = "wasm", target_os = "unknown"))]

use mirroring::Policy;
use plugin_config::At;
use wasm_bindgen_test::wasm_bindgen_test;

fn policy(json: &str) -> Option<Policy> {
    let written = plugin_config::from_slice(json.as_bytes()).ok()?;
    let mut at = At::root();
    Policy::compile(&written, &mut at).filter(|_| at.into_faults().is_empty())
}

#[wasm_bindgen_test]
fn each_mirror_draws_for_itself() {
    let json = r#"{"mirrors": [{"cluster": "a", "percentage": {"value": 25}}, {"cluster": "b"}]}"#;
    let policy = policy(json).expect("a good policy");
    assert_eq!(policy.decide(|_| Ok::<_, ()>(0)), Ok(vec!["a", "b"]));
    assert_eq!(policy.decide(|_| Ok::<_, ()>(u64::MAX)), Ok(vec!["b"]));
}

#[wasm_bindgen_test]
fn bad_policies_are_refused() {
    for json in ["{}", r#"{"mirror": {"cluster": ""}}"#, r#"{"mirror": {"cluster": "m"}, "mirrorPercent": 101}"#] {
        assert!(policy(json).is_none(), "{json}");
    }
}
