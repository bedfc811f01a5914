//! Certificates, keys and trusted CAs from a snapshot's sources; every fault at once.

use compiler::snapshot::{DataSource, TlsCertificate, TlsVersion};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, RootCertStore, SupportedProtocolVersion};
use std::sync::{Arc, OnceLock};

/// What is wrong with a transport socket.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    pub(super) fn add(&mut self, fault: String) {
        self.0.push(fault);
    }

    fn of_source(&mut self, field: &str, source: &DataSource, reason: &dyn std::fmt::Display) {
        self.add(match source {
            DataSource::Inline(_) => format!("{field} (inline): {reason}"),
            DataSource::File(path) => format!("{field} ({}): {reason}", path.display()),
        });
    }

    /// What was made, if nothing was wrong. Whatever makes nothing has said why.
    pub(super) fn or<T>(self, made: Option<T>) -> Result<T, Vec<String>> {
        made.filter(|_| self.0.is_empty()).ok_or(self.0)
    }
}

/// The one crypto provider, with the cipher suites of TLS 1.2 that are named, or all.
pub(super) fn provider(cipher_suites: &[String], faults: &mut Faults) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if cipher_suites.is_empty() {
        return Arc::new(provider);
    }
    let unknown = cipher_suites.iter().filter(|name| !NAMES.iter().any(|(known, _)| known == name));
    unknown.for_each(|name| faults.add(format!("cipherSuites: {name:?} is no cipher suite of TLS 1.2")));
    let named = |suite: &rustls::SupportedCipherSuite| {
        let wanted =
            |(name, id): &(&str, u16)| *id == u16::from(suite.suite()) && cipher_suites.iter().any(|w| w == name);
        // As in Envoy the list says nothing about TLS 1.3, whose suites are all safe.
        suite.tls13().is_some() || NAMES.iter().any(wanted)
    };
    provider.cipher_suites.retain(named);
    if provider.cipher_suites.iter().all(|suite| suite.tls13().is_some()) {
        faults.add("cipherSuites: none of them has forward secrecy and an authenticated cipher".to_owned());
    }
    Arc::new(provider)
}

/// Cipher suites of TLS 1.2 by their names in Istio and Envoy. Those that rustls has not are known too, so that
/// Istio's own default list can be given: what is listed and cannot be spoken only leaves fewer.
const NAMES: [(&str, u16); 16] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", 0xC02C),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", 0xC02B),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", 0xCCA9),
    ("ECDHE-RSA-AES256-GCM-SHA384", 0xC030),
    ("ECDHE-RSA-AES128-GCM-SHA256", 0xC02F),
    ("ECDHE-RSA-CHACHA20-POLY1305", 0xCCA8),
    ("ECDHE-PSK-CHACHA20-POLY1305", 0xCCAC),
    ("AES256-GCM-SHA384", 0x009D),
    ("AES128-GCM-SHA256", 0x009C),
    ("ECDHE-ECDSA-AES256-SHA", 0xC00A),
    ("ECDHE-ECDSA-AES128-SHA", 0xC009),
    ("ECDHE-RSA-AES256-SHA", 0xC014),
    ("ECDHE-RSA-AES128-SHA", 0xC013),
    ("AES256-SHA", 0x0035),
    ("AES128-SHA", 0x002F),
    ("DES-CBC3-SHA", 0x000A),
];

static ALL_VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static TLS13_ALONE: [&SupportedProtocolVersion; 1] = [&TLS13];

/// The versions from a minimum up.
pub(super) fn versions(minimum: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match minimum {
        TlsVersion::Tls12 => &ALL_VERSIONS,
        TlsVersion::Tls13 => &TLS13_ALONE,
    }
}

fn read(field: &str, source: &DataSource, faults: &mut Faults) -> Option<Vec<u8>> {
    match source {
        DataSource::Inline(text) => Some(text.clone().into_bytes()),
        DataSource::File(path) => match std::fs::read(path) {
            Ok(text) => Some(text),
            Err(error) => {
                faults.of_source(field, source, &error);
                None
            }
        },
    }
}

fn certificates(field: &str, source: &DataSource, faults: &mut Faults) -> Option<Vec<CertificateDer<'static>>> {
    let text = read(field, source, faults)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => return Some(certificates),
        Ok(_) => faults.of_source(field, source, &"there is no PEM certificate in it"),
        Err(error) => faults.of_source(field, source, &in_words(error)),
    }
    None
}

fn private_key(field: &str, source: &DataSource, faults: &mut Faults) -> Option<PrivateKeyDer<'static>> {
    let text = read(field, source, faults)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => return Some(key),
        Err(pem::Error::NoItemsFound) if text.windows(9).any(|window| window == b"ENCRYPTED") => {
            faults.of_source(field, source, &"the private key is encrypted, and there is nothing to decrypt it with");
        }
        Err(pem::Error::NoItemsFound) => faults.of_source(field, source, &"there is no PEM private key in it"),
        Err(error) => faults.of_source(field, source, &in_words(error)),
    }
    None
}

/// Without the bytes that a PEM error may quote: they may be of a key.
fn in_words(error: pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM section in it does not end",
        pem::Error::IllegalSectionStart { .. } => "a PEM section in it does not begin well",
        pem::Error::Base64Decode(_) => "a PEM section in it is not base64",
        _ => "it is not PEM",
    }
}

/// A certificate with its key.
pub(super) fn certified_key(
    field: &str,
    certificate: &TlsCertificate,
    provider: &CryptoProvider,
    faults: &mut Faults,
) -> Option<Arc<CertifiedKey>> {
    let (chain_field, key_field) = (format!("{field}.certificateChain"), format!("{field}.privateKey"));
    let chain = certificates(&chain_field, &certificate.certificate_chain, faults);
    let key = private_key(&key_field, &certificate.private_key, faults);
    let (chain, key) = (chain?, key?);
    let mut key_fault = |reason: &str| faults.of_source(&key_field, &certificate.private_key, &reason);
    let Ok(key) = provider.key_provider.load_private_key(key) else {
        key_fault("the private key is of a kind that is not supported, or damaged");
        return None;
    };
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Some(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            key_fault("the private key is not that of the certificate");
            None
        }
        Err(error) => {
            faults.of_source(&chain_field, &certificate.certificate_chain, &error);
            None
        }
    }
}

/// Trusted CAs.
pub(super) fn roots(field: &str, source: &DataSource, faults: &mut Faults) -> Option<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(field, source, faults)?.into_iter().enumerate() {
        if let Err(error) = roots.add(certificate) {
            faults.of_source(field, source, &format_args!("certificate {} cannot be a CA: {error}", index + 1));
        }
    }
    Some(Arc::new(roots))
}

/// Whom the system trusts: what its administrator maintains, private CAs included, where a list built into the
/// binary would age. Read once.
pub(super) fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems have certificates that are no CAs among theirs.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(format!("trustedCa: absent, and the system has no trusted CAs: {}", reasons.join("; ")));
    }
    Ok(ROOTS.get_or_init(|| Arc::new(roots)).clone())
}
