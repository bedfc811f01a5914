//! Which entry of a match table is found, and what of the path it spoke about.

use crate::support::{clauses, find, headers, table, with_faults};
use http_match::{Found, HeaderList, MatchTableBuilder, MatchedUri, Request};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn found(entry: usize, alternative: usize, uri: MatchedUri) -> Option<Found> {
    Some(Found { entry, alternative, uri })
}

#[test]
fn the_first_in_order_wins_not_the_most_specific() {
    let table = table(&[
        r#"[{"uri": {"exact": "/z"}}, {"uri": {"prefix": "/a"}}]"#,
        r#"[{"uri": {"exact": "/a/b"}}]"#,
        r#"[{"uri": {"regex": "/r.*"}}]"#,
        r#"[{"uri": {"prefix": "/CC"}, "ignoreUriCase": true}]"#,
        r#"[{"headers": {"x-m": {"exact": "a"}}}]"#,
        "[]",
        r#"[{"uri": {"exact": "/unreachable"}}]"#,
    ]);
    let cases: [(&str, &[(&str, &str)], _); 8] = [
        ("/a/b", &[], found(0, 1, MatchedUri::Prefix(2))),
        ("/z?q", &[], found(0, 0, MatchedUri::Whole)),
        ("/rest", &[], found(2, 0, MatchedUri::Whole)),
        ("/ccd", &[], found(3, 0, MatchedUri::Prefix(3))),
        ("/x", &[("x-m", "a")], found(4, 0, MatchedUri::Prefix(1))),
        ("/x", &[], found(5, 0, MatchedUri::Prefix(1))),
        ("/unreachable", &[], found(5, 0, MatchedUri::Prefix(1))),
        ("/rest", &[("x-m", "a")], found(2, 0, MatchedUri::Whole)),
    ];
    for (target, more, expected) in cases {
        assert_eq!(find(&table, &headers(target, more)), expected, "{target}");
    }
    assert_eq!((table.len(), table.is_empty(), table.fixed()), (7, false, None));
}

#[test]
fn a_table_that_needs_no_request_says_so() {
    assert_eq!(table(&[]).fixed(), Some(None));
    assert!(table(&[]).is_empty());
    let first = |uri| Some(found(0, 0, uri));
    assert_eq!(table(&["[]", r#"[{"port": 80}]"#]).fixed(), first(MatchedUri::Prefix(1)));
    assert_eq!(table(&["[{}]"]).fixed(), first(MatchedUri::Prefix(1)));
    assert_eq!(table(&[r#"[{"name": "a", "uri": {"prefix": "/"}}]"#]).fixed(), first(MatchedUri::Prefix(1)));
    assert_eq!(table(&[r#"[{"uri": {"prefix": ""}}]"#]).fixed(), first(MatchedUri::Prefix(0)));
    for needing in [
        r#"{"uri": {"prefix": "/a"}}"#,
        r#"{"method": {"prefix": "G"}}"#,
        r#"{"scheme": {"exact": "http"}}"#,
        r#"{"authority": {"exact": "a"}}"#,
        r#"{"withoutHeaders": {"a": {}}}"#,
        r#"{"queryParams": {"a": {}}}"#,
        r#"{"port": 80}"#,
    ] {
        assert_eq!(table(&[&format!("[{needing}]"), "[]"]).fixed(), None, "{needing}");
    }
}

#[test]
fn a_sequence_is_searched_on_behind_a_match() {
    let (table, faults) = with_faults(|at| {
        let mut builder = MatchTableBuilder::new();
        let entries =
            [r#"[{"uri": {"exact": "/a"}}, {"uri": {"prefix": "/"}}]"#, r#"[{"uri": {"exact": "/b"}}]"#, "[]"];
        entries.iter().for_each(|entry| builder.push(&clauses(entry), at));
        builder.build_sequence()
    });
    assert_eq!(faults.len(), 0);
    let headers = headers("/a", &[]);
    let request = Request::new(&headers);
    let from = |entry| table.find_from(entry, &request).map(|found| (found.entry, found.alternative));
    assert_eq!([0, 1, 2, 3].map(from), [Some((0, 0)), Some((2, 0)), Some((2, 0)), None]);
    let fixed = |entry| table.fixed_from(entry).map(|found| found.map(|found| found.entry));
    assert_eq!([0, 1, 2, 3].map(fixed), [None, None, Some(Some(2)), Some(None)]);
}

#[test]
fn nothing_found_is_nothing() {
    let table = table(&[r#"[{"uri": {"exact": "/a"}}]"#]);
    assert_eq!(find(&table, &headers("/b", &[])), None);
    assert_eq!(find(&table, &HeaderList::new()), None);
}

#[test]
fn a_port_must_be_known_and_equal() {
    let ports = table(&[r#"[{"port": 8080}]"#]);
    assert!(ports.needs_port());
    assert!(!table(&["[{}]", r#"[{"port": 8080}]"#]).needs_port(), "what cannot be reached needs nothing");
    let headers = headers("/", &[]);
    let at = |port| ports.find(&Request { port, ..Request::new(&headers) }).is_some();
    assert_eq!((at(Some(8080)), at(Some(80)), at(None)), (true, false, false));
}

#[test]
fn bytes_that_are_no_text_are_compared_as_bytes() {
    let table = table(&[
        r#"[{"headers": {"x-m": {"regex": ".*"}}}]"#,
        r#"[{"headers": {"x-m": {"prefix": "a"}}}]"#,
        r#"[{"headers": {"x-m": {}}}]"#,
    ]);
    for (value, entry) in [(&b"a\xff"[..], 1), (b"\xff", 2), (b"a", 0), (b"\0", 0)] {
        let mut headers = headers("/", &[]);
        headers.add("x-m", value);
        assert_eq!(find(&table, &headers).map(|found| found.entry), Some(entry), "{value:?}");
    }
}

#[test]
fn ten_thousand_entries_are_told_apart() {
    let entry = |i| {
        format!(
            r#"[{{"uri": {{"prefix": "/"}}, "headers": {{"x-tenant": {{"exact": "t{i}"}}}}}}, {{"uri": {{"exact": "/e/{i}"}}}}]"#
        )
    };
    let entries: Vec<String> = (0..10_000).map(entry).collect();
    let (table, faults) = with_faults(|at| {
        let mut builder = MatchTableBuilder::new();
        entries.iter().for_each(|entry| builder.push(&clauses(entry), at));
        builder.build()
    });
    assert_eq!(faults.len(), 0);
    for i in [0, 1, 4_999, 9_999] {
        let by_header = find(&table, &headers("/x", &[("x-tenant", &format!("t{i}"))]));
        assert_eq!(by_header, found(i, 0, MatchedUri::Prefix(1)));
        assert_eq!(find(&table, &headers(&format!("/e/{i}"), &[])), found(i, 1, MatchedUri::Whole));
    }
    assert_eq!(find(&table, &headers("/e/10000", &[("x-tenant", "t10000")])), None);
}

#[test]
fn a_thousand_values_of_a_header_find_the_first_entry() {
    let entries: Vec<String> =
        (0..1_000).map(|i| format!(r#"[{{"headers": {{"x-m": {{"exact": "v{i}"}}}}}}]"#)).collect();
    let table = table(&entries.iter().map(String::as_str).collect::<Vec<_>>());
    let mut headers = headers("/", &[]);
    for i in (7..1_000).rev() {
        headers.add("x-m", format!("v{i}").as_bytes());
    }
    assert_eq!(find(&table, &headers), found(7, 0, MatchedUri::Prefix(1)));
}
