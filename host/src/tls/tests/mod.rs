//! Handshakes in memory: every way in which one must fail, and what is known after one that has not.

mod identities;
mod settings;

use crate::tls::client::ClientTls;
use crate::tls::test_certificates::{Authority, downstream, upstream};
use compiler::snapshot::{DownstreamTls, TlsCertificate, UpstreamTls};

const SERVER: &str = "spiffe://prod.example/ns/shop/sa/reviews";
const CLIENT: &str = "spiffe://prod.example/ns/shop/sa/ratings";

fn mutual(authority: &Authority) -> DownstreamTls {
    DownstreamTls {
        trusted_ca: Some(authority.source()),
        require_client_certificate: true,
        trust_domains: vec!["prod.example".into(), "old.example".into()],
        ..downstream(authority.issue(&[SERVER]))
    }
}

fn as_client(authority: &Authority, certificate: Option<TlsCertificate>) -> ClientTls {
    ClientTls::new(&UpstreamTls { certificate, ..upstream(authority, SERVER) }).unwrap()
}
