//! What depends on time: tokens that grow old, keys that are fetched, changed, not to be had. And what a request costs.

#![cfg(not(target_family = "wasm"))]

mod support;

use filter_api::{HeaderEdit, HeaderMap};
use native_shim::{NativeProxy, Recorded};
use std::time::Duration;
use support::{Behind, FETCHED, NOW, given, key_set, proxy, request, token, with};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn status(behind: &mut Behind, proxy: &mut NativeProxy, token: &str) -> String {
    behind.send(proxy, with(token)).0
}

#[test]
fn clocks_may_be_a_minute_apart() {
    let mut behind = Behind::with_keys(&[]);
    let mut proxy = proxy(&given(&[1])).unwrap();
    for (claim, expected) in [
        (format!(r#","exp":{}"#, NOW - 60), "200"),
        (format!(r#","exp":{}"#, NOW - 61), "401"),
        (format!(r#","nbf":{}"#, NOW + 60), "200"),
        (format!(r#","nbf":{}"#, NOW + 61), "401"),
        (format!(r#","nbf":{}"#, u64::MAX), "401"),
        (format!(r#","exp":{}"#, u64::MAX), "200"),
    ] {
        assert_eq!(status(&mut behind, &mut proxy, &token(1, &claim)), expected, "{claim}");
    }
}

#[test]
fn a_known_token_grows_old_all_the_same() {
    let mut behind = Behind::with_keys(&[]);
    let mut proxy = proxy(&given(&[1])).unwrap();
    let token = token(1, &format!(r#","exp":{}"#, NOW + 10));
    assert_eq!(status(&mut behind, &mut proxy, &token), "200");
    proxy.advance(seconds(70));
    assert_eq!(status(&mut behind, &mut proxy, &token), "200");
    assert_eq!(proxy.metric("outrigger.jwt_authn.cache_hit"), 1);
    proxy.advance(seconds(1));
    assert_eq!(behind.send(&mut proxy, with(&token)), ("401".into(), "Jwt is expired".into()));
}

#[test]
fn keys_are_fetched_once_and_again_before_they_are_too_old() {
    let mut behind = Behind::with_keys(&[1]);
    let mut proxy = proxy(FETCHED).unwrap();
    for _ in 0..3 {
        assert_eq!(status(&mut behind, &mut proxy, &token(1, "")), "200");
    }
    assert_eq!((behind.asked, proxy.metric("outrigger.jwt_authn.jwks_fetched")), (1, 1));
    proxy.advance(seconds(89));
    behind.send(&mut proxy, request(&[]));
    assert_eq!(behind.asked, 1);
    proxy.advance(seconds(2));
    behind.send(&mut proxy, request(&[]));
    assert_eq!(behind.asked, 2, "after nine tenths of the cache duration, without any request that needs them");
}

#[test]
fn a_changed_set_of_keys_counts_at_once() {
    let mut behind = Behind::with_keys(&[1]);
    let mut proxy = proxy(FETCHED).unwrap();
    let (old, new) = (token(1, ""), token(2, ""));
    assert_eq!(status(&mut behind, &mut proxy, &old), "200");
    behind.keys = Some((200, key_set(&[2]).into_bytes()));
    // A key that is not there: fetched again, but not more often than every ten seconds.
    assert_eq!(behind.send(&mut proxy, with(&new)).1, "Jwks doesn't have key to match kid or alg from Jwt");
    assert_eq!(behind.asked, 1);
    proxy.advance(seconds(10));
    assert_eq!(status(&mut behind, &mut proxy, &new), "200");
    assert_eq!(status(&mut behind, &mut proxy, &old), "401", "a token that was known, of a key that is gone");
    for seed in 3..20 {
        assert_eq!(status(&mut behind, &mut proxy, &token(seed, "")), "401");
    }
    assert_eq!(behind.asked, 2);
}

#[test]
fn old_keys_stay_while_there_are_no_new_ones() {
    let mut behind = Behind::with_keys(&[1]);
    let mut proxy = proxy(FETCHED).unwrap();
    assert_eq!(status(&mut behind, &mut proxy, &token(1, "")), "200");
    for answer in
        [None, Some((503, Vec::new())), Some((200, b"<html>".to_vec())), Some((200, vec![b' '; (1 << 20) + 1]))]
    {
        behind.keys = answer;
        proxy.advance(seconds(100));
        assert_eq!(status(&mut behind, &mut proxy, &token(1, "")), "200");
    }
    assert!(proxy.metric("outrigger.jwt_authn.jwks_failed") >= 4);
}

#[test]
fn after_a_failure_keys_are_asked_for_again_each_time_later() {
    let mut behind = Behind { keys: None, asked: 0 };
    let mut proxy = proxy(FETCHED).unwrap();
    let token = token(1, "");
    assert_eq!(behind.send(&mut proxy, with(&token)), ("401".into(), "Jwks remote fetch is failed".into()));
    for _ in 0..100 {
        assert_eq!(status(&mut behind, &mut proxy, &token), "401");
    }
    assert_eq!(behind.asked, 1, "requests do not add to the load of who has the keys");
    proxy.advance(seconds(2));
    behind.send(&mut proxy, request(&[]));
    assert_eq!(behind.asked, 2);
    proxy.advance(seconds(1));
    behind.send(&mut proxy, request(&[]));
    assert_eq!(behind.asked, 2);
    behind.keys = Some((200, key_set(&[1]).into_bytes()));
    proxy.advance(seconds(2));
    behind.send(&mut proxy, request(&[]));
    assert_eq!(status(&mut behind, &mut proxy, &token), "200");
    assert_eq!(proxy.metric("outrigger.jwt_authn.denied.keys"), 101);
}

#[test]
fn requests_that_wait_are_bounded_and_all_answered() {
    let mut behind = Behind::with_keys(&[1]);
    let mut proxy = proxy(FETCHED).unwrap();
    let waiting: Vec<_> = (0..1_000).map(|_| proxy.open_stream(&with(&token(1, "")))).collect();
    assert!(waiting.iter().all(|stream| !proxy.resumed(*stream) && !proxy.replied(*stream)));
    let one_more = proxy.open_stream(&with(&token(1, "")));
    assert!(proxy.replied(one_more));
    proxy.close_stream(waiting[0]);
    // Answers are delivered while another request is under way.
    assert_eq!(status(&mut behind, &mut proxy, &token(1, r#","x":1"#)), "401");
    assert_eq!(status(&mut behind, &mut proxy, &token(1, r#","x":1"#)), "200");
    assert!(waiting.iter().skip(1).all(|stream| proxy.resumed(*stream)));
    assert_eq!(behind.asked, 1);
}

/// What a request makes the filter ask, metrics apart.
fn asked(proxy: &mut NativeProxy, message: native_shim::Message) -> Vec<Recorded> {
    proxy.take_recorded();
    Behind::with_keys(&[]).send(proxy, message);
    proxy.take_recorded()
}

#[test]
fn a_known_token_costs_its_effects() {
    let mut proxy = proxy(&given(&[1])).unwrap();
    let read = || Recorded::HeaderList(HeaderMap::Request);
    assert_eq!(asked(&mut proxy, request(&[])), [read(), Recorded::Now]);
    let token = token(1, "");
    let first = asked(&mut proxy, with(&token));
    let effects = [
        read(),
        Recorded::Now,
        Recorded::SetProperty("outrigger.jwt".into(), br#"{"iss":"i"}"#.to_vec()),
        Recorded::Edit(HeaderMap::Request, HeaderEdit::Add("x-payload".into(), b"eyJpc3MiOiJpIn0".to_vec())),
        Recorded::Edit(HeaderMap::Request, HeaderEdit::Remove("authorization".into())),
    ];
    assert_eq!(first, effects);
    assert_eq!(asked(&mut proxy, with(&token)), effects);
}

#[test]
fn without_providers_nothing_is_asked() {
    let mut proxy = proxy("{}").unwrap();
    assert_eq!(asked(&mut proxy, with("bad")), []);
}
