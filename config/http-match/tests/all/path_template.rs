//! Path templates: what they match, and which are refused.

use crate::support::{faultless, with_faults};
use http_match::PathTemplate;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn operators_stand_for_segments_and_for_the_rest() {
    for (template, matching, others) in [
        (
            "/foo/{*}",
            &["/foo/bar", "/foo/b%2fr", "/foo/a:@!$&'()*+,;=~._-"][..],
            &["/foo/", "/foo/bar/", "/foo//bar", "/foo/a/b", "/foo", "/Foo/bar", "/foo/a b", "/foo/a|b", "/foo/é"][..],
        ),
        ("/foo/{**}", &["/foo/", "/foo//", "/foo/a/b/", "/foo/a"], &["/foo", "/foox/", "/foo/a b", "/foo/{"]),
        ("/a/{**}/end", &["/a/b/end", "/a/b/c/end", "/a//end", "/a/end/end"], &["/a/end", "/a/b/end/", "/a/bend"]),
        ("/foo/{**}/", &["/foo/bar/", "/foo//"], &["/foo/bar/baz.txt", "/foo/", "/foo"]),
        ("/{*}/b/{*}", &["/a/b/c", "/b/b/b"], &["/a/c/b", "//b/c", "/a/b/", "/a/b/c/"]),
        ("/{*}/{**}", &["/a/", "/a/b", "/a//"], &["/a", "//", "/"]),
        ("/{**}", &["/", "/a", "//"], &["", "a"]),
        ("/{*}/", &["/a/"], &["/a", "//", "/a//"]),
        ("/a/{*}/{**}/z", &["/a/b//z", "/a/b/c/z"], &["/a/b/z", "/a//c/z"]),
        ("/a//{*}", &["/a//b"], &["/a/b"]),
    ] {
        let parsed = faultless(|at| PathTemplate::parse(template, at)).unwrap();
        matching.iter().for_each(|path| assert!(parsed.matches(path.as_bytes()), "{template} {path}"));
        others.iter().for_each(|path| assert!(!parsed.matches(path.as_bytes()), "{template} {path}"));
    }
}

#[test]
fn what_istio_refuses_is_refused() {
    for (template, reason) in [
        ("a/{*}", "starts with /"),
        ("", "starts with /"),
        ("/{**}/{*}", "last operator"),
        ("/{**}/{**}", "last operator"),
        ("/a{*}", "whole segments"),
        ("/{*}b", "whole segments"),
        ("/{*}{*}", "whole segments"),
        ("/{**}{*}", "whole segments"),
        ("/{***}", "whole segments"),
        ("/{a}/{*}", "whole segments"),
        ("/{*}/*", "whole segments"),
        ("/a*/{*}", "whole segments"),
        ("/{*}/{", "whole segments"),
        ("/{*}/a b", "pchar"),
        ("/{*}/a?b", "pchar"),
        ("/{*}/é", "pchar"),
    ] {
        let (parsed, faults) = with_faults(|at| PathTemplate::parse(template, at));
        assert!(parsed.is_none() && faults.len() == 1 && faults[0].contains(reason), "{template}: {faults:?}");
    }
}

#[test]
fn long_paths_cost_one_pass() {
    let template = faultless(|at| PathTemplate::parse("/{*}/{**}/end", at)).unwrap();
    let path = format!("/{}", "a/".repeat(500_000));
    assert!(!template.matches(path.as_bytes()));
    assert!(template.matches(format!("{path}end").as_bytes()));
}
