//! Decisions on wasm32-unknown-unknown: what a draw decides must not depend on the target.

#![cfg(all(target_family = "wasm", target_os = "unknown"))]

use fault_injection::{Answer, Fault, FaultPolicy, Faults};
use plugin_config::At;
use std::time::Duration;
use wasm_bindgen_test::wasm_bindgen_test;

fn fault(json: &str) -> Option<Fault> {
    let policy: FaultPolicy = plugin_config::from_slice(json.as_bytes()).ok()?;
    let mut at = At::root();
    Fault::compile(&policy, &mut at).filter(|_| at.into_faults().is_empty())
}

#[wasm_bindgen_test]
fn draws_decide_to_the_millionth() {
    let fault = fault(r#"{"abort": {"httpStatus": 503, "percentage": {"value": 0.0001}}}"#).expect("a good policy");
    let millionth = u64::MAX / 1_000_000;
    assert_eq!(
        fault.decide(|_| Ok::<_, ()>(millionth - 1)),
        Ok(Faults { delay: None, abort: Some(Answer::Http(503)) })
    );
    assert_eq!(fault.decide(|_| Ok::<_, ()>(millionth + 1)), Ok(Faults::default()));
}

#[wasm_bindgen_test]
fn delay_and_abort_are_decided_apart() {
    let json = r#"{"delay": {"fixedDelay": "1.5s", "percentage": {"value": 100}},
                   "abort": {"grpcStatus": "UNAVAILABLE", "percentage": {"value": 0}}}"#;
    let expected = Faults { delay: Some(Duration::from_millis(1_500)), abort: None };
    assert_eq!(fault(json).expect("a good policy").decide(|_| Err("no draw is needed")), Ok(expected));
}

#[wasm_bindgen_test]
fn bad_policies_are_refused() {
    for json in ["{}", r#"{"abort": {"httpStatus": 600}}"#, r#"{"delay": {"fixedDelay": "0s"}}"#] {
        assert!(fault(json).is_none(), "{json}");
    }
}
