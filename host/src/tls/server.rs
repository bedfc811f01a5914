//! TLS with clients: which certificate, which application protocol, who the client is.

use crate::admin::CertificateReport;
use crate::http::Io;
use crate::tls::certificate::Leaf;
use crate::tls::error::TlsError;
use crate::tls::material::{self, Faults};
use crate::tls::trust::Trust;
use crate::tls::verify::DownstreamVerifier;
use crate::wasm::CertificateProperties;
use arc_swap::ArcSwap;
use compiler::snapshot::{DownstreamTls, TlsCertificate};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Accepted, ClientHello, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, SignatureAlgorithm};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

/// TLS of one filter chain, shared by the workers.
pub(crate) struct ServerTls {
    settings: DownstreamTls,
    current: ArcSwap<Loaded>,
}

/// What the settings led to when their files were last read.
struct Loaded {
    certificates: Vec<Served>,
}

/// A certificate, ready to be served.
struct Served {
    /// DNS names it is for, some with `*.`.
    names: Vec<String>,
    key: Arc<CertifiedKey>,
    properties: Arc<CertificateProperties>,
    report: CertificateReport,
    config: Arc<ServerConfig>,
    /// For clients with which no application protocol is in common.
    without_alpn: Arc<ServerConfig>,
}

/// A connection with TLS, and what is known of it.
pub(crate) struct Secured<I> {
    pub(crate) stream: TlsStream<I>,
    pub(crate) version: Option<&'static str>,
    pub(crate) peer: Option<Arc<CertificateProperties>>,
    pub(crate) local: Arc<CertificateProperties>,
}

impl ServerTls {
    /// Reads all that the settings name.
    ///
    /// # Errors
    /// Every fault.
    pub(crate) fn new(settings: &DownstreamTls) -> Result<Self, Vec<String>> {
        let current = ArcSwap::from_pointee(Loaded::new(settings)?);
        Ok(Self { settings: settings.clone(), current })
    }

    /// What it was made of.
    pub(crate) fn settings(&self) -> &DownstreamTls {
        &self.settings
    }

    /// Reads the files again. Connections keep what they have; sessions are not resumed across, since whom is trusted
    /// may have changed.
    ///
    /// # Errors
    /// Every fault; then all stays as it is.
    pub(crate) fn reload(&self) -> Result<(), Vec<String>> {
        self.current.store(Arc::new(Loaded::new(&self.settings)?));
        Ok(())
    }

    /// The certificates that are in use.
    pub(crate) fn certificates(&self) -> Vec<CertificateReport> {
        self.current.load().certificates.iter().map(|served| served.report.clone()).collect()
    }

    /// Goes through the handshake that a client has begun, until a point in time.
    pub(crate) async fn accept<I: Io>(
        &self,
        hello: Accepted,
        io: I,
        deadline: Instant,
    ) -> Result<Secured<I>, TlsError> {
        let loaded = self.current.load_full();
        let served = loaded.choose(&hello.client_hello()).ok_or(TlsError::NoCertificate)?;
        let config = served.config_for(&hello.client_hello());
        let accepting = StartHandshake::from_parts(hello, io).into_stream(config);
        let stream = timeout_at(deadline, accepting).await.map_err(|_| TlsError::Timeout)??;
        let (_, session) = stream.get_ref();
        let leaf = session.peer_certificates().and_then(<[_]>::first).map(|leaf| Leaf::read(leaf)).transpose()?;
        if let Some(leaf) = &leaf
            && session.handshake_kind() == Some(HandshakeKind::Resumed)
        {
            // It was verified when the session began, which can be hours ago.
            leaf.is_valid_at(UnixTime::now())?;
        }
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Some("TLSv1.3"),
            Some(ProtocolVersion::TLSv1_2) => Some("TLSv1.2"),
            _ => None,
        };
        let peer = leaf.map(|leaf| Arc::new(leaf.properties));
        Ok(Secured { version, peer, local: served.properties.clone(), stream })
    }
}

impl Loaded {
    fn new(settings: &DownstreamTls) -> Result<Self, Vec<String>> {
        let mut faults = Faults::default();
        let provider = material::provider(&settings.cipher_suites, &mut faults);
        let verifier = verifier(settings, &provider, &mut faults);
        let certificates: Vec<_> = (settings.certificates.iter().enumerate())
            .filter_map(|(index, certificate)| readied(index, certificate, &provider, &mut faults))
            .collect();
        if settings.certificates.is_empty() {
            faults.add("certificates: there is none".to_owned());
        }
        let served = verifier.and_then(|verifier| {
            let made = serve(settings, &provider, &verifier, certificates);
            made.map_err(|error| faults.add(error.to_string())).ok()
        });
        faults.or(served).map(|certificates| Self { certificates })
    }

    /// The certificate for a client: of those whose key it can verify the one with the name it asks for, exactly or
    /// by a wildcard, else the first; and among equals one with an elliptic curve, which costs less, as in Envoy.
    fn choose(&self, hello: &ClientHello<'_>) -> Option<&Served> {
        let worth = |served: &&Served| {
            let usable = served.key.key.choose_scheme(hello.signature_schemes()).is_some();
            let named = hello.server_name().map_or(0, |name| served.fit(name));
            (usable, named, served.key.key.algorithm() == SignatureAlgorithm::ECDSA)
        };
        // Of equals the last is the greatest.
        self.certificates.iter().rev().max_by_key(worth)
    }
}

impl Served {
    /// 2 for a name it has, 1 for one that a wildcard of it covers, else 0.
    fn fit(&self, name: &str) -> u8 {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let fit = |known: &String| match known.strip_prefix("*.") {
            Some(known) => u8::from(parent.is_some_and(|parent| parent.eq_ignore_ascii_case(known))),
            None => u8::from(known.eq_ignore_ascii_case(name)) * 2,
        };
        self.names.iter().map(fit).max().unwrap_or_default()
    }

    fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let ours = &self.config.alpn_protocols;
        let mut theirs = hello.alpn().into_iter().flatten();
        let none_common = !theirs.any(|protocol| ours.iter().any(|known| known == protocol));
        if none_common { self.without_alpn.clone() } else { self.config.clone() }
    }
}

fn verifier(
    settings: &DownstreamTls,
    provider: &Arc<CryptoProvider>,
    faults: &mut Faults,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let Some(source) = &settings.trusted_ca else {
        let unverified = settings.require_client_certificate || !settings.trust_domains.is_empty();
        if unverified || !settings.trust_bundles.is_empty() {
            faults.add("trustedCa: absent, so no client certificate that is required could be verified".to_owned());
        }
        return Some(WebPkiClientVerifier::no_client_auth());
    };
    let roots = Trust::read(Some(source), &settings.trust_bundles, faults)?;
    let optional = !settings.require_client_certificate;
    let chains = roots.try_map(|roots| {
        // Without the names of the CAs: they would tell anyone who asks whom this mesh trusts.
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).clear_root_hint_subjects();
        if optional { builder.allow_unauthenticated() } else { builder }.build()
    });
    match chains {
        Ok(chains) => Some(Arc::new(DownstreamVerifier { chains, trust_domains: settings.trust_domains.clone() })),
        Err(error) => {
            faults.add(format!("trustedCa: {error}"));
            None
        }
    }
}

type Readied = (Arc<CertifiedKey>, CertificateProperties, CertificateReport);

/// A certificate with its key, and what it says.
fn readied(
    index: usize,
    certificate: &TlsCertificate,
    provider: &CryptoProvider,
    faults: &mut Faults,
) -> Option<Readied> {
    let field = format!("certificates[{index}]");
    let key = material::certified_key(&field, certificate, provider, faults)?;
    match Leaf::read(key.cert.first()?) {
        Ok(leaf) => {
            let report = leaf.report(&certificate.certificate_chain);
            Some((key, leaf.properties, report))
        }
        Err(error) => {
            faults.add(format!("{field}.certificateChain: {error}"));
            None
        }
    }
}

fn serve(
    settings: &DownstreamTls,
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<dyn ClientCertVerifier>,
    certificates: Vec<Readied>,
) -> Result<Vec<Served>, rustls::Error> {
    // One for all certificates: a session begun with one may be resumed whichever the client gets now.
    let ticketer = aws_lc_rs::Ticketer::new()?;
    let serve = |(key, properties, report): Readied| {
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(material::versions(settings.min_protocol_version))?;
        let mut config = builder
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())));
        config.ticketer = ticketer.clone();
        // Tickets carry sessions, so that workers need no store with a lock around it.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols = settings.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
        let names = properties.dns_sans.clone();
        Ok(Served { names, key, properties: Arc::new(properties), report, config: Arc::new(config), without_alpn })
    };
    certificates.into_iter().map(serve).collect()
}
