//! Identities against the source fields of an AuthorizationPolicy.

use crate::support::{faultless, with_faults};
use http_match::{
    NamespacePattern, PrincipalPattern, RequestPrincipalPattern, ServiceAccountPattern, TrustDomainPattern,
    TrustDomains, namespaces,
};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A pattern, the ids it matches, and ids it does not match.
type Row<'r> = (&'r str, &'r [&'r str], &'r [&'r str]);

fn check(rows: &[Row<'_>], matches: impl Fn(&str, &[u8]) -> bool) {
    for (pattern, matching, others) in rows {
        matching.iter().for_each(|id| assert!(matches(pattern, id.as_bytes()), "{pattern} {id}"));
        others.iter().for_each(|id| assert!(!matches(pattern, id.as_bytes()), "{pattern} {id}"));
    }
}

#[test]
fn principals_have_no_scheme() {
    let rows: [Row<'_>; 7] = [
        (
            "td/ns/shop/sa/web",
            &["spiffe://td/ns/shop/sa/web"],
            &[
                "td/ns/shop/sa/web",
                "spiffe://td/ns/shop/sa/web2",
                "spiffe://TD/ns/shop/sa/web",
                "https://td/ns/shop/sa/web",
            ],
        ),
        ("spiffe://td/ns/a/sa/b", &[], &["spiffe://td/ns/a/sa/b"]),
        ("spiffe://*", &[], &["spiffe://td/ns/a/sa/b"]),
        ("td/ns/*", &["spiffe://td/ns/a/sa/b", "spiffe://td/ns/"], &["spiffe://td2/ns/a", "spiffe://td"]),
        (
            "*/sa/web",
            &["spiffe://td/ns/a/sa/web", "spiffe:///sa/web"],
            &["https://td/sa/web", "/sa/web", "spiffe://td/sa/web/"],
        ),
        ("*spiffe://td/a", &[], &["spiffe://td/a"]),
        ("*", &["spiffe://td/ns/a/sa/b", "https://anything"], &[""]),
    ];
    check(&rows, |pattern, id| PrincipalPattern::parse(pattern).matches(id));
}

#[test]
fn namespaces_stand_anywhere_in_any_trust_domain() {
    let rows: [Row<'_>; 8] = [
        (
            "shop",
            &[
                "spiffe://td/ns/shop/sa/x",
                "spiffe://a/b/ns/shop/sa/x",
                "spiffe://a/ns/b/ns/shop/sa/x",
                "spiffe://t/ns/shop/",
            ],
            &["spiffe://td/ns/shop", "spiffe://td/ns/shop2/sa/x", "spiffe://td/ns/xshop/sa/x", "ns/shop/"],
        ),
        ("sh*", &["spiffe://td/ns/shop/sa/x", "spiffe://td/ns/sh/sa/x"], &["spiffe://td/ns/ash/sa/x"]),
        ("*op", &["spiffe://td/ns/shop/sa/x", "spiffe://td/ns/op/sa/x"], &["spiffe://td/ns/ops"]),
        (
            "s*p",
            &["spiffe://td/ns/shop/sa/x", "spiffe://td/ns/sp/", "spiffe://td/ns/s/x/p/"],
            &["spiffe://td/ns/shops"],
        ),
        ("s*o*p", &["spiffe://td/ns/shop/x"], &["spiffe://td/ns/spo/x"]),
        ("*", &["spiffe://td/ns/shop/sa/x"], &["spiffe://td/ns/shop", "spiffe://td/sa/x"]),
        ("s.op", &["spiffe://td/ns/s.op/x"], &["spiffe://td/ns/shop/x"]),
        ("(shop|a)+", &["spiffe://td/ns/(shop|a)+/x"], &["spiffe://td/ns/shop/x"]),
    ];
    check(&rows, |pattern, id| NamespacePattern::parse(pattern).matches(id));
}

#[test]
fn an_index_of_namespaces_finds_what_a_name_matches() {
    let ids = ["spiffe://td/ns/shop/sa/x", "spiffe://a/ns/b/ns/shop/sa/x", "/ns/ns/ns/", "/ns//ns/a/", "/ns/shop", ""];
    for name in ["shop", "b", "ns", "", "a"] {
        let key = NamespacePattern::parse(name).key();
        assert_eq!(key, Some(http_match::Key::Exact(name.as_bytes().into())));
        for id in ids {
            let listed = namespaces(id.as_bytes()).any(|namespace| namespace == name.as_bytes());
            assert_eq!(listed, NamespacePattern::parse(name).matches(id.as_bytes()), "{name} {id}");
        }
    }
    assert_eq!((NamespacePattern::parse("a*").key(), NamespacePattern::parse("a/b").key()), (None, None));
}

#[test]
fn service_accounts_are_names() {
    let rows: [Row<'_>; 3] = [
        (
            "shop/web",
            &[
                "spiffe://td/ns/shop/sa/web",
                "spiffe://other/td/ns/shop/sa/web",
                "spiffe://td/ns/shop/sa/web/pod/1",
                "spiffe://td/ns/shop/k/v/sa/web",
                "spiffe://td/ns/a/ns/shop/sa/web",
            ],
            &[
                "spiffe://td/ns/shop/sa/webx",
                "spiffe://td/ns/shop/sa/web/",
                "spiffe://td/ns/shop/xsa/web",
                "spiffe://td/ns/shop//sa/web",
                "spiffe:///ns/shop/sa/web",
                "spiffe://td/ns/shops/sa/web",
                "spiffe://td/ns/shop",
                "td/ns/shop/sa/web",
            ],
        ),
        ("web", &["spiffe://td/ns/policy/sa/web"], &["spiffe://td/ns/shop/sa/web"]),
        ("a.b/c.d", &["spiffe://td/ns/a.b/sa/c.d"], &["spiffe://td/ns/axb/sa/c.d", "spiffe://td/ns/a.b/sa/cxd"]),
    ];
    check(&rows, |text, id| faultless(|at| ServiceAccountPattern::parse(text, "policy", at)).unwrap().matches(id));
}

#[test]
fn bad_service_accounts_are_faults() {
    for (text, reason) in [
        ("*", "no wildcard"),
        ("shop/*", "no wildcard"),
        ("a/b/c", "expected a name"),
        ("/b", "expected a name"),
        ("a/", "expected a name"),
        ("", "expected a name"),
        (&"a".repeat(321), "320"),
    ] {
        let (parsed, faults) = with_faults(|at| ServiceAccountPattern::parse(text, "policy", at));
        assert!(parsed.is_none() && faults.len() == 1 && faults[0].contains(reason), "{text}: {faults:?}");
    }
}

#[test]
fn trust_domains_end_at_the_first_slash() {
    let rows: [Row<'_>; 4] = [
        ("td", &["spiffe://td/ns/a", "spiffe://td/"], &["spiffe://td", "spiffe://td2/a", "td/a", "spiffe://x/td/"]),
        ("pre*", &["spiffe://pre/a", "spiffe://prefix/a"], &["spiffe://apre/a", "spiffe://pre", "spiffe://x/pre/"]),
        ("*.local", &["spiffe://a.local/x", "spiffe://.local/x"], &["spiffe://a/b.local/x", "spiffe://a.locals/x"]),
        ("*", &["spiffe://td/a", "spiffe://td", "spiffe://"], &["https://td/a", ""]),
    ];
    check(&rows, |text, id| faultless(|at| TrustDomainPattern::parse(text, at)).unwrap().matches(id));
    for text in ["", "a/b", "a*b", "*a*", "**", "*/"] {
        let (parsed, faults) = with_faults(|at| TrustDomainPattern::parse(text, at));
        assert!(parsed.is_none() && faults.len() == 1, "{text}: {faults:?}");
    }
}

#[test]
fn own_principals_stand_for_every_own_domain() {
    let own = |domains: &[&str]| TrustDomains(domains.iter().map(ToString::to_string).collect());
    for (domains, value, expanded) in [
        (&["prod"][..], "cluster.local/ns/a/sa/b", &["prod/ns/a/sa/b"][..]),
        (&["prod", "old"], "prod/ns/a/sa/b", &["prod/ns/a/sa/b", "old/ns/a/sa/b"]),
        (&["prod", "old"], "old/ns/a/sa/*", &["prod/ns/a/sa/*", "old/ns/a/sa/*"]),
        (&["prod", "old"], "foreign/ns/a/sa/b", &["foreign/ns/a/sa/b"]),
        (&["prod", "old"], "prod/ns/a/*", &["prod/ns/a/*"]),
        (&["prod", "old"], "prod/ns/a/sa/b/c", &["prod/ns/a/sa/b/c"]),
        (&["prod", "old"], "*/ns/a/sa/b", &["*/ns/a/sa/b"]),
        (&[], "cluster.local/ns/a/sa/b", &["cluster.local/ns/a/sa/b"]),
        (&["prod"], "*", &["*"]),
        (&["prod"], "prod", &["prod"]),
        (&["old-td", "new-td"], "*-td/ns/a/sa/b", &["*-td/ns/a/sa/b"]),
        (&["old-td", "new"], "*-td/ns/a/sa/b", &["*-td/ns/a/sa/b", "new/ns/a/sa/b"]),
        (&["td-1", "td-2"], "td-*/ns/a/sa/b", &["td-1/ns/a/sa/b", "td-2/ns/a/sa/b"]),
        (&["prod", "prod"], "prod/ns/a/sa/b", &["prod/ns/a/sa/b"]),
    ] {
        assert_eq!(own(domains).expand_principal(value), expanded, "{domains:?} {value}");
    }
}

#[test]
fn own_trust_domains_stand_for_each_other() {
    let own = TrustDomains(vec!["prod".into(), "old".into()]);
    for (value, expanded) in [
        ("prod", &["prod", "old"][..]),
        ("old", &["prod", "old"]),
        ("cluster.local", &["cluster.local"]),
        ("pro*", &["pro*"]),
        ("*", &["*"]),
    ] {
        assert_eq!(own.expand_trust_domain(value), expanded, "{value}");
    }
}

#[test]
fn request_principals_are_split_at_the_last_slash() {
    for (pattern, matching, others) in [
        ("*", &[("i", "s")][..], &[("", "s"), ("i", "")][..]),
        ("https://i/s", &[("https://i", "s")], &[("https:", "/i/s"), ("https://i", "s2"), ("https://i/s", "")]),
        ("i/*", &[("i", "s")], &[("i", ""), ("i2", "s")]),
        ("i/al*", &[("i", "alice"), ("i", "al")], &[("i", "bob"), ("j", "alice")]),
        ("*/sub", &[("i", "sub")], &[("", "sub"), ("i", "sub2")]),
        ("*.suf/sub", &[("a.suf", "sub")], &[("a.suffix", "sub"), ("a.suf", "x")]),
        ("*/a*", &[("i", "a*")], &[("i", "ab")]),
        ("pre*", &[("prefix", "s"), ("pre", "s")], &[("prefix", ""), ("x", "s")]),
        ("*suf", &[("i", "xsuf"), ("i", "suf")], &[("", "suf"), ("i", "s")]),
        ("bare", &[("bare", "")], &[("bare", "s"), ("", "")]),
        ("ISS/a/b", &[("ISS/a", "b")], &[("ISS", "a/b")]),
        ("i*/s", &[("i*", "s")], &[("iss", "s")]),
    ] {
        let parsed = RequestPrincipalPattern::parse(pattern);
        let matches = |(issuer, subject): &(&str, &str)| parsed.matches(issuer.as_bytes(), subject.as_bytes());
        matching.iter().for_each(|token| assert!(matches(token), "{pattern} {token:?}"));
        others.iter().for_each(|token| assert!(!matches(token), "{pattern} {token:?}"));
    }
}
