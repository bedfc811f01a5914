//! What the filter asks of its host: most requests have no origin and must cost next to nothing.

#![cfg(not(target_family = "wasm"))]

use filter_api::{HeaderEdit, HeaderMap};
use http_match::HeaderList;
use native_shim::{Message, NativeProxy, Recorded, RecordedCall, Sent, Settings, Upstreams};

struct Ok200;

impl Upstreams for Ok200 {
    fn http(&mut self, _sent: &Sent) -> Option<Message> {
        Some(Message { headers: [(":status", "200")].into_iter().collect(), ..Message::default() })
    }

    fn grpc(&mut self, _call: &RecordedCall) -> Result<Vec<u8>, u32> {
        Err(12)
    }
}

fn request(method: &str, more: &[(&str, &str)]) -> Message {
    let mut headers: HeaderList = [(":authority", "a.test"), (":path", "/"), (":method", method)].into_iter().collect();
    more.iter().for_each(|(name, value)| headers.add(name, value.as_bytes()));
    Message { headers, ..Message::default() }
}

fn proxy(configuration: &str) -> NativeProxy {
    let settings = Settings { clusters: ["upstream".to_owned()].into(), ..Settings::default() };
    let mut proxy = NativeProxy::new(settings);
    proxy.add_plugin(cors::configure, configuration.as_bytes()).expect(configuration);
    proxy.take_recorded();
    proxy
}

/// What one request makes the filter ask.
fn asked(configuration: &str, request: Message) -> Vec<Recorded> {
    let mut proxy = proxy(configuration);
    proxy.exchange(request, &mut Ok200);
    proxy.take_recorded()
}

fn header(name: &str) -> Recorded {
    Recorded::Header(HeaderMap::Request, name.to_owned())
}

fn set(name: &str, value: &str) -> Recorded {
    Recorded::Edit(HeaderMap::Response, HeaderEdit::Set(name.to_owned(), value.as_bytes().to_vec()))
}

const POLICY: &str = r#"{"rules": [{"allowOrigins": [{"exact": "http://a"}], "allowCredentials": true}]}"#;
const MATCHED: &str =
    r#"{"rules": [{"match": [{"headers": {"x-a": {"exact": "1"}}}], "allowOrigins": [{"exact": "http://a"}]}]}"#;

#[test]
fn nothing_configured_asks_nothing() {
    assert_eq!(asked("{}", request("GET", &[("origin", "http://a")])), []);
}

#[test]
fn without_an_origin_one_header_is_asked_for() {
    for configuration in [POLICY, MATCHED, r#"{"routes": {"shop/a": {"allowOrigins": [{"exact": "*"}]}}}"#] {
        assert_eq!(asked(configuration, request("GET", &[])), [header("origin")]);
        assert_eq!(asked(configuration, request("OPTIONS", &[("origin", "")])), [header("origin")]);
    }
}

#[test]
fn an_actual_request_costs_two_headers_and_its_edits() {
    let expected = [
        header("origin"),
        header(":method"),
        set("access-control-allow-origin", "http://a"),
        set("access-control-allow-credentials", "true"),
    ];
    assert_eq!(asked(POLICY, request("GET", &[("origin", "http://a")])), expected);
    assert_eq!(asked(POLICY, request("GET", &[("origin", "http://b")])), expected[..2]);
}

#[test]
fn conditions_read_the_map_once() {
    let expected =
        [header("origin"), Recorded::HeaderList(HeaderMap::Request), set("access-control-allow-origin", "http://a")];
    assert_eq!(asked(MATCHED, request("GET", &[("origin", "http://a"), ("x-a", "1")])), expected);
    assert_eq!(asked(MATCHED, request("GET", &[("origin", "http://a")])), expected[..2]);
}

#[test]
fn streams_that_end_are_forgotten() {
    let mut proxy = proxy(POLICY);
    // A client that leaves before the response, then one that stays: it must get its own answer.
    let gone = proxy.open_stream(&request("GET", &[("origin", "http://a")]));
    proxy.close_stream(gone);
    let exchange = proxy.exchange(request("GET", &[("origin", "http://b")]), &mut Ok200);
    assert_eq!(exchange.response.headers.get("access-control-allow-origin"), None);
}
