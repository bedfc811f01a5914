//! The client in front of the proxy: HTTP/1.1 on one connection, in the clear or over TLS.

use crate::case_file::Request;
use crate::certs::{self, Identity};
use crate::engine::Observed;
use crate::fake_upstream::CASE_HEADER;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A request that is not answered for so long fails.
const PATIENCE: Duration = Duration::from_secs(15);

type Body = StreamBody<crate::fake_upstream::Frames>;

/// A client connection.
pub struct Client {
    sender: SendRequest<Body>,
}

/// How a client speaks TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The certificate it shows, if any.
    pub identity: Option<Identity>,
    /// The server name it asks for.
    pub sni: Option<String>,
    /// Application protocols that it offers.
    pub alpn: Vec<String>,
}

impl Client {
    /// Connects to a port of the loopback address.
    ///
    /// # Errors
    /// When nobody listens, or TLS fails.
    pub async fn connect(port: u16, tls: Option<&Tls>) -> Result<Self, String> {
        Self::connect_to(([127, 0, 0, 1], port).into(), tls).await
    }

    /// Connects to an address.
    ///
    /// # Errors
    /// When nobody listens, or TLS fails.
    pub async fn connect_to(address: SocketAddr, tls: Option<&Tls>) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let Some(tls) = tls else {
            return Self::over(stream).await;
        };
        let name = tls.sni.clone().unwrap_or_else(|| "proxy.test".into());
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let mut settings = client_settings(tls)?;
        settings.enable_sni = tls.sni.is_some();
        settings.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(settings));
        Self::over(connector.connect(name, stream).await.map_err(|error| error.to_string())?).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, String> {
        let handshake = http1::Builder::new().max_headers(2_000).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Sends a request of a case, marked as its own.
    ///
    /// # Errors
    /// When it is no HTTP request, or is not answered.
    pub async fn send(&mut self, request: &Request, mark: &str) -> Result<Observed, String> {
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let request = http_request(request, mark)?;
        let start = Instant::now();
        let response = tokio::time::timeout(PATIENCE, self.sender.send_request(request)).await;
        let response = response.map_err(|_| "no answer within 15 s")?.map_err(|error| error.to_string())?;
        let held = start.elapsed();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes().to_vec();
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Ok(Observed { status: parts.status.as_u16(), headers: headers.collect(), body, held, ..Observed::default() })
    }

    /// Whether the connection can carry another request.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

fn http_request(request: &Request, mark: &str) -> Result<hyper::Request<Body>, String> {
    let mut builder = hyper::Request::builder().method(request.method.as_str()).uri(request.path.as_str());
    builder = builder.header("host", request.authority.as_str()).header(CASE_HEADER, mark);
    for (name, value) in request.all_headers() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| format!("{name}: {error}"))?;
        let value = HeaderValue::from_bytes(&value).map_err(|error| format!("{name}: {error}"))?;
        builder = builder.header(name, value);
    }
    let mut frames = Vec::new();
    if let Some(body) = &request.body {
        let body = body.bytes();
        if request.trailers.is_empty() {
            builder = builder.header("content-length", body.len());
        }
        frames.push(Ok(Frame::data(Bytes::from(body))));
    }
    if !request.trailers.is_empty() {
        let names: Vec<&str> = request.trailers.iter().map(|(name, _)| name.as_str()).collect();
        builder = builder.header("trailer", names.join(","));
        let mut trailers = hyper::HeaderMap::new();
        for (name, value) in &request.trailers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            trailers.append(name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
        }
        frames.push(Ok(Frame::trailers(trailers)));
    }
    if frames.is_empty() {
        builder = builder.header("content-length", 0);
        if !["POST", "PUT", "PATCH"].contains(&request.method.as_str()) {
            builder.headers_mut().map(|headers| headers.remove("content-length"));
        }
    }
    let body = StreamBody::new(crate::fake_upstream::Frames::new(frames));
    builder.body(body).map_err(|error| error.to_string())
}

fn client_settings(tls: &Tls) -> Result<rustls::ClientConfig, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(certs::authority()?.as_bytes()).map_err(|error| text(&error))?;
    roots.add(authority).map_err(|error| text(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyName(
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| text(&error))?,
    ));
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match &tls.identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let key = PrivatePkcs8KeyDer::from(identity.key_der.clone());
            let chain = vec![CertificateDer::from(identity.der.clone())];
            builder.with_client_auth_cert(chain, key.into()).map_err(|error| text(&error))
        }
    }
}

/// Checks the server's chain but not its name: a case asks for whatever server name it is about.
#[derive(Debug)]
struct AnyName(Arc<rustls::client::WebPkiServerVerifier>);

impl rustls::client::danger::ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        let own = ServerName::try_from("proxy.test").map_err(|error| rustls::Error::General(error.to_string()))?;
        self.0.verify_server_cert(end_entity, intermediates, &own, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// What a request fails with when it has no answer.
pub fn unanswered(error: String) -> Observed {
    Observed { status: 0, body: error.into_bytes(), ..Observed::default() }
}
