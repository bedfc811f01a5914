//! Certificates for tests, made anew in each; and a handshake in memory.

use crate::tls::client::{Agreed, ClientTls};
use crate::tls::error::TlsError;
use crate::tls::server::{Secured, ServerTls};
use compiler::snapshot::{DataSource, DownstreamTls, TlsCertificate, UpstreamTls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};
use rustls::server::Acceptor;
use std::net::{IpAddr, Ipv4Addr};
use tokio::io::{DuplexStream, duplex};
use tokio::time::Instant;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::client::TlsStream;

/// The address that clients in tests connect to.
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A CA.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a leaf is to have beside what all have: both key usages, a validity of centuries, no subject.
pub(crate) type Change<'c> = &'c dyn Fn(&mut CertificateParams);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn source(&self) -> DataSource {
        DataSource::Inline(self.0.pem())
    }

    /// A certificate with URI and DNS SANs, told apart by `://`.
    pub(crate) fn issue(&self, sans: &[&str]) -> TlsCertificate {
        self.issue_with(sans, &|_| {})
    }

    pub(crate) fn issue_with(&self, sans: &[&str], change: Change<'_>) -> TlsCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = sans.iter().map(|san| san_type(san)).collect();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        TlsCertificate {
            certificate_chain: DataSource::Inline(certificate.pem()),
            private_key: DataSource::Inline(key.serialize_pem()),
        }
    }
}

fn san_type(san: &str) -> SanType {
    match san.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if san.contains("://") => SanType::URI(san.try_into().unwrap()),
        Err(_) => SanType::DnsName(san.try_into().unwrap()),
    }
}

/// A server with one certificate that asks clients for none.
pub(crate) fn downstream(certificate: TlsCertificate) -> DownstreamTls {
    DownstreamTls {
        certificates: vec![certificate],
        trusted_ca: None,
        require_client_certificate: false,
        alpn: vec!["h2".into(), "http/1.1".into()],
        min_protocol_version: Default::default(),
        cipher_suites: Vec::new(),
        trust_domains: Vec::new(),
        trust_bundles: Vec::new(),
    }
}

/// A client that trusts an authority and looks for one name.
pub(crate) fn upstream(authority: &Authority, name: &str) -> UpstreamTls {
    UpstreamTls {
        trusted_ca: Some(authority.source()),
        subject_alt_names: vec![name.to_owned()],
        ..UpstreamTls::default()
    }
}

/// The server's end of a handshake.
pub(crate) async fn accept(server: &ServerTls, io: DuplexStream) -> Result<Secured<DuplexStream>, TlsError> {
    let begun = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
    server.accept(begun.accepted, begun.io, Instant::now() + crate::tls::TIME_LIMIT).await
}

/// Both ends of a handshake.
pub(crate) async fn shake(
    server: &ServerTls,
    client: &ClientTls,
    asked: Option<&str>,
    http2: bool,
) -> (Result<Secured<DuplexStream>, TlsError>, Result<(TlsStream<DuplexStream>, Agreed), TlsError>) {
    let (near, far) = duplex(64 << 10);
    tokio::join!(accept(server, far), client.connect(near, ADDRESS, asked, http2))
}
