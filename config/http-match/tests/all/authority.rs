//! Which domain an authority belongs to.

use crate::support::{faultless, with_faults};
use http_match::{AuthorityTable, AuthorityTableBuilder};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn table<'d>(domains: &[&'d str]) -> AuthorityTable<&'d str> {
    faultless(|at| {
        let mut builder = AuthorityTableBuilder::new();
        domains.iter().for_each(|domain| builder.insert(domain, *domain, at));
        builder.build()
    })
}

#[test]
fn exact_before_longest_suffix_before_any() {
    let table =
        table(&["a.b.example.com", "*.b.example.com", "*.Example.com", "*", "b.example.com.", "[::1]", "10.0.0.1"]);
    for (authority, domain) in [
        ("a.b.example.com", "a.b.example.com"),
        ("A.b.EXAMPLE.com:99", "a.b.example.com"),
        ("x.b.example.com", "*.b.example.com"),
        ("x.y.b.example.com", "*.b.example.com"),
        ("b.example.com", "*.Example.com"),
        ("b.example.com.", "b.example.com."),
        ("b.example.com.:80", "b.example.com."),
        ("example.com", "*"),
        (".example.com", "*"),
        ("x.example.com.", "*"),
        ("[::1]", "[::1]"),
        ("[::1]:80", "[::1]"),
        ("[::2]:80", "*"),
        ("10.0.0.1:15001", "10.0.0.1"),
        ("a.b.example.com:", "a.b.example.com"),
        ("a.b.example.com:http", "a.b.example.com"),
        ("a.b.example.com:80:81", "*"),
        ("", "*"),
        (":", "*"),
    ] {
        assert_eq!(table.find(authority.as_bytes()), Some(&domain), "{authority}");
    }
    assert_eq!(table.find(b"\xff"), Some(&"*"));
    assert_eq!(table.fixed(), None);
}

#[test]
fn a_top_level_domain_is_not_below_itself() {
    let table = table(&["*.com"]);
    for (authority, found) in [("a.com", true), ("a.b.com:1", true), ("com", false), (".com", false), ("", false)] {
        assert_eq!(table.find(authority.as_bytes()).is_some(), found, "{authority}");
    }
}

#[test]
fn what_is_longer_than_any_name_belongs_to_any() {
    let longest = format!("{}.com", "a".repeat(251));
    let longer = format!("{}.com", "a".repeat(252));
    let table = table(&["*.com", "*"]);
    assert_eq!(table.find(longest.as_bytes()), Some(&"*.com"));
    assert_eq!(table.find(format!("{longest}:65535").as_bytes()), Some(&"*.com"));
    assert_eq!(table.find(longer.as_bytes()), Some(&"*"));
    assert_eq!(table.find(&vec![b'a'; 1 << 20]), Some(&"*"));
}

#[test]
fn only_a_lone_star_decides_unread() {
    assert_eq!(table(&["*"]).fixed(), Some(&"*"));
    assert_eq!(table(&["*", "*.a"]).fixed(), None);
    assert!(table(&[]).is_empty() && table(&[]).fixed().is_none() && table(&[]).find(b"a").is_none());
}

#[test]
fn unusable_domains_are_faults() {
    for (domain, reason) in [
        ("", "expected a domain"),
        ("a.com:80", "no port"),
        ("[::1]:80", "no port"),
        ("::1", "brackets"),
        ("*.a.com:80", "no port"),
        ("a.*.com", "whole first label"),
        ("*a.com", "whole first label"),
        ("a*", "whole first label"),
        ("**", "whole first label"),
        ("*.", "not a domain"),
        ("a b", "not a domain"),
        ("a/b", "not a domain"),
        (&"a".repeat(256), "longer than 255"),
    ] {
        let (table, faults) = with_faults(|at| {
            let mut builder = AuthorityTableBuilder::new();
            builder.insert(domain, (), at);
            builder.build()
        });
        assert!(faults.len() == 1 && faults[0].contains(reason), "{domain}: {faults:?}");
        assert!(table.is_empty(), "{domain}");
    }
}

#[test]
fn each_domain_belongs_to_one() {
    for (first, second) in [("a.com", "A.com"), ("*.a", "*.A"), ("*", "*")] {
        let (_, faults) = with_faults(|at| {
            let mut builder = AuthorityTableBuilder::new();
            builder.insert(first, 1, at);
            builder.insert(second, 2, at);
        });
        assert!(faults.len() == 1 && faults[0].contains("another virtual host"), "{faults:?}");
    }
    table(&["a.com", "a.com.", "*.a.com"]);
}
