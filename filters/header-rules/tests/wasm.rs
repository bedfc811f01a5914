//! The decisions on wasm: compiled, indexed and looked up there.

#![cfg(all(target_family = "wasm", target_os = "unknown"))]

use header_rules::{Compiled, Config, Decision};
use http_match::{HeaderList, Request};
use plugin_config::At;
use wasm_bindgen_test::wasm_bindgen_test;

const CONFIGURATION: &str = r#"{
    "rules": [{"match": [{"headers": {"x-a": {"regex": "[0-9]+"}}}], "request": {"set": {"x-b": "%REQ(x-a)%"}}}],
    "virtualHosts": [{"name": "shop", "domains": ["*.shop.test"], "routes": [
        {"id": "api", "match": [{"uri": {"prefix": "/api"}}], "rewrite": {"uri": "/v1"}, "timeout": "5s"},
        {"id": "old", "match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/new"}}]}]
}"#;

fn compiled() -> Compiled {
    let config = plugin_config::from_slice::<Config>(CONFIGURATION.as_bytes()).unwrap();
    let mut at = At::root();
    let compiled = Compiled::compile(&config, &mut at);
    assert!(at.into_faults().is_empty());
    compiled.unwrap()
}

fn headers(authority: &str, path: &str, value: &[u8]) -> HeaderList {
    let mut list: HeaderList = [(":authority", authority), (":path", path), (":method", "GET")].into_iter().collect();
    list.add("x-a", value);
    list
}

#[wasm_bindgen_test]
fn finds_routes() {
    let compiled = compiled();
    let route = |authority, path| {
        let headers = headers(authority, path, b"");
        match compiled.decide(&Request::new(&headers)) {
            Decision::Route(_, route, _) => route.id().map(str::to_owned),
            _ => None,
        }
    };
    assert_eq!(route("a.shop.test:80", "/api/x").as_deref(), Some("api"));
    assert_eq!(route("A.SHOP.test", "/old?q").as_deref(), Some("old"));
    assert_eq!(route("a.shop.test", "/"), None);
    assert_eq!(route("shop.test", "/api"), None);
}

#[wasm_bindgen_test]
fn finds_rules_by_bytes() {
    let compiled = compiled();
    for (value, rule) in [(&b"42"[..], Some(0)), (b"4\xff", None), (b"", None)] {
        let headers = headers("a", "/", value);
        assert_eq!(compiled.find_rule(0, &Request::new(&headers)), rule);
    }
}

#[wasm_bindgen_test]
fn refuses_with_paths() {
    let config = plugin_config::from_slice::<Config>(br#"{"rules": [{"reply": {"status": 99}}]}"#).unwrap();
    let mut at = At::root();
    // Whatever it returns: a configuration with faults is not used.
    let _ = Compiled::compile(&config, &mut at);
    assert_eq!(at.into_faults().iter().map(|fault| fault.path.as_str()).collect::<Vec<_>>(), ["rules[0].reply.status"]);
}
