//! Certificates for the TLS cases: one authority, a server, clients with the URI SANs a case names.

use crate::case_file::Peer;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    string::Ia5String,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A certificate with its key, as PEM, and the certificate as DER.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// The private key, PKCS #8 DER.
    pub key_der: Vec<u8>,
}

static AUTHORITY: LazyLock<Result<CertifiedIssuer<'static, KeyPair>, String>> = LazyLock::new(|| {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    CertifiedIssuer::self_signed(params, key).map_err(|error| error.to_string())
});

/// The authority's certificate, PEM.
///
/// # Errors
/// When it cannot be made.
pub fn authority() -> Result<String, String> {
    AUTHORITY.as_ref().map(|authority| authority.pem()).map_err(Clone::clone)
}

/// A certificate of the authority with URI SANs (a client), or a DNS name (the server).
///
/// # Errors
/// When a name cannot stand in a certificate.
pub fn issue(uri_sans: &[String], dns: Option<&str>) -> Result<Identity, String> {
    let authority = AUTHORITY.as_ref().map_err(Clone::clone)?;
    let text = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for uri in uri_sans {
        params.subject_alt_names.push(SanType::URI(Ia5String::try_from(uri.as_str()).map_err(text)?));
    }
    if let Some(name) = dns {
        params.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name).map_err(text)?));
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(text)?;
    let certificate = params.signed_by(&key, authority).map_err(text)?;
    Ok(Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        der: certificate.der().to_vec(),
        key_der: key.serialize_der(),
    })
}

/// The properties that Envoy has of a client with a certificate, by path.
pub fn peer_properties(peer: &Peer, properties: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(identity) = issue(&peer.uri_sans, None) else {
        return;
    };
    let first = peer.uri_sans.first().cloned().unwrap_or_default();
    let digest = crate::tools::hex(&Sha256::digest(&identity.der));
    let own = [
        ("connection.uri_san_peer_certificate", first.into_bytes()),
        ("connection.sha256_peer_certificate_digest", digest.into_bytes()),
        ("connection.peer_certificate", identity.certificate.into_bytes()),
    ];
    properties.extend(own.map(|(name, value)| (name.to_owned(), value)));
}
