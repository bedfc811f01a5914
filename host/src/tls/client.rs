//! TLS with endpoints: which server name is asked for, which certificate is accepted, which protocol is agreed on.

use crate::http::Io;
use crate::tls::error::TlsError;
use crate::tls::material::{self, Faults};
use crate::tls::trust::Trust;
use crate::tls::verify::{ExpectedName, UpstreamVerifier};
use arc_swap::ArcSwap;
use compiler::snapshot::UpstreamTls;
use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// TLS of one cluster, shared by the workers.
pub(crate) struct ClientTls {
    settings: UpstreamTls,
    /// Asked for on every connection.
    fixed_name: Option<ServerName<'static>>,
    /// What is offered where HTTP/2 is wanted, and where it is not.
    offers: [Vec<Vec<u8>>; 2],
    current: ArcSwap<ClientConfig>,
}

/// What both sides have agreed to speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Agreed {
    Http2,
    Http1,
    /// Nothing was agreed on, or nothing that is HTTP.
    Unsaid,
}

impl ClientTls {
    /// Reads all that the settings name.
    ///
    /// # Errors
    /// Every fault.
    pub(crate) fn new(settings: &UpstreamTls) -> Result<Self, Vec<String>> {
        let mut faults = Faults::default();
        let fixed_name = settings.sni.as_ref().and_then(|name| match ServerName::try_from(name.clone()) {
            Ok(name) => Some(name),
            Err(_) => {
                faults.add(format!("sni: {name:?} is no server name"));
                None
            }
        });
        let nothing_to_check = matches!(expected_name(settings), ExpectedName::Asked) && !settings.auto_sni;
        if nothing_to_check && settings.sni.is_none() && !settings.danger_skip_verify {
            faults.add(
                "subjectAltNames: there is none, and no server name to look for in certificates instead: give sni or \
                 autoSni, or say dangerSkipNameCheck"
                    .to_owned(),
            );
        }
        let config = load(settings, &mut faults);
        let current = ArcSwap::from_pointee(faults.or(config)?);
        let offers = [offer(settings, true), offer(settings, false)];
        Ok(Self { settings: settings.clone(), fixed_name, offers, current })
    }

    /// Reads the files again. Connections keep what they have.
    ///
    /// # Errors
    /// Every fault; then all stays as it is.
    pub(crate) fn reload(&self) -> Result<(), Vec<String>> {
        let mut faults = Faults::default();
        let config = load(&self.settings, &mut faults);
        self.current.store(Arc::new(faults.or(config)?));
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.current.load_full()
    }

    /// The server name that a request asks for by its authority. Connections with one are not for requests with
    /// another.
    pub(crate) fn asked_name(&self, authority: Option<&[u8]>) -> Option<Rc<str>> {
        if !self.settings.auto_sni || self.fixed_name.is_some() {
            return None;
        }
        let (host, _) = crate::http::authority::split(authority?)?;
        let host = host.strip_suffix(b".").unwrap_or(host).to_ascii_lowercase();
        str::from_utf8(&host).ok().map(Rc::from)
    }

    /// Goes through the handshake. `address`: the endpoint's, for which no name stands.
    pub(crate) async fn connect<I: Io>(
        &self,
        io: I,
        address: IpAddr,
        asked: Option<&str>,
        http2: bool,
    ) -> Result<(TlsStream<I>, Agreed), TlsError> {
        let name = match (&self.fixed_name, asked) {
            (Some(name), _) => name.clone(),
            (None, Some(asked)) => parse(asked)?,
            // A handshake without a server name.
            (None, None) => ServerName::IpAddress(address.into()),
        };
        let [with_http2, without] = &self.offers;
        let offer = if http2 { with_http2 } else { without };
        let connector = TlsConnector::from(self.current.load_full());
        let stream = connector.with_alpn(offer.clone()).connect(name, io).await?;
        let agreed = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2" | b"istio-h2") => Agreed::Http2,
            Some(b"http/1.1" | b"http/1.0" | b"istio-http/1.1" | b"istio-http/1.0") => Agreed::Http1,
            _ => Agreed::Unsaid,
        };
        Ok((stream, agreed))
    }
}

/// An authority's host as a server name; an address in brackets is one, too.
fn parse(asked: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = asked.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(asked);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::NoServerName(asked.to_owned()))
}

/// The application protocols that are offered: as configured, with or without HTTP/2.
fn offer(settings: &UpstreamTls, http2: bool) -> Vec<Vec<u8>> {
    let configured = settings.alpn.iter().map(|protocol| protocol.clone().into_bytes());
    let is_http2 = |protocol: &Vec<u8>| matches!(protocol.as_slice(), b"h2" | b"istio-h2");
    if !http2 {
        return configured.filter(|protocol| !is_http2(protocol)).collect();
    }
    let mut offer: Vec<_> = configured.collect();
    if !offer.iter().any(is_http2) {
        offer.insert(0, b"h2".to_vec());
    }
    offer
}

fn expected_name(settings: &UpstreamTls) -> ExpectedName {
    match (settings.subject_alt_names.is_empty(), settings.danger_skip_name_check) {
        (false, _) => ExpectedName::Listed(settings.subject_alt_names.clone()),
        (true, false) => ExpectedName::Asked,
        (true, true) => ExpectedName::Any,
    }
}

fn load(settings: &UpstreamTls, faults: &mut Faults) -> Option<ClientConfig> {
    let provider = material::provider(&[], faults);
    let verifier = verifier(settings, &provider, faults);
    let key = settings.certificate.as_ref();
    let key = key.map(|certificate| material::certified_key("certificate", certificate, &provider, faults));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(material::versions(settings.min_protocol_version))
        .map_err(|error| faults.add(error.to_string()))
        .ok()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier?));
    Some(match key {
        None => builder.with_no_client_auth(),
        Some(key) => {
            let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(key?));
            builder.with_client_cert_resolver(resolver)
        }
    })
}

fn verifier(settings: &UpstreamTls, provider: &CryptoProvider, faults: &mut Faults) -> Option<UpstreamVerifier> {
    let algorithms = provider.signature_verification_algorithms;
    let expected = expected_name(settings);
    if settings.danger_skip_verify {
        return Some(UpstreamVerifier { roots: None, algorithms, expected });
    }
    let roots = Trust::read(settings.trusted_ca.as_ref(), &settings.trust_bundles, faults);
    Some(UpstreamVerifier { roots: Some(roots?), algorithms, expected })
}
