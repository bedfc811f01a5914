//! The decisions by themselves, over header lists: no host.

#![cfg(not(target_family = "wasm"))]

use header_rules::{Compiled, Config, Decision};
use http_match::{HeaderList, Request};
use plugin_config::At;

fn compile(json: &str) -> Compiled {
    let config = plugin_config::from_slice::<Config>(json.as_bytes()).expect(json);
    let mut at = At::root();
    let compiled = Compiled::compile(&config, &mut at);
    assert_eq!(at.into_faults().to_string(), "", "{json}");
    compiled.expect(json)
}

fn headers(authority: &str, path: &str) -> HeaderList {
    [(":authority", authority), (":path", path), (":method", "GET"), (":scheme", "http")].into_iter().collect()
}

fn decide(compiled: &Compiled, authority: &str, path: &str) -> String {
    let headers = headers(authority, path);
    match compiled.decide(&Request::new(&headers)) {
        Decision::Unrouted => "unrouted".into(),
        Decision::UnknownAuthority => "unknown authority".into(),
        Decision::NoRoute(host) => format!("no route in {}", host.name().unwrap_or("?")),
        Decision::Route(host, route, found) => {
            format!("{}/{} by match {}", host.name().unwrap_or("?"), route.id().unwrap_or("?"), found.alternative)
        }
    }
}

#[test]
fn tells_where_a_request_belongs() {
    let compiled = compile(
        r#"{"virtualHosts": [
            {"name": "a", "domains": ["a.test"], "routes": [
                {"id": "x", "match": [{"uri": {"exact": "/x"}}, {"uri": {"prefix": "/y"}}]}]},
            {"domains": ["*.test"], "routes": [{}]}]}"#,
    );
    assert_eq!(decide(&compiled, "a.test", "/x?q"), "a/x by match 0");
    assert_eq!(decide(&compiled, "A.test:80", "/y/z"), "a/x by match 1");
    assert_eq!(decide(&compiled, "a.test", "/z"), "no route in a");
    assert_eq!(decide(&compiled, "b.test", "/"), "?/? by match 0");
    assert_eq!(decide(&compiled, "test", "/"), "unknown authority");
    assert_eq!(decide(&compile("{}"), "test", "/"), "unrouted");
}

#[test]
fn tells_which_rules_match() {
    let compiled = compile(
        r#"{"rules": [
            {"name": "all", "tag": {"a": "b"}},
            {"match": [{"uri": {"prefix": "/x"}}], "then": "STOP"},
            {"match": [{"uri": {"prefix": "/y"}}], "reply": {"status": 200}}]}"#,
    );
    let headers = headers("a.test", "/y");
    let request = Request::new(&headers);
    assert_eq!(compiled.find_rule(0, &request), Some(0));
    assert_eq!(compiled.find_rule(1, &request), Some(2));
    assert_eq!(compiled.find_rule(3, &request), None);
    assert_eq!((compiled.rule_name(0), compiled.rule_name(1)), (Some("all"), None));
    let continues: Vec<bool> = (0..4).map(|rule| compiled.continues_after(rule)).collect();
    assert_eq!(continues, [true, false, false, false]);
}

#[test]
fn what_is_written_reads_back() {
    let json = concat!(
        r#"{"rules":[{"name":"r","match":[{"uri":{"prefix":"/a"}}],"request":{"set":{"a":"b"}},"#,
        r#""response":{"remove":["c"]},"rewrite":{"uri":"/b","authority":"h"},"cluster":"v1","tag":{"p":"v"},"#,
        r#""then":"STOP"},{"reply":{"status":200,"body":{"bytes":"YQ=="},"headers":{"d":"e"}}},"#,
        r#"{"redirect":{"prefixRewrite":"/c","authority":"h","scheme":"https","port":8443,"redirectCode":302}}],"#,
        r#""virtualHosts":[{"name":"n","domains":["*"],"routes":[{"id":"i","match":[{"uri":{"exact":"/a"}}],"#,
        r#""rewrite":{"uriRegexRewrite":{"match":"a","rewrite":"b"}},"headers":{"request":{"add":{"a":"b"}}},"#,
        r#""timeout":"5s","retries":{"attempts":2,"perTryTimeout":"1s","retryOn":"5xx"},"cluster":"v2"},"#,
        r#"{"directResponse":{"status":204,"body":{"string":"x"}}},{"redirect":{"uri":"/x","derivePort":"FROM_REQUEST_PORT"}}]}],"#,
        r#""unknownAuthority":{"policy":"FORWARD","cluster":"out"},"clusterHeader":"x-c","stripControlHeaders":false}"#
    );
    let config = plugin_config::from_slice::<Config>(json.as_bytes()).unwrap();
    assert_eq!(serde_json::to_string(&config).unwrap(), json);
    assert_eq!(plugin_config::from_slice::<Config>(b"{}").unwrap(), Config::default());
}

#[test]
fn many_routes_are_found_by_index() {
    let routes: Vec<String> =
        (0..5_000).map(|i| format!(r#"{{"id": "r{i}", "match": [{{"uri": {{"prefix": "/svc-{i}/"}}}}]}}"#)).collect();
    let hosts: Vec<String> = (0..5_000)
        .map(|i| format!(r#"{{"name": "h{i}", "domains": ["h{i}.test"], "routes": [{{"id": "o{i}"}}]}}"#))
        .collect();
    let json = format!(
        r#"{{"virtualHosts": [{{"name": "a", "domains": ["a.test"], "routes": [{}]}}, {}]}}"#,
        routes.join(","),
        hosts.join(",")
    );
    let compiled = compile(&json);
    assert_eq!(decide(&compiled, "a.test", "/svc-4711/x"), "a/r4711 by match 0");
    assert_eq!(decide(&compiled, "h4999.test", "/"), "h4999/o4999 by match 0");
    assert_eq!(decide(&compiled, "a.test", "/svc-5000/x"), "no route in a");
}
