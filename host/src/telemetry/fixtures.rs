//! Streams and connections for the tests of telemetry.

use crate::wasm::{CertificateProperties, ConnectionProperties, StreamState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// A connection whose client has proved an identity, or none.
pub(super) fn connection_of(peer: Option<&str>) -> Rc<ConnectionProperties> {
    let certificate = |name: &str| {
        Arc::new(CertificateProperties { uri_sans: vec![name.to_owned()], ..CertificateProperties::default() })
    };
    Rc::new(ConnectionProperties {
        id: 7,
        source: "10.0.0.9:1000".parse().unwrap(),
        direct_peer: "10.0.0.1:2000".parse().unwrap(),
        destination: "10.0.0.2:8080".parse().unwrap(),
        redirected: false,
        requested_server_name: String::new(),
        tls_version: peer.map(|_| "TLSv1.3"),
        peer: peer.map(certificate),
        local: peer.map(|_| certificate("spiffe://cluster.local/ns/bookinfo/sa/reviews")),
    })
}

/// `GET http://shop.test/cart?id=1` over plain HTTP/1.1, at 2026-11-22T08:34:00.123456Z.
pub(super) fn stream() -> StreamState {
    let request = [
        (":authority", "shop.test"),
        (":path", "/cart?id=1"),
        (":method", "GET"),
        (":scheme", "http"),
        ("user-agent", "curl/7.88.1"),
        ("x-request-id", "032e841a"),
    ];
    let started = UNIX_EPOCH + Duration::from_micros(1_795_336_440_123_456);
    let mut state = StreamState::new(request.into_iter().collect(), 0, connection_of(None), started);
    state.protocol = "HTTP/1.1";
    state
}
