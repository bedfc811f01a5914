//! What the filter asks of its host: each answer costs time on every request.

#![cfg(not(target_family = "wasm"))]

use filter_api::{HeaderEdit, HeaderMap};
use http_match::HeaderList;
use native_shim::{Message, NativeProxy, Recorded, RecordedCall, Sent, Settings, Upstreams};

struct Ok200;

impl Upstreams for Ok200 {
    fn http(&mut self, _sent: &Sent) -> Option<Message> {
        let headers = [(":status", "200"), ("x-up", "1")].into_iter().collect();
        Some(Message { headers, ..Message::default() })
    }

    fn grpc(&mut self, _call: &RecordedCall) -> Result<Vec<u8>, u32> {
        Err(12)
    }
}

fn get(path: &str, more: &[(&str, &str)]) -> Message {
    let mut headers: HeaderList =
        [(":authority", "a.test"), (":path", path), (":method", "GET"), (":scheme", "http")].into_iter().collect();
    more.iter().for_each(|(name, value)| headers.add(name, value.as_bytes()));
    Message { headers, ..Message::default() }
}

/// What one request makes the filter ask.
fn asked(configuration: &str, request: Message) -> Vec<Recorded> {
    let mut proxy = NativeProxy::new(Settings::default());
    proxy.add_plugin(header_rules::configure, configuration.as_bytes()).expect(configuration);
    proxy.take_recorded();
    proxy.exchange(request, &mut Ok200);
    proxy.take_recorded()
}

fn set(map: HeaderMap, name: &str, value: &str) -> Recorded {
    Recorded::Edit(map, HeaderEdit::Set(name.to_owned(), value.as_bytes().to_vec()))
}

#[test]
fn nothing_configured_asks_nothing() {
    assert_eq!(asked("", get("/", &[])), []);
    assert_eq!(asked(r#"{"stripControlHeaders": false}"#, get("/", &[])), []);
    assert_eq!(asked(r#"{"rules": [{"then": "STOP"}]}"#, get("/", &[])), []);
}

#[test]
fn static_response_headers_for_everything_read_no_request() {
    let rules =
        r#"{"rules": [{"response": {"set": {"x-a": "1"}}}, {"then": "STOP"}, {"request": {"set": {"x": "y"}}}]}"#;
    assert_eq!(asked(rules, get("/", &[])), [set(HeaderMap::Response, "x-a", "1")]);
    let routes = r#"{"stripControlHeaders": false,
        "virtualHosts": [{"domains": ["*"], "routes": [{"headers": {"response": {"set": {"x-a": "1"}}}}]}]}"#;
    assert_eq!(asked(routes, get("/", &[])), [set(HeaderMap::Response, "x-a", "1")]);
}

#[test]
fn a_route_costs_one_map_and_one_property() {
    let configuration = r#"{"virtualHosts": [{"domains": ["a.test"], "routes": [
        {"match": [{"uri": {"prefix": "/x"}, "headers": {"x-a": {"exact": "1"}}}], "id": "x"}, {"id": "y"}]}]}"#;
    for (path, id) in [("/x", "x"), ("/y", "y")] {
        let expected = [
            Recorded::HeaderList(HeaderMap::Request),
            Recorded::SetProperty("outrigger.route".into(), id.as_bytes().to_vec()),
        ];
        assert_eq!(asked(configuration, get(path, &[("x-a", "1")])), expected);
    }
}

#[test]
fn the_port_is_asked_for_only_where_it_decides() {
    let configuration = r#"{"virtualHosts": [
        {"domains": ["a.test"], "routes": [{}]},
        {"domains": ["b.test"], "routes": [{"match": [{"port": 80}]}]}]}"#;
    let asks_port = |authority: &str| {
        let mut request = get("/", &[]);
        request.headers.set(":authority", authority.as_bytes());
        let port = Recorded::Property(vec!["destination".into(), "port".into()]);
        asked(configuration, request).contains(&port)
    };
    assert!(!asks_port("a.test"));
    assert!(asks_port("b.test"));
}

#[test]
fn one_header_for_a_format_string_is_read_alone() {
    let rules = r#"{"rules": [{"request": {"set": {"x-b": "%REQ(x-a)%"}}}]}"#;
    let expected = [Recorded::Header(HeaderMap::Request, "x-a".into()), set(HeaderMap::Request, "x-b", "1")];
    assert_eq!(asked(rules, get("/", &[("x-a", "1")])), expected);
    let rules = r#"{"rules": [{"request": {"set": {"x-b": "%REQ(x-a)%%REQ(x-c)%"}}}]}"#;
    let expected = [Recorded::HeaderList(HeaderMap::Request), set(HeaderMap::Request, "x-b", "1")];
    assert_eq!(asked(rules, get("/", &[("x-a", "1")])), expected);
}

#[test]
fn streams_that_end_are_forgotten() {
    let configuration = r#"{"rules": [{"response": {"set": {"x-a": "%REQ(x-id)%"}}}]}"#;
    let mut proxy = NativeProxy::new(Settings::default());
    proxy.add_plugin(header_rules::configure, configuration.as_bytes()).unwrap();
    // A client that leaves before the response, then one that stays: it must get its own value.
    let gone = proxy.open_stream(&get("/", &[("x-id", "gone")]));
    proxy.close_stream(gone);
    let exchange = proxy.exchange(get("/", &[("x-id", "here")]), &mut Ok200);
    assert_eq!(exchange.response.headers.get("x-a"), Some(&b"here"[..]));
}
