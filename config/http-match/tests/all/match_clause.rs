//! What one match clause matches.

use crate::support::{find, headers, table};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A clause, and requests (target, further headers) with whether they match.
type Row<'r> = (&'r str, &'r [(&'r str, &'r [(&'r str, &'r str)], bool)]);

fn check(rows: &[Row<'_>]) {
    for (clause, requests) in rows {
        let table = table(&[&format!("[{clause}]")]);
        for (target, more, expected) in *requests {
            let found = find(&table, &headers(target, more)).is_some();
            assert_eq!(found, *expected, "{clause} against {target} with {more:?}");
        }
    }
}

#[test]
fn uri_is_the_path_without_query_and_fragment() {
    check(&[
        (
            r#"{"uri": {"exact": "/a"}}"#,
            &[("/a", &[], true), ("/a?b=c", &[], true), ("/a#f", &[], true), ("/a/", &[], false), ("/A", &[], false)],
        ),
        (
            r#"{"uri": {"prefix": "/pre"}}"#,
            &[("/pre", &[], true), ("/prefix", &[], true), ("/pr?/pre", &[], false), ("/x/pre", &[], false)],
        ),
        (r#"{"uri": {"prefix": ""}}"#, &[("/", &[], true), ("*", &[], true)]),
        (
            r#"{"uri": {"regex": "/r/[a-z]+"}}"#,
            &[("/r/abc", &[], true), ("/r/abc?x", &[], true), ("/xr/abc", &[], false), ("/r/abc1", &[], false)],
        ),
    ]);
}

#[test]
fn ignored_case_is_for_exact_and_prefix_only() {
    check(&[
        (
            r#"{"uri": {"exact": "/aB"}, "ignoreUriCase": true}"#,
            &[("/Ab", &[], true), ("/ab", &[], true), ("/abc", &[], false)],
        ),
        (
            r#"{"uri": {"prefix": "/aB"}, "ignoreUriCase": true}"#,
            &[("/AbC", &[], true), ("/a", &[], false), ("/", &[], false)],
        ),
        (r#"{"uri": {"regex": "/aB"}, "ignoreUriCase": true}"#, &[("/aB", &[], true), ("/ab", &[], false)]),
    ]);
}

#[test]
fn method_scheme_and_authority_mind_case_and_port() {
    check(&[
        (r#"{"method": {"exact": "GET"}}"#, &[("/", &[], true), ("/", &[(":method", "get")], false)]),
        (
            r#"{"method": {"regex": "GET|HEAD"}}"#,
            &[("/", &[], true), ("/", &[(":method", "HEADER")], false), ("/", &[(":method", "HEAD")], true)],
        ),
        (r#"{"scheme": {"exact": "https"}}"#, &[("/", &[], false), ("/", &[(":scheme", "https")], true)]),
        (
            r#"{"authority": {"exact": "m"}}"#,
            &[
                ("/", &[(":authority", "m")], true),
                ("/", &[(":authority", "m:8080")], false),
                ("/", &[(":authority", "M")], false),
            ],
        ),
        (r#"{"authority": {"prefix": "m:"}}"#, &[("/", &[(":authority", "m:8080")], true)]),
    ]);
}

#[test]
fn each_value_of_a_header_is_tested_on_its_own() {
    check(&[
        (
            r#"{"headers": {"X-M": {"exact": "a"}}}"#,
            &[
                ("/", &[("x-m", "a")], true),
                ("/", &[("X-m", "a")], true),
                ("/", &[("x-m", " a\t")], true),
                ("/", &[("x-m", "b"), ("x-m", "a")], true),
                ("/", &[("x-m", "a,b")], false),
                ("/", &[("x-m", "A")], false),
                ("/", &[("x-n", "a")], false),
                ("/", &[], false),
            ],
        ),
        (
            r#"{"headers": {"x-m": {"exact": "a,b"}}}"#,
            &[("/", &[("x-m", "a"), ("x-m", "b")], false), ("/", &[("x-m", "a,b")], true)],
        ),
        (r#"{"headers": {"x-m": {"prefix": "ab"}}}"#, &[("/", &[("x-m", "abc")], true), ("/", &[("x-m", "a")], false)]),
        (
            r#"{"headers": {"x-m": {"exact": "a"}, "x-n": {"exact": "b"}}}"#,
            &[("/", &[("x-m", "a"), ("x-n", "b")], true), ("/", &[("x-m", "a")], false)],
        ),
    ]);
}

#[test]
fn presence_and_emptiness_of_headers_differ() {
    for presence in ["{}", "null", r#"{"regex": "*"}"#] {
        check(&[(
            &format!(r#"{{"headers": {{"x-m": {presence}}}}}"#),
            &[("/", &[("x-m", "")], true), ("/", &[("x-m", "v")], true), ("/", &[], false)],
        )]);
    }
    check(&[
        (
            r#"{"headers": {"x-m": {"exact": ""}}}"#,
            &[("/", &[("x-m", "")], true), ("/", &[("x-m", " ")], true), ("/", &[], false)],
        ),
        (r#"{"headers": {"x-m": {"regex": ".*"}}}"#, &[("/", &[("x-m", "")], true), ("/", &[], false)]),
    ]);
}

#[test]
fn pseudo_headers_and_host_are_headers() {
    check(&[
        (r#"{"headers": {":method": {"exact": "GET"}}}"#, &[("/", &[], true), ("/", &[(":method", "PUT")], false)]),
        (r#"{"headers": {":path": {"exact": "/a?b"}}}"#, &[("/a?b", &[], true), ("/a", &[], false)]),
        (r#"{"headers": {"Host": {"exact": "shop.example"}}}"#, &[("/", &[], true)]),
        (r#"{"headers": {"uri": {"exact": "/a"}}}"#, &[("/a", &[], false), ("/", &[("uri", "/a")], true)]),
    ]);
}

#[test]
fn a_missing_header_is_empty_to_without_headers() {
    check(&[
        (
            r#"{"withoutHeaders": {"x-m": {"exact": "a"}}}"#,
            &[
                ("/", &[], true),
                ("/", &[("x-m", "b")], true),
                ("/", &[("x-m", " a ")], false),
                ("/", &[("x-m", "b"), ("x-m", "a")], false),
            ],
        ),
        (
            r#"{"withoutHeaders": {"x-m": {"exact": ""}}}"#,
            &[("/", &[], false), ("/", &[("x-m", "")], false), ("/", &[("x-m", "a")], true)],
        ),
        (
            r#"{"withoutHeaders": {"x-m": {"regex": ".*"}}}"#,
            &[("/", &[], false), ("/", &[("x-m", "")], false), ("/", &[("x-m", "a")], false)],
        ),
        (r#"{"withoutHeaders": {"x-m": {"prefix": "a"}}}"#, &[("/", &[], true), ("/", &[("x-m", "ab")], false)]),
        (r#"{"withoutHeaders": {"x-m": {}}}"#, &[("/", &[], true), ("/", &[("x-m", "")], false)]),
        (r#"{"withoutHeaders": {"x-m": {"regex": "*"}}}"#, &[("/", &[], true), ("/", &[("x-m", "a")], false)]),
    ]);
}

#[test]
fn query_parameters_are_undecoded_and_the_first_decides() {
    check(&[
        (
            r#"{"queryParams": {"k": {"exact": "true"}}}"#,
            &[
                ("/?k=true", &[], true),
                ("/?a=b&k=true#k=false", &[], true),
                ("/?k=false&k=true", &[], false),
                ("/?k=true&k=false", &[], true),
                ("/?K=true", &[], false),
                ("/?k=TRUE", &[], false),
                ("/?kk=true", &[], false),
                ("/k=true", &[], false),
            ],
        ),
        (
            r#"{"queryParams": {"k": {"exact": ""}}}"#,
            &[("/?k", &[], true), ("/?k=", &[], true), ("/?k=v", &[], false), ("/?", &[], false), ("/", &[], false)],
        ),
        (r#"{"queryParams": {"k": {"exact": "v%201"}}}"#, &[("/?k=v%201", &[], true), ("/?k=v 1", &[], false)]),
        (r#"{"queryParams": {"k": {"exact": "a=b"}}}"#, &[("/?k=a=b", &[], true)]),
        (r#"{"queryParams": {"k": {"prefix": "v"}}}"#, &[("/?k=vw", &[], true), ("/?x=v", &[], false)]),
        (r#"{"queryParams": {"k": {"regex": "v.*"}}}"#, &[("/?k=vw", &[], true), ("/?k=uv", &[], false)]),
        (r#"{"queryParams": {"k": {"regex": ".*"}}}"#, &[("/?k", &[], true), ("/?l", &[], false)]),
        (r#"{"queryParams": {"k": {}}}"#, &[("/?k", &[], true), ("/?k=v", &[], true), ("/?l=k", &[], false)]),
        (r#"{"queryParams": {"k": {"regex": "*"}}}"#, &[("/?k", &[], true), ("/", &[], false)]),
    ]);
}

#[test]
fn all_conditions_of_a_clause_must_hold() {
    let clause = r#"{"uri": {"prefix": "/a"}, "method": {"exact": "GET"}, "headers": {"x-m": {"exact": "a"}}}"#;
    check(&[(
        clause,
        &[
            ("/a", &[("x-m", "a")], true),
            ("/b", &[("x-m", "a")], false),
            ("/a", &[(":method", "PUT"), ("x-m", "a")], false),
            ("/a", &[], false),
        ],
    )]);
}
