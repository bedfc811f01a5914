//! No configuration and no sequence of callbacks makes the filter panic, and hostile requests are decided rightly.

#![cfg(not(target_family = "wasm"))]

use http_match::HeaderList;
use native_shim::{Message, NativeProxy, RecordedCall, Sent, Settings, Upstreams};
use proptest::prelude::*;

/// Everything a configuration can have, to mutate.
const FULL: &str = r#"{"workload":{"namespace":"shop","trustDomain":"td","trustDomainAliases":["old"]},"policies":[
{"name":"a","rules":[{"from":[{"source":{"principals":["td/ns/a/sa/b"],"notNamespaces":["x*"]}},
{"source":{"serviceAccounts":["a/b"]}},{"source":{"requestPrincipals":["iss/*"],"trustDomains":["t*"]}}],
"to":[{"operation":{"hosts":["*.example"],"ports":["8080"],"methods":["GET"],"paths":["/a/{*}/{**}","/b*"]}}],
"when":[{"key":"request.headers[x]","values":["a"],"notValues":["*b"]},{"key":"remote.ip","values":["10.0.0.0/8"]},
{"key":"request.auth.claims[a][b]","values":["c"]},{"key":"experimental.envoy.filters.http.x[k]","values":["[v]"]}]}]},
{"name":"d","action":"DENY","dryRun":"true","rules":[{"when":[{"key":"connection.sni","values":["a"]}]}]},
{"name":"w","action":"AUDIT","rules":[{}]},
{"name":"c","action":"CUSTOM","provider":{"name":"ext"},"rules":[{"to":[{"operation":{"paths":["*"]}}]}]}],
"providers":[{"name":"ext","envoyExtAuthzHttp":{"cluster":"ext","timeout":"1s","pathPrefix":"/p","statusOnError":"503",
"includeRequestHeadersInCheck":["x-*"],"headersToUpstreamOnAllow":["*-id"],"headersToDownstreamOnAllow":["y"],
"includeAdditionalHeadersInCheck":{"a":"b"}}},{"name":"g","envoyExtAuthzGrpc":{"service":"n/s","port":9,"failOpen":true}}],
"hostProperties":"OUTRIGGER","peerAddressProperty":["a","b"],"logDenials":false}"#;

/// Answers with whatever it was given.
struct Echo {
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Upstreams for Echo {
    fn http(&mut self, _: &Sent) -> Option<Message> {
        let mut headers = HeaderList::new();
        self.headers.iter().for_each(|(name, value)| headers.add(name, value));
        Some(Message { headers, body: self.body.clone(), ..Message::default() })
    }

    fn grpc(&mut self, _: &RecordedCall) -> Result<Vec<u8>, u32> {
        Ok(self.body.clone())
    }
}

fn message(headers: &[(&str, &[u8])]) -> Message {
    let mut list = HeaderList::new();
    for (name, value) in [(":method", &b"GET"[..]), (":path", b"/"), (":authority", b"a.example")] {
        if !headers.iter().any(|(given, _)| *given == name) {
            list.add(name, value);
        }
    }
    headers.iter().for_each(|(name, value)| list.add(name, value));
    Message { headers: list, ..Message::default() }
}

fn proxy(configuration: &str, properties: Vec<(String, Vec<u8>)>) -> Option<NativeProxy> {
    let mut settings = Settings::default();
    settings.clusters.extend(["ext".to_owned(), "upstream".to_owned()]);
    settings.properties.extend(properties);
    let mut proxy = NativeProxy::new(settings);
    proxy.add_plugin(authz::configure, configuration.as_bytes()).ok().map(|()| proxy)
}

fn status(proxy: &mut NativeProxy, message: Message) -> Vec<u8> {
    let mut upstream = Echo { headers: vec![(":status".into(), b"200".to_vec())], body: Vec::new() };
    proxy.exchange(message, &mut upstream).response.headers.get(":status").unwrap_or_default().to_vec()
}

#[test]
fn the_full_configuration_is_one() {
    assert!(proxy(FULL, Vec::new()).is_some());
}

#[test]
fn a_thousand_headers_and_a_megabyte() {
    let deny = r#"{"policies":[{"name":"p","action":"DENY","rules":[{"when":[{"key":"request.headers[x]","values":["*evil"]}]}]}]}"#;
    let mut proxy = proxy(deny, Vec::new()).unwrap();
    let names: Vec<String> = (0..1000).map(|i| format!("x-{i}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"\0\xff\x7f"[..])).collect();
    let with = |last: &[u8]| {
        let mut headers = many.clone();
        headers.push(("x", last));
        message(&headers)
    };
    let mut huge = vec![0xFF; 1 << 20];
    assert_eq!(status(&mut proxy, with(&huge)), b"200");
    huge.extend(b"evil");
    assert_eq!(status(&mut proxy, with(&huge)), b"403");
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    let ask = r#"{"providers":[{"name":"ext","envoyExtAuthzHttp":{"cluster":"ext"}}],
        "policies":[{"name":"c","action":"CUSTOM","provider":{"name":"ext"},"rules":[{}]}]}"#;
    let mut proxy = proxy(ask, Vec::new()).unwrap();
    let stream = proxy.open_stream(&message(&[]));
    assert!(!proxy.resumed(stream) && !proxy.replied(stream), "the stream waits for the provider");
    proxy.close_stream(stream);
    // The answer to the first call comes while the second request is under way.
    assert_eq!(status(&mut proxy, message(&[])), b"200");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_configuring_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = proxy(&String::from_utf8_lossy(&bytes), Vec::new());
    }

    #[test]
    fn no_mutation_of_a_configuration_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}\",:*a/0-9]"), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = FULL.to_owned();
        for (index, replacement) in changes {
            let at = index.index(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                text.replace_range(at..at + 1, &replacement);
            }
        }
        if let Some(mut proxy) = proxy(&text, Vec::new()) {
            status(&mut proxy, message(&[]));
        }
        let _ = proxy(&FULL[..cut.index(FULL.len())], Vec::new());
    }

    /// Whatever headers, properties and answers say, every request ends with an answer of the proxy or the upstream.
    #[test]
    fn no_request_panics_or_hangs(
        headers in prop::collection::vec(("[a-z:-]{1,8}", prop::collection::vec(any::<u8>(), 0..20)), 0..8),
        properties in prop::collection::vec((prop::sample::select(vec![
            "source.address", "destination.address", "destination.port", "connection.requested_server_name",
            "connection.sha256_peer_certificate_digest", "connection.peer_certificate", "metadata", "outrigger.jwt",
            "a.b", "request.time",
        ]), prop::collection::vec(any::<u8>(), 0..30)), 0..6),
        answer in prop::collection::vec(("[a-z:-]{1,8}", prop::collection::vec(any::<u8>(), 0..20)), 0..4),
        body in prop::collection::vec(any::<u8>(), 0..60),
        grpc in any::<bool>(),
    ) {
        let configuration = if grpc { FULL.replace(r#""name":"ext"},"rules""#, r#""name":"g"},"rules""#) } else { FULL.to_owned() };
        let properties = properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut proxy = proxy(&configuration, properties).unwrap();
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let exchange = proxy.exchange(message(&headers), &mut Echo { headers: answer, body });
        prop_assert!(!exchange.hung);
    }
}
