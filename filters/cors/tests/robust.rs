//! No configuration and no request makes the filter panic, block or leak an allowance; what is written reads back.

#![cfg(not(target_family = "wasm"))]

use cors::Config;
use http_match::HeaderList;
use native_shim::{Message, NativeProxy, RecordedCall, Sent, Settings, Upstreams};
use proptest::prelude::*;

/// Everything a configuration can have, to mutate.
const FULL: &str = concat!(
    r#"{"routes":{"shop/a":{"allowOrigins":[{"regex":"https://[a-z]+[.]example"}],"unmatchedPreflights":"IGNORE"}},"#,
    r#""rules":[{"match":[{"uri":{"prefix":"/a"},"headers":{"x-a":{"exact":"1"}}}],"allowOrigin":["http://old"],"#,
    r#""unmatchedPreflights":"FORWARD"},{"allowOrigins":[{"exact":"http://a"},{"prefix":"http://b"}],"#,
    r#""allowMethods":["GET","POST"],"allowHeaders":["x-a","*"],"exposeHeaders":["x-c"],"maxAge":"86400s","#,
    r#""allowCredentials":true}]}"#
);

/// Answers with a header of its own.
struct Backend;

impl Upstreams for Backend {
    fn http(&mut self, _sent: &Sent) -> Option<Message> {
        let headers = [(":status", "200"), ("access-control-allow-origin", "backend")];
        Some(Message { headers: headers.into_iter().collect(), ..Message::default() })
    }

    fn grpc(&mut self, _call: &RecordedCall) -> Result<Vec<u8>, u32> {
        Err(12)
    }
}

fn proxy(configuration: &[u8]) -> Option<NativeProxy> {
    let settings = Settings { clusters: ["upstream".to_owned()].into(), ..Settings::default() };
    let mut proxy = NativeProxy::new(settings);
    proxy.add_plugin(cors::configure, configuration).ok().map(|()| proxy)
}

fn message(method: &[u8], headers: &[(&str, Vec<u8>)]) -> Message {
    let mut list: HeaderList = [(":path", "/"), (":authority", "a.test")].into_iter().collect();
    list.add(":method", method);
    headers.iter().for_each(|(name, value)| list.add(name, value));
    Message { headers: list, ..Message::default() }
}

#[test]
fn what_is_written_reads_back() {
    let config = plugin_config::from_slice::<Config>(FULL.as_bytes()).unwrap();
    let written = serde_json::to_vec(&config).unwrap();
    assert_eq!(plugin_config::from_slice::<Config>(&written).unwrap(), config);
    assert_eq!(plugin_config::from_slice::<Config>(b"").unwrap(), Config::default());
    assert_eq!(serde_json::to_string(&Config::default()).unwrap(), "{}");
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let known = ["http://a", "http://b", "http://bc", "https://c.example", "null", "*", "", "http://a,http://b"];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let names = ["origin", "access-control-request-method", "access-control-request-headers", "x-a"];
    prop::collection::vec((prop::sample::select(names.to_vec()), value()), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_configuring_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = proxy(&bytes);
    }

    #[test]
    fn no_mutation_of_a_configuration_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}\",:*a.0-9s]"), 1..6),
        cut in any::<prop::sample::Index>(),
        headers in headers(),
    ) {
        let mut text = FULL.to_owned();
        for (index, replacement) in changes {
            let at = index.index(text.len());
            text.replace_range(at..at + 1, &replacement);
        }
        if let Some(mut proxy) = proxy(text.as_bytes()) {
            proxy.exchange(message(b"OPTIONS", &headers), &mut Backend);
        }
        let _ = proxy(&FULL.as_bytes()[..cut.index(FULL.len())]);
    }

    /// Nobody is ever blocked, and only an origin that the policy allows is told so: by its own bytes.
    #[test]
    fn only_allowed_origins_are_told_so(
        requests in prop::collection::vec((prop::sample::select(vec![&b"GET"[..], b"OPTIONS"]), headers()), 1..6),
    ) {
        let mut proxy = proxy(FULL.as_bytes()).unwrap();
        for (method, headers) in requests {
            let first = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_slice());
            let origin = first("origin").unwrap_or_default();
            let allowed = origin == b"http://a" || origin.starts_with(b"http://b");
            let preflight = method == b"OPTIONS" && !first("access-control-request-method").unwrap_or_default().is_empty();
            let exchange = proxy.exchange(message(method, &headers), &mut Backend);
            prop_assert_eq!(exchange.response.headers.get(":status"), Some(&b"200"[..]));
            prop_assert_eq!(exchange.sent.is_empty(), allowed && preflight);
            let expected = if allowed { origin } else { b"backend" };
            prop_assert_eq!(exchange.response.headers.get("access-control-allow-origin"), Some(expected));
        }
    }
}
