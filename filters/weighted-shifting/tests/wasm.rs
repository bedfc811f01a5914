//! Decisions on wasm32-unknown-unknown: a key must have the same destination on every target.

#![cfg(all(target_family = "wasm", target_os = "unknown"))]

use wasm_bindgen_test::wasm_bindgen_test;
use weighted_shifting::{Shares, choose};

#[wasm_bindgen_test]
fn keys_stay_where_they_are() {
    let of = |key: &str| choose(key.as_bytes(), [("v1", 50), ("v2", 50)].into_iter());
    assert_eq!(["anna", "carla", "dora", "emil"].map(of), [Some(1), Some(0), Some(1), Some(0)]);
    assert_eq!(choose(b"anna", [("v1", 0)].into_iter()), None);
}

#[wasm_bindgen_test]
fn draws_fall_on_weights() {
    let shares = Shares::new([1, 0, 3].into_iter()).expect("a weight");
    assert_eq!([0, u64::MAX / 4 - 1, u64::MAX / 4 + 2, u64::MAX].map(|draw| shares.pick(draw)), [0, 0, 2, 2]);
}
