//! Certificates for listeners with mutual TLS, and the client that shows one.

use crate::load::{Protocol, Target};
use outrigger_tests::certs;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The client's identity.
const CLIENT: &str = "spiffe://cluster.local/ns/shop/sa/bench";

/// Certificates as files.
pub struct Certificates {
    /// Whom to trust.
    pub authority: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Both in one file, as haproxy wants them.
    pub bundle: PathBuf,
}

impl Certificates {
    /// Makes them in a directory.
    ///
    /// # Errors
    /// When they cannot be made or written.
    pub fn make(directory: &Path) -> Result<Self, String> {
        let server = certs::issue(&[], Some(crate::load::SERVER_NAME))?;
        let write = |name: &str, text: &str| {
            let file = directory.join(name);
            std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
            Ok::<_, String>(file)
        };
        Ok(Self {
            authority: write("authority.pem", &certs::authority()?)?,
            certificate: write("server.pem", &server.certificate)?,
            key: write("server.key", &server.key)?,
            bundle: write("bundle.pem", &format!("{}{}", server.certificate, server.key))?,
        })
    }

    /// A client with a certificate of its own.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client(&self, protocol: Protocol) -> Result<Arc<ClientConfig>, String> {
        let text = |error: rustls::Error| error.to_string();
        let authority = CertificateDer::from_pem_slice(certs::authority()?.as_bytes());
        let mut roots = RootCertStore::empty();
        roots.add(authority.map_err(|error| error.to_string())?).map_err(text)?;
        let identity = certs::issue(&[CLIENT.to_owned()], None)?;
        let key = PrivateKeyDer::try_from(identity.key_der).map_err(str::to_owned)?;
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = builder.with_client_auth_cert(vec![identity.der.into()], key).map_err(text)?;
        // Every handshake is a full one: what is compared is not who remembers clients.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::Http2 { .. } => b"h2".to_vec(),
        }];
        Ok(Arc::new(config))
    }
}

/// The same target, for connections that resume the sessions of those before.
pub fn resuming(target: &Target) -> Target {
    let resuming = |config: &Arc<ClientConfig>| {
        let mut config = ClientConfig::clone(config);
        config.resumption = Resumption::in_memory_sessions(1);
        Arc::new(config)
    };
    Target { tls: target.tls.as_ref().map(resuming), ..target.clone() }
}
