//! Who a peer is: the chain up to a trusted CA as rustls verifies it, and the names of the certificate itself.

use crate::tls::certificate::Leaf;
use crate::tls::error::TlsError;
use crate::tls::spiffe;
use crate::tls::trust::Trust;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Verifies clients.
#[derive(Debug)]
pub(super) struct DownstreamVerifier {
    pub(super) chains: Trust<Arc<dyn ClientCertVerifier>>,
    /// Empty: any.
    pub(super) trust_domains: Vec<String>,
}

impl ClientCertVerifier for DownstreamVerifier {
    fn offer_client_auth(&self) -> bool {
        self.chains.others.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chains.others.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.others.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let uris = Leaf::read(leaf)?.properties.uri_sans;
        let chain = self.chains.of(&uris)?;
        let verified = chain.verify_client_cert(leaf, intermediates, now).map_err(|error| named(error, leaf))?;
        spiffe::check(&uris, &self.trust_domains)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.others.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.others.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.others.supported_verify_schemes()
    }
}

/// What is wanted of a server's certificate.
#[derive(Clone, Debug)]
pub(super) enum ExpectedName {
    /// One of these.
    Listed(Vec<String>),
    /// The server name that was asked for.
    Asked,
    /// Nothing, beyond being issued by a trusted CA.
    Any,
}

/// Verifies servers.
#[derive(Debug)]
pub(super) struct UpstreamVerifier {
    /// `None`: nothing is verified.
    pub(super) roots: Option<Trust<Arc<RootCertStore>>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) expected: ExpectedName,
}

impl UpstreamVerifier {
    fn check_names(
        &self,
        certificate: &ParsedCertificate<'_>,
        leaf: &Leaf,
        asked: &ServerName<'_>,
    ) -> Result<(), Error> {
        let names = &leaf.properties;
        let is_host = |name: &ServerName<'_>| verify_server_name(certificate, name).is_ok();
        let is = |name: &String| {
            names.uri_sans.contains(name) || ServerName::try_from(name.as_str()).is_ok_and(|name| is_host(&name))
        };
        let (found, expected) = match &self.expected {
            ExpectedName::Any => return Ok(()),
            ExpectedName::Asked => (is_host(asked), asked.to_str().into_owned()),
            ExpectedName::Listed(listed) => (listed.iter().any(is), listed.join(" or ")),
        };
        if found {
            return Ok(());
        }
        let presented = names.uri_sans.iter().chain(&names.dns_sans).cloned().collect();
        Err(TlsError::WrongName { expected, presented }.into())
    }
}

impl ServerCertVerifier for UpstreamVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let parsed = ParsedCertificate::try_from(leaf)?;
        let read = Leaf::read(leaf)?;
        let roots = roots.of(&read.properties.uri_sans)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, self.algorithms.all)
            .map_err(|error| named(error, leaf))?;
        self.check_names(&parsed, &read, asked)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Verifies a chain, PEM, by roots, PEM, as a server of a mesh would.
///
/// # Errors
/// Why it is not trusted.
pub(crate) fn verify_chain(chain: &str, roots: &str, now: UnixTime) -> Result<(), TlsError> {
    let unreadable = |reason: &dyn ToString| TlsError::Unreadable(reason.to_string());
    let read = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = read(chain).map_err(|_| unreadable(&"the chain is not PEM"))?;
    let mut trusted = RootCertStore::empty();
    for root in read(roots).map_err(|_| unreadable(&"the roots are not PEM"))? {
        trusted.add(root).map_err(|error| unreadable(&error))?;
    }
    let (leaf, intermediates) = chain.split_first().ok_or_else(|| unreadable(&"the chain is empty"))?;
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let verified = ParsedCertificate::try_from(leaf).and_then(|parsed| {
        verify_server_cert_signed_by_trust_anchor(&parsed, &trusted, intermediates, now, algorithms.all)
    });
    verified.map_err(|error| TlsError::from(&error))
}

/// A CA's certificate as the peer's own has no name of its own among rustls's errors.
fn named(error: Error, leaf: &CertificateDer<'_>) -> Error {
    let vague = matches!(error, Error::InvalidCertificate(CertificateError::Other(_)));
    let is_ca = || Leaf::read(leaf).is_ok_and(|leaf| leaf.is_ca);
    if vague && is_ca() { TlsError::CaAsLeaf.into() } else { error }
}
