//! Addresses and blocks of them.

use crate::support::{faultless, with_faults};
use http_match::{AddressBlocks, parse_peer_address};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn texts(blocks: &[&str]) -> Vec<String> {
    blocks.iter().map(ToString::to_string).collect()
}

#[test]
fn blocks_hold_their_addresses() {
    for (blocks, inside, outside) in [
        (
            &["127.1.0.7/16"][..],
            &["127.1.0.0", "127.1.255.255"][..],
            &["127.0.255.255", "127.2.0.0", "::ffff:127.1.0.7"][..],
        ),
        (&["10.0.0.1"], &["10.0.0.1"], &["10.0.0.0", "10.0.0.2"]),
        (&["0.0.0.0/0"], &["0.0.0.0", "255.255.255.255"], &["::"]),
        // Both ends of the last are in others, what lies between is not.
        (&["128.0.0.0/1", "0.0.0.0/2", "0.0.0.0/0"], &["64.0.0.0", "127.255.255.255", "0.0.0.0"], &[]),
        (&["10.0.0.1", "10.0.0.3", "10.0.0.0/30"], &["10.0.0.0", "10.0.0.2"], &["10.0.0.4"]),
        (&["255.255.255.255", "0.0.0.0"], &["255.255.255.255", "0.0.0.0"], &["255.255.255.254", "0.0.0.1"]),
        (&["2001:db8::1/32"], &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "32.1.13.184"]),
        (&["::/0"], &["::", "::ffff:1.2.3.4"], &["1.2.3.4"]),
        (&["::ffff:10.0.0.0/104"], &["::ffff:10.0.0.1"], &["10.0.0.1"]),
        (&["10.0.0.0/8", "10.1.0.0/16", "9.255.255.255"], &["10.1.0.1", "10.200.0.1", "9.255.255.255"], &["11.0.0.0"]),
        (&[], &[], &["0.0.0.0", "::"]),
    ] {
        let set = faultless(|at| AddressBlocks::parse(&texts(blocks), at)).unwrap();
        inside.iter().for_each(|a| assert!(set.contains(a.parse().unwrap()), "{blocks:?} {a}"));
        outside.iter().for_each(|a| assert!(!set.contains(a.parse().unwrap()), "{blocks:?} {a}"));
    }
}

#[test]
fn each_bad_block_is_a_fault() {
    let bad = ["10.0.0.0/33", "10.0.0", "a", "", "10.0.0.1/-1", "::/129", "10.0.0.1:80", "010.0.0.1", " 10.0.0.1", "*"];
    let blocks: Vec<String> = bad.iter().map(ToString::to_string).chain(["10.0.0.1".into()]).collect();
    let (set, faults) = with_faults(|at| AddressBlocks::parse(&blocks, at));
    assert!(set.is_none());
    assert_eq!(faults.len(), bad.len(), "{faults:?}");
    assert_eq!(faults[0], r#"[0]: "10.0.0.0/33": expected an address (10.0.0.1) or a block (10.0.0.0/8)"#);
}

#[test]
fn a_peer_address_may_have_a_port() {
    for (text, address) in [
        ("10.1.1.1:0", Some("10.1.1.1")),
        ("10.1.1.1:65535", Some("10.1.1.1")),
        ("10.1.1.1", Some("10.1.1.1")),
        ("[::1]:80", Some("::1")),
        ("[::1]", Some("::1")),
        ("::1", Some("::1")),
        ("::ffff:10.0.0.1", Some("::ffff:10.0.0.1")),
        ("[::ffff:10.0.0.1]:1", Some("::ffff:10.0.0.1")),
        ("", None),
        (":80", None),
        ("10.1.1.1:", None),
        ("10.1.1.1:x", None),
        ("10.1.1.1:65536", None),
        ("10.1.1.1:+1", None),
        ("[10.1.1.1]:80", None),
        ("[::1]x", None),
        ("[::1", None),
        ("/var/run/socket", None),
        ("10.1.1.1, 10.1.1.2", None),
    ] {
        assert_eq!(parse_peer_address(text.as_bytes()), address.map(|a| a.parse().unwrap()), "{text}");
    }
    assert_eq!(parse_peer_address(b"10.1.1.1\xff"), None);
}
