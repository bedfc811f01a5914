//! Nothing that a client, an issuer or a configuration says makes the filter panic, or hold a request for ever.

#![cfg(not(target_family = "wasm"))]

mod support;

use proptest::prelude::*;
use support::{Behind, FETCHED, given, key_set, proxy, request, token, token_of, with};

const FULL: &str = r#"{"match": [{"uri": {"prefix": "/"}}], "claimHeaders": [{"header": "x-z", "claim": ["a", "b"]}],
    "providers": [
    {"name": "a", "issuer": "i", "audiences": ["x"], "remoteJwks": {"uri": "https://keys.test/k?x", "cluster": "keys",
        "timeout": "1s", "cacheDuration": "10s"}, "fromHeaders": [{"name": "x-a", "prefix": "T "}, {"name": "x-b"}],
        "fromParams": ["t"], "fromCookies": ["c"], "forwardOriginalToken": true, "outputPayloadToHeader": "x-p",
        "outputClaimToHeaders": [{"header": "x-c", "claim": "a.b"}], "spaceDelimitedClaims": ["s"], "clockSkew": "1s"},
    {"name": "b", "issuer": "https://i.test", "discovery": {"cluster": "keys", "clusters": {"k.test": "keys"}}},
    {"name": "c", "jwks": "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",
        \"x\":\"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w\"}]}"}]}"#;

#[test]
fn the_full_configuration_is_a_good_one() {
    assert!(proxy(&FULL.replace('\n', " ")).is_some());
}

#[test]
fn large_and_deep_tokens_are_refused() {
    let mut behind = Behind::with_keys(&[]);
    let mut proxy = proxy(&given(&[1])).unwrap();
    let mut refused = |token: &str| assert_eq!(behind.send(&mut proxy, with(token)).0, "401");
    for text in ["a", "e30.", ".", "[", "\u{e9}"] {
        refused(&text.repeat((1 << 20) / text.len()));
    }
    refused(&token(1, &format!(r#","x":"{}""#, "a".repeat(1 << 20))));
    for depth in [200, 30_000] {
        refused(&token(1, &format!(r#","x":{}{}"#, "[".repeat(depth), "]".repeat(depth))));
        refused(&token(1, &format!(r#","x":{}"#, "[".repeat(depth))));
    }
    refused(&token_of(1, b"{\"iss\":\"i\",\"x\":\"\xff\"}"));
    refused(&token_of(1, b"\0"));
    let good = token(1, &format!(r#","x":"{}""#, "a".repeat(50_000)));
    assert_eq!(behind.send(&mut proxy, with(&good)).0, "200");
}

#[test]
fn keys_that_make_libraries_stumble_are_passed_over() {
    let long = "_".repeat(2_000);
    for key in [
        r#"{"kty":"RSA","n":"","e":""}"#.to_owned(),
        r#"{"kty":"RSA","n":"AA","e":"Aw"}"#.to_owned(),
        format!(r#"{{"kty":"RSA","n":"{long}","e":"AQAB"}}"#),
        format!(r#"{{"kty":"RSA","n":"{}","e":"{long}"}}"#, "_".repeat(342)),
        format!(r#"{{"kty":"RSA","n":"{}","e":"AAAAAAEAAQ"}}"#, "A".repeat(342)),
        r#"{"kty":"EC","crv":"P-256","x":"","y":""}"#.to_owned(),
        format!(r#"{{"kty":"EC","crv":"P-521","x":"{}","y":"{}"}}"#, "_".repeat(88), "_".repeat(88)),
        r#"{"kty":"OKP","crv":"Ed25519","x":""}"#.to_owned(),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}8"}}"#, "_".repeat(42)),
    ] {
        let good = key_set(&[1]);
        let set = good.replacen('[', &format!("[{key},"), 1);
        let mut behind = Behind { keys: Some((200, set.into_bytes())), asked: 0 };
        let mut proxy = proxy(FETCHED).unwrap();
        assert_eq!(behind.send(&mut proxy, with(&token(1, ""))).0, "200", "{key}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_configuring_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = proxy(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_mutation_of_a_configuration_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}\",:*a/0-9]"), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = FULL.replace('\n', " ");
        for (index, replacement) in changes {
            let at = index.index(text.len());
            text.replace_range(at..at + 1, &replacement);
        }
        if let Some(mut proxy) = proxy(&text) {
            Behind::with_keys(&[1]).send(&mut proxy, request(&[("x-b", token(1, "").as_bytes())]));
        }
        let _ = proxy(&FULL[..cut.index(FULL.len())]);
    }

    /// A good token with some bytes changed is as good as it was, or refused; never anything else.
    #[test]
    fn no_mutation_of_a_token_is_accepted(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let good = token(1, r#","sub":"alice""#);
        let mut bytes = good.clone().into_bytes();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assume!(bytes != good.as_bytes());
        let mut proxy = proxy(&given(&[1])).unwrap();
        let header = [b"Bearer ", bytes.as_slice()].concat();
        let (status, _) = Behind::with_keys(&[]).send(&mut proxy, request(&[("authorization", &header)]));
        prop_assert_eq!(status, "401");
    }

    /// Whatever headers and answers say, and however streams come and go, every request ends with an answer.
    #[test]
    fn no_request_panics_or_hangs(
        headers in prop::collection::vec((prop::sample::select(vec![
            "authorization", "x-a", "x-b", "cookie", ":path", "x-p", "origin", "access-control-request-method", "x-z",
        ]), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        signed in any::<bool>(),
        claims in prop::collection::vec(any::<u8>(), 0..40),
        status in prop::sample::select(vec![200u16, 200, 404, 503]),
        answer in prop::collection::vec(any::<u8>(), 0..60),
        leaves in any::<bool>(),
    ) {
        let mut headers: Vec<(&str, Vec<u8>)> = headers;
        if signed {
            headers.push(("x-b", token_of(1, &claims).into_bytes()));
            headers.push(("authorization", format!("Bearer {}", token(1, "")).into_bytes()));
        }
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let mut proxy = proxy(&FULL.replace('\n', " ")).unwrap();
        let mut behind = Behind { keys: Some((status, answer)), asked: 0 };
        if leaves {
            let stream = proxy.open_stream(&request(&headers));
            proxy.close_stream(stream);
        }
        for _ in 0..2 {
            behind.send(&mut proxy, request(&headers));
            proxy.advance(std::time::Duration::from_secs(5));
        }
    }
}
