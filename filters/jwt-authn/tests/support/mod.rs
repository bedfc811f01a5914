//! A proxy in memory with the filter, tokens signed here, and an upstream that has keys.

#![allow(dead_code, reason = "each test binary uses its part")]

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};
use http_match::HeaderList;
use native_shim::{Exchange, Message, NativeProxy, RecordedCall, Sent, Settings, Upstreams};

/// The clock of a native proxy at its start.
pub(crate) const NOW: u64 = 1_782_000_000;
/// The clusters that exist.
const CLUSTERS: [&str; 2] = ["upstream", "keys"];

/// A test key.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn encoded(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// A token of any claims, JSON or not, that names a key.
pub(crate) fn token_of(seed: u8, claims: &[u8]) -> String {
    let header = format!(r#"{{"alg":"EdDSA","kid":"k{seed}"}}"#);
    let message = format!("{}.{}", encoded(header.as_bytes()), encoded(claims));
    format!("{message}.{}", encoded(&key(seed).sign(message.as_bytes()).to_bytes()))
}

/// A token of the issuer `i`, with further claims.
pub(crate) fn token(seed: u8, more: &str) -> String {
    token_of(seed, format!(r#"{{"iss":"i"{more}}}"#).as_bytes())
}

/// A key set.
pub(crate) fn key_set(seeds: &[u8]) -> String {
    let keys = seeds.iter().map(|seed| {
        let x = encoded(key(*seed).verifying_key().as_bytes());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k{seed}","x":"{x}"}}"#)
    });
    format!(r#"{{"keys":[{}]}}"#, keys.collect::<Vec<_>>().join(","))
}

/// A configuration with the keys in it.
pub(crate) fn given(seeds: &[u8]) -> String {
    let jwks = key_set(seeds).replace('"', "\\\"");
    format!(
        r#"{{"providers": [{{"name": "p", "issuer": "i", "jwks": "{jwks}", "outputPayloadToHeader": "x-payload"}}]}}"#
    )
}

/// A configuration of which the keys are fetched.
pub(crate) const FETCHED: &str = r#"{"providers": [{"name": "p", "issuer": "i",
    "remoteJwks": {"uri": "https://keys.test/", "cluster": "keys", "cacheDuration": "100s"}}]}"#;

/// A proxy with the filter.
pub(crate) fn proxy(configuration: &str) -> Option<NativeProxy> {
    let settings = Settings { clusters: CLUSTERS.map(str::to_owned).into(), ..Settings::default() };
    let mut proxy = NativeProxy::new(settings);
    proxy.add_plugin(jwt_authn::configure, configuration.as_bytes()).ok()?;
    Some(proxy)
}

/// A request.
pub(crate) fn request(more: &[(&str, &[u8])]) -> Message {
    let own: [(&str, &[u8]); 3] = [(":authority", b"a.test"), (":path", b"/"), (":method", b"GET")];
    let mut headers = HeaderList::new();
    own.iter().chain(more).for_each(|(name, value)| headers.add(name, value));
    Message { headers, ..Message::default() }
}

/// A request with a token.
pub(crate) fn with(token: &str) -> Message {
    request(&[("authorization", format!("Bearer {token}").as_bytes())])
}

/// What stands behind the proxy.
pub(crate) struct Behind {
    /// The answer of the cluster that has keys; `None`: the connection is refused.
    pub(crate) keys: Option<(u16, Vec<u8>)>,
    /// How often it was asked.
    pub(crate) asked: usize,
}

impl Behind {
    /// A cluster with this set of keys.
    pub(crate) fn with_keys(seeds: &[u8]) -> Self {
        Self { keys: Some((200, key_set(seeds).into_bytes())), asked: 0 }
    }

    /// Carries a request: status and body of the answer.
    pub(crate) fn send(&mut self, proxy: &mut NativeProxy, message: Message) -> (String, String) {
        let Exchange { response, hung, .. } = proxy.exchange(message, self);
        assert!(!hung, "the request waits for ever");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(response.headers.get(":status").unwrap_or_default()), text(&response.body))
    }
}

impl Upstreams for Behind {
    fn http(&mut self, sent: &Sent) -> Option<Message> {
        let (status, body) = if sent.cluster == "keys" {
            self.asked += 1;
            self.keys.clone()?
        } else {
            (200, Vec::new())
        };
        let headers = [(":status", status.to_string().as_str())].into_iter().collect();
        Some(Message { headers, body, ..Message::default() })
    }

    fn grpc(&mut self, _call: &RecordedCall) -> Result<Vec<u8>, u32> {
        Err(12)
    }
}
