//! Every mistake in a match clause is named with its place, its value and the reason.

use crate::support::{clauses, with_faults};
use http_match::{HttpMatchRequest, MatchTableBuilder, StringMatch};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// The faults of compiling a list of clauses that stands at `match`.
fn compiled(json: &str) -> Vec<String> {
    let clauses = clauses(json);
    with_faults(|at| at.field("match", |at| MatchTableBuilder::new().push(&clauses, at))).1
}

#[test]
fn a_string_match_has_one_kind() {
    let read = |json: &str| plugin_config::from_slice::<StringMatch>(json.as_bytes());
    assert_eq!(read(r#"{"exact": ""}"#), Ok(StringMatch::Exact(String::new())));
    assert_eq!(read(r#"{"prefix": "a"}"#), Ok(StringMatch::Prefix("a".into())));
    assert_eq!(read(r#"{"regex": "*"}"#), Ok(StringMatch::Regex("*".into())));
    assert_eq!((read("{}"), read("null")), (Ok(StringMatch::Present), Ok(StringMatch::Present)));
    for (json, fault) in [
        (r#""a""#, r#"$: "a": expected an object with one of exact, prefix, regex"#),
        (r#"{"exact": "a", "prefix": "b"}"#, "expected exactly one of exact, prefix, regex"),
        (r#"{"suffix": "a"}"#, "expected exactly one of exact, prefix, regex"),
        (r#"{"exact": 5}"#, "exact: 5: expected a string"),
        (r#"{"regex": null}"#, "regex: null: expected a string"),
    ] {
        let faults = read(json).unwrap_err().to_string();
        assert!(faults.contains(fault), "{json}: {faults}");
    }
}

#[test]
fn unknown_fields_are_faults() {
    for field in ["gateways", "sourceLabels", "sourceNamespace", "statPrefix", "path"] {
        let json = format!(r#"{{"{field}": []}}"#);
        let faults = plugin_config::from_slice::<HttpMatchRequest>(json.as_bytes()).unwrap_err().to_string();
        assert!(faults.starts_with(&format!("{field}: []: unknown field")), "{faults}");
    }
    let port = plugin_config::from_slice::<HttpMatchRequest>(br#"{"port": 65536}"#).unwrap_err().to_string();
    assert_eq!(port, "port: 65536: expected a whole number from 0 to 65535");
}

#[test]
fn faults_name_place_value_and_reason() {
    let open = r#"not a valid RE2 expression: found open group without closing ')'"#;
    for (json, fault) in [
        (r#"[{"headers": {"x-m": {"regex": "("}}}]"#, format!(r#"match[0].headers.x-m.regex: "(": {open}"#)),
        (r#"[{}, {"uri": {"regex": "("}}]"#, format!(r#"match[1].uri.regex: "(": {open}"#)),
        (
            r#"[{"method": {"prefix": ""}}]"#,
            r#"match[0].method.prefix: "": an empty prefix matches everything: leave the condition out"#.into(),
        ),
        (r#"[{"uri": {}}]"#, "match[0].uri: {}: expected one of exact, prefix, regex".into()),
        (r#"[{"port": 0}]"#, "match[0].port: 0: expected 1 to 65535".into()),
        (r#"[{"queryParams": {"": {}}}]"#, r#"match[0].queryParams[""]: "": a query parameter needs a name"#.into()),
        (r#"[{"headers": {"x m": {}}}]"#, r#"match[0].headers["x m"]: "x m": not a header name"#.into()),
    ] {
        assert_eq!(compiled(json), [fault], "{json}");
    }
}

#[test]
fn empty_prefixes_and_expressions_are_refused_but_for_the_uri_prefix() {
    let empty = [
        r#"{"method": {"prefix": ""}}"#,
        r#"{"scheme": {"prefix": ""}}"#,
        r#"{"authority": {"prefix": ""}}"#,
        r#"{"headers": {"a": {"prefix": ""}}}"#,
        r#"{"withoutHeaders": {"a": {"prefix": ""}}}"#,
        r#"{"queryParams": {"a": {"prefix": ""}}}"#,
    ];
    for clause in empty {
        assert_eq!(compiled(&format!("[{clause}]")).len(), 1, "{clause}");
        let regex = clause.replace("prefix", "regex");
        assert_eq!(compiled(&format!("[{regex}]")).len(), 1, "{regex}");
    }
    assert_eq!(compiled(r#"[{"uri": {"prefix": ""}}]"#), [""; 0]);
    assert_eq!(compiled(r#"[{"uri": {"regex": ""}}]"#).len(), 1);
    // The short form of presence means nothing where something is always there.
    assert_eq!(compiled(r#"[{"uri": {"regex": "*"}}, {"method": {"regex": "*"}}]"#).len(), 2);
}

#[test]
fn header_names_must_be_usable() {
    for (name, faults) in [
        ("x-m", 0),
        ("X_m.1", 0),
        (":authority", 0),
        ("uri", 0),
        ("", 1),
        (":", 1),
        ("x:m", 1),
        ("a b", 1),
        ("ä", 1),
        ("@request.auth.claims.group", 1),
        ("@request.auth.claims[group]", 1),
    ] {
        for field in ["headers", "withoutHeaders"] {
            let json = format!(r#"[{{"{field}": {{"{name}": {{"exact": "a"}}}}}}]"#);
            assert_eq!(compiled(&json).len(), faults, "{json}");
        }
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let faults = compiled(
        r#"[{"uri": {"regex": "["}, "headers": {"a b": {"regex": ""}, "c": {"prefix": ""}}},
            {"method": {}, "queryParams": {"q": {"regex": "a**"}}}]"#,
    );
    let paths: Vec<&str> = faults.iter().filter_map(|fault| fault.split(": ").next()).collect();
    let expected = [
        "match[0].uri.regex",
        r#"match[0].headers["a b"]"#,
        r#"match[0].headers["a b"].regex"#,
        "match[0].headers.c.prefix",
        "match[1].method",
        "match[1].queryParams.q.regex",
    ];
    assert_eq!(paths, expected);
}
