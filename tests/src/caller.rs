//! Clients that are no sidecars: in plain text, with any certificate or none, with any bytes.

use crate::raw::{Ended, Socket};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A certificate and its key, PEM.
pub struct Shown {
    /// The certificate, and those above it.
    pub chain: String,
    /// The key.
    pub key: String,
}

/// A client of one address.
pub struct Caller {
    address: SocketAddr,
    name: String,
    authority: String,
    offered: Vec<Vec<u8>>,
    versions: &'static [&'static SupportedProtocolVersion],
}

/// A TLS connection.
pub struct Secured(StreamOwned<ClientConnection, TcpStream>);

impl Shown {
    /// The certificate of a workload's folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            let file = folder.join(name);
            std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
        };
        Ok(Self { chain: read("cert-chain.pem")?, key: read("key.pem")? })
    }
}

impl Caller {
    /// One that offers what sidecars offer.
    pub fn new(address: SocketAddr) -> Self {
        let (name, authority) =
            ("outbound_.9080_._.reviews.shop.svc.cluster.local".to_owned(), "reviews:9080".to_owned());
        let offered = vec![b"istio".to_vec(), b"http/1.1".to_vec()];
        Self { address, name, authority, offered, versions: rustls::DEFAULT_VERSIONS }
    }

    /// One that speaks TLS 1.2 and nothing newer.
    pub fn with_tls_1_2(self) -> Self {
        static VERSIONS: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
        Self { versions: &VERSIONS, ..self }
    }

    /// One whose requests are for another authority than the name it asks for in the handshake.
    pub fn for_authority(self, authority: &str) -> Self {
        Self { authority: authority.to_owned(), ..self }
    }

    /// One that offers other application protocols.
    pub fn offering(self, protocols: &[&str]) -> Self {
        let offered = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self { offered, ..self }
    }

    /// One that asks for a server by its name, in the handshake and in requests.
    pub fn asking(self, name: &str) -> Self {
        Self { name: name.to_owned(), authority: name.to_owned(), ..self }
    }

    fn stream(&self) -> Result<TcpStream, String> {
        TcpStream::connect(self.address).map_err(|error| format!("{}: {error}", self.address))
    }

    /// In plain text.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn plain(&self) -> Result<Socket, String> {
        Socket::over(self.stream()?)
    }

    /// What comes back after bytes, and how it ends.
    ///
    /// # Errors
    /// When nobody listens, or reading fails.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(Vec<u8>, Ended), String> {
        let mut socket = self.plain()?;
        socket.send(bytes)?;
        socket.rest()
    }

    /// What a client that secures its connection says first.
    ///
    /// # Errors
    /// When there can be none.
    pub fn hello(&self) -> Result<Vec<u8>, String> {
        let mut hello = Vec::new();
        self.connection(None)?.write_tls(&mut hello).map_err(|error| error.to_string())?;
        Ok(hello)
    }

    /// With TLS, and perhaps a certificate. The server's own is not judged.
    ///
    /// # Errors
    /// When nobody listens, or the certificate cannot be used. Whether the server accepts it shows later.
    pub fn secured(&self, shown: Option<&Shown>) -> Result<Secured, String> {
        let connection = self.connection(shown)?;
        let stream = self.stream()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(|error| error.to_string())?;
        let mut secured = Secured(StreamOwned::new(connection, stream));
        secured.0.flush().map_err(|error| error.to_string())?;
        Ok(secured)
    }

    fn connection(&self, shown: Option<&Shown>) -> Result<ClientConnection, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.versions)
            .map_err(|error| text(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(Shown { chain, key }) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| text(&error))?;
                builder
                    .with_client_auth_cert(chain.map_err(|error| text(&error))?, key)
                    .map_err(|error| text(&error))?
            }
        };
        config.alpn_protocols.clone_from(&self.offered);
        let name = ServerName::try_from(self.name.clone());
        let name = name.map_err(|error| text(&error))?;
        ClientConnection::new(Arc::new(config), name).map_err(|error| text(&error))
    }

    /// What a server answers to a request over TLS, head and body.
    ///
    /// # Errors
    /// When the connection is refused, or ends early.
    pub fn get(&self, shown: Option<&Shown>) -> Result<String, String> {
        let mut secured = self.secured(shown)?;
        secured.say(format!("GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.authority).as_bytes())?;
        secured.rest()
    }
}

impl Secured {
    /// Sends bytes.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.write_all(bytes).and_then(|()| self.0.flush()).map_err(|error| error.to_string())
    }

    /// Reads up to some bytes.
    ///
    /// # Errors
    /// When the connection ends before them.
    pub fn until(&mut self, last: &[u8]) -> Result<Vec<u8>, String> {
        let (mut bytes, mut next) = (Vec::new(), [0]);
        while !bytes.ends_with(last) {
            self.0.read_exact(&mut next).map_err(|error| error.to_string())?;
            bytes.extend(next);
        }
        Ok(bytes)
    }

    /// All that comes, to the end.
    ///
    /// # Errors
    /// When it ends badly, or nothing has come.
    pub fn rest(&mut self) -> Result<String, String> {
        let mut all = Vec::new();
        match self.0.read_to_end(&mut all) {
            Ok(_) => Ok(String::from_utf8_lossy(&all).into_owned()),
            // Some of it, and then the end without TLS's own.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !all.is_empty() => {
                Ok(String::from_utf8_lossy(&all).into_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The server's certificate, DER.
    pub fn server(&self) -> Vec<u8> {
        let certificates = self.0.conn.peer_certificates().unwrap_or_default();
        certificates.first().map(|leaf| leaf.to_vec()).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
