//! Regular expressions: whole values, RE2's limits, replacements.

use crate::support::{faultless, with_faults};
use http_match::{Regex, Substitution};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn regex(pattern: &str) -> Regex {
    faultless(|at| Regex::compile(pattern, at)).unwrap()
}

#[test]
fn the_whole_value_must_match() {
    let cases: [(&str, &[&str], &[&str]); 24] = [
        ("/r/[a-z]+", &["/r/abc"], &["/xr/abc", "/r/abc1", "/r/"]),
        ("a|b", &["a", "b"], &["ab", "xa", "bx", ""]),
        ("a|ab", &["a", "ab"], &["abb"]),
        ("^a$", &["a"], &["a\n", "\na", "aa"]),
        ("(?m)^a$", &["a"], &["a\nb", "b\na"]),
        ("(?m)^a$\n^b$", &["a\nb"], &["a"]),
        ("a.c", &["abc", "aéc"], &["a\nc", "ac"]),
        ("(?s)a.c", &["a\nc"], &["ac"]),
        ("(?i)aB", &["ab", "AB"], &["abc"]),
        ("(?i:a)b", &["Ab"], &["AB"]),
        (".*", &["", "x", "é"], &["\n", "a\n"]),
        ("/a/.*", &["/a/", "/a/b/é"], &["/a", "/b/", "/a/\n", "/a/b\n"]),
        ("^/a/.*$", &["/a/", "/a/b"], &["/a", "/a/\n"]),
        ("/a", &["/a"], &["/a/", "/", "/a\n"]),
        ("^/a", &["/a"], &["/ab", "x/a"]),
        (r"/v1\.0/.*", &["/v1.0/", "/v1.0/x"], &["/v1x0/", "/v1.0", "/v2.0/"]),
        ("ab?", &["a", "ab"], &["abb", "b"]),
        ("ab{2}", &["abb"], &["ab", "a"]),
        ("ab+", &["ab", "abb"], &["a"]),
        ("a{0,1}b", &["b", "ab"], &["aab"]),
        (r"\d\w\s", &["1a "], &["aa ", "١a "]),
        ("[]a]+", &["]a"], &["[a"]),
        ("[^]a]", &["b"], &["]", "a"]),
        (r"[[:alpha:]\-{*?]+", &["a-{*?"], &["1"]),
    ];
    for (pattern, matching, others) in &cases {
        let regex = regex(pattern);
        matching.iter().for_each(|value| assert!(regex.is_full_match(value.as_bytes()), "{pattern} {value:?}"));
        others.iter().for_each(|value| assert!(!regex.is_full_match(value.as_bytes()), "{pattern} {value:?}"));
    }
}

#[test]
fn what_is_no_text_matches_nothing() {
    for pattern in [".*", "(?s).*", "a.", "a.*", "[^b]*"] {
        assert!(!regex(pattern).is_full_match(b"a\xff"), "{pattern}");
    }
}

#[test]
fn an_expression_knows_what_it_starts_with() {
    for (pattern, literal) in [
        ("/api/v1/.*", "/api/v1/"),
        ("^/api", "/api"),
        (r"/v1\.0/\d", "/v1.0/"),
        ("/ab?", "/a"),
        ("/ab*", "/a"),
        ("/ab{2}", "/a"),
        ("/ab+", "/ab"),
        (r"/a\.?", "/a"),
        ("/a|/b", ""),
        ("/a(b|c)", ""),
        ("(?i)/a", ""),
        ("/a(?i)b", ""),
        ("[a]", ""),
        ("^a*b", ""),
        ("é", ""),
    ] {
        assert_eq!(regex(pattern).literal_prefix(), literal.as_bytes(), "{pattern}");
    }
}

#[test]
fn what_re2_refuses_or_reads_otherwise_is_refused() {
    for (pattern, reason) in [
        ("(", "not a valid RE2 expression"),
        ("a)|(b", "not a valid RE2 expression"),
        ("*a", "not a valid RE2 expression"),
        ("[b-a]", "not a valid RE2 expression"),
        (r"(a)\1", "not a valid RE2 expression: backreferences"),
        ("a\\", "not a valid RE2 expression"),
        ("(?=a)", "look-around"),
        ("(?!a)", "look-around"),
        ("(?<=a)b", "look-around"),
        ("(?<!a)b", "look-around"),
        ("(?x) a", "only (?:…)"),
        ("(?P=a)", "only (?:…)"),
        ("(?#a)", "only (?:…)"),
        (r"\pL", "Unicode classes"),
        (r"[\p{Greek}]", "Unicode classes"),
        (r"\C", r"\C is not available"),
        (r"\Qa.b\E", r"\Q…\E"),
        (r"\<a\>", "without a backslash"),
        (r"\u0041", r"\x{…}"),
        (r"\b{start}a", "brace"),
        ("a{1001}", "up to 1000"),
        ("a{2,1001}", "up to 1000"),
        ("a{99999999999}", "up to 1000"),
        ("a{,5}", "brace"),
        ("a{ 2 }", "brace"),
        ("a{x}", "brace"),
        ("a{2", "brace"),
        ("a**", "cannot be repeated"),
        ("a+?+", "cannot be repeated"),
        ("a{2}{3}", "cannot be repeated"),
        ("(?i)é", "ASCII only"),
        ("(?s-i:a)(?m)((?:(?:a{1000}){1000}){1000})", "not a valid RE2 expression"),
    ] {
        let (compiled, faults) = with_faults(|at| Regex::compile(pattern, at));
        assert!(compiled.is_none() && faults.len() == 1, "{pattern}: {faults:?}");
        assert!(faults[0].contains(reason), "{pattern}: {faults:?}");
    }
    for pattern in [
        "[(?x]",
        "[]{x}?*]",
        "[^]{x}?*]",
        r"[[:alpha:]({?*]",
        r"\[\(?\{*",
        r"\x{41}\x42",
        r"\.\_\-\/\ ",
        "a{1000}",
        "a*?b+?c??d{1,2}?",
        "(?P<n>a)(?<m>b)",
        r"\Aa\z",
        "[{]{2}",
    ] {
        regex(pattern);
    }
}

#[test]
fn length_is_limited() {
    regex(&"a".repeat(1024));
    let (_, faults) = with_faults(|at| Regex::compile(&"a".repeat(1025), at));
    assert!(faults[0].ends_with("longer than 1024 bytes"), "{faults:?}");
    assert!(faults[0].len() < 200, "the value is quoted shortened");
}

#[test]
fn every_match_is_replaced() {
    for (pattern, rewrite, value, expected) in [
        ("^/rg/([^/]+)(/.*)$", r"/c\2/\1", "/rg/update/v1/api", "/c/v1/api/update"),
        ("a", "b", "/aXa", "/bXb"),
        ("a*", "x", "baac", "xbxcx"),
        ("(a)|(b)", r"[\1\2]", "ab", "[a][b]"),
        ("/x", r"\0\\", "/x", r"/x\"),
        ("/none", "/y", "/x", "/x"),
        ("é", "e", "/é", "/e"),
    ] {
        let regex = regex(pattern);
        let substitution = faultless(|at| Substitution::compile(rewrite, regex.groups(), at)).unwrap();
        let replaced = regex.replace_all(value.as_bytes(), &substitution);
        assert_eq!(String::from_utf8_lossy(&replaced), expected, "{pattern} {rewrite}");
    }
    let substitution = faultless(|at| Substitution::compile("b", 0, at)).unwrap();
    assert_eq!(&*regex("a").replace_all(b"a\xff", &substitution), b"a\xff");
}

#[test]
fn a_replacement_names_groups_that_exist() {
    for (rewrite, reason) in
        [(r"\2", "only 1 groups"), (r"\9", "only 1 groups"), (r"\a", "0 to 9"), ("a\\", "0 to 9"), (r"\é", "0 to 9")]
    {
        let (compiled, faults) = with_faults(|at| Substitution::compile(rewrite, 1, at));
        assert!(compiled.is_none() && faults[0].contains(reason), "{rewrite}: {faults:?}");
    }
    for rewrite in ["", r"\0\1", r"\\9", "$1"] {
        faultless(|at| Substitution::compile(rewrite, 1, at)).unwrap();
    }
}
