//! AuthorizationPolicy's strings, hosts and paths.

use crate::support::{faultless, with_faults};
use http_match::{HostPattern, Key, PathPattern, StringPattern};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_star_stands_at_one_end() {
    for (pattern, matching, others) in [
        ("abc", &["abc"][..], &["ABC", "abcd", "xabc", "", " abc"][..]),
        ("abc*", &["abc", "abcd", "abc*"], &["ab", "xabc", ""]),
        ("*abc", &["abc", "xabc"], &["abcd", ""]),
        ("*foo*", &["foo*", "xfoo*"], &["foo", "xfoox"]),
        ("/a/*/b", &["/a/*/b"], &["/a/x/b"]),
        ("a*b*", &["a*b", "a*bc"], &["axb"]),
        ("**", &["*", "x*"], &["x", ""]),
        ("a?c", &["a?c"], &["abc"]),
    ] {
        let parsed = StringPattern::parse(pattern);
        for empty_is_present in [true, false] {
            matching.iter().for_each(|v| assert!(parsed.matches(v.as_bytes(), empty_is_present), "{pattern} {v}"));
            others.iter().for_each(|v| assert!(!parsed.matches(v.as_bytes(), empty_is_present), "{pattern} {v}"));
        }
    }
}

#[test]
fn a_lone_star_is_presence_or_a_character() {
    let any = StringPattern::parse("*");
    assert!(any.matches(b"", true) && any.matches(b"x", true) && any.matches(b"\xff", true));
    assert!(!any.matches(b"", false) && any.matches(b"x", false) && any.matches(b"\xff", false));
}

#[test]
fn keys_say_what_an_index_can_find() {
    let key = |text| StringPattern::parse(text).key();
    assert_eq!(key("a"), Some(Key::Exact(b"a"[..].into())));
    assert_eq!(key("a*"), Some(Key::Prefix(b"a"[..].into())));
    assert_eq!(key("*a"), Some(Key::Suffix(b"a"[..].into())));
    assert_eq!(key("*"), None);
    assert_eq!(HostPattern::parse("A.com:*").key(), Some(Key::Prefix(b"a.com:"[..].into())));
    let path = |text| faultless(|at| PathPattern::parse(text, at)).unwrap().key();
    assert_eq!(path("/a/{*}/b"), Some(Key::Prefix(b"/a/"[..].into())));
    assert_eq!(path("/a"), Some(Key::Exact(b"/a"[..].into())));
}

#[test]
fn hosts_have_their_port_but_no_case() {
    for (pattern, matching, others) in [
        ("Example.com", &["example.com"][..], &["example.com:80", "example.com."][..]),
        ("example.com:*", &["example.com:80", "example.com:"], &["example.com"]),
        ("*.Example.com", &["a.example.com", "a.b.example.com"], &["example.com", "a.example.com:80"]),
        ("*", &["", "a"], &[]),
        ("[::1]", &["[::1]"], &["[::0001]", "[::1]:80"]),
    ] {
        let parsed = HostPattern::parse(pattern);
        matching.iter().for_each(|host| assert!(parsed.matches_lower(host.as_bytes()), "{pattern} {host}"));
        others.iter().for_each(|host| assert!(!parsed.matches_lower(host.as_bytes()), "{pattern} {host}"));
    }
}

#[test]
fn paths_are_compared_to_the_letter() {
    for (pattern, matching, others) in [
        ("/info*", &["/info", "/information", "/info/"][..], &["/inf", "/INFO"][..]),
        ("/info/*", &["/info/", "/info/x"], &["/info", "/information"]),
        ("*.txt", &["/a.txt", "/a/b.txt"], &["/a.txt/", "/a.TXT"]),
        ("/a%2Fb", &["/a%2Fb"], &["/a%2fb", "/a/b"]),
        ("/a?b", &["/a?b"], &["/a", "/ab"]),
        ("*", &["/", "x"], &[""]),
        ("/a/{*}", &["/a/b"], &["/a/", "/a/b/c"]),
    ] {
        let parsed = faultless(|at| PathPattern::parse(pattern, at)).unwrap();
        matching.iter().for_each(|path| assert!(parsed.matches(path.as_bytes()), "{pattern} {path}"));
        others.iter().for_each(|path| assert!(!parsed.matches(path.as_bytes()), "{pattern} {path}"));
    }
}

#[test]
fn braces_are_for_templates() {
    for path in ["/a/{b}", "/a}", "{", "/{*", "/a/{*}b", "{*}"] {
        let (parsed, faults) = with_faults(|at| PathPattern::parse(path, at));
        assert!(parsed.is_none() && faults.len() == 1, "{path}: {faults:?}");
    }
}
