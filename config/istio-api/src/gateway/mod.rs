//! Gateway: where traffic enters or leaves the mesh.

mod validate;

pub(crate) use validate::check_server_tls;

use crate::Metadata;
use crate::resource::Kind;
use crate::scalar::{GatewayHost, Labels, Optional, Port};
use plugin_config::At;

plugin_config::object! {
    /// Ports, and the hosts served on them.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Gateway {
        /// What serves each port.
        pub servers: Vec<Server> = "servers",
        /// Labels of the proxies it is for; all gateways when absent.
        pub selector: Labels = "selector",
    }

    /// Hosts on a port.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Server {
        /// The port.
        pub port: ServerPort = "port",
        /// The address it listens on; all when absent.
        pub bind: Optional<String> = "bind",
        /// The hosts.
        pub hosts: Vec<GatewayHost> = "hosts",
        /// How connections are secured.
        pub tls: Option<ServerTls> = "tls",
        /// Not implemented by Istio: refused.
        pub default_endpoint: Optional<String> = "defaultEndpoint",
        /// Its name, for statistics.
        pub name: Optional<String> = "name",
    }

    /// A port of a server.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ServerPort {
        /// Its number.
        pub number: Port = "number",
        /// `HTTP`, `HTTPS`, `GRPC`, `GRPC-WEB`, `HTTP2`, `MONGO`, `TCP` or `TLS`, in any case.
        pub protocol: String = "protocol",
        /// Its name, unique in the Gateway.
        pub name: String = "name",
        /// Deprecated, and of no account.
        pub target_port: Option<Port> = "targetPort",
    }

    /// How a server's connections are secured (Istio's `ServerTLSSettings`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct ServerTls {
        /// Whether requests over plain HTTP are sent to HTTPS: 301.
        pub https_redirect: bool = "httpsRedirect",
        /// How.
        pub mode: ServerTlsMode = "mode" or ServerTlsMode::Passthrough,
        /// File of the server's certificate.
        pub server_certificate: Optional<String> = "serverCertificate",
        /// File of its key.
        pub private_key: Optional<String> = "privateKey",
        /// File of the authorities that vouch for clients.
        pub ca_certificates: Optional<String> = "caCertificates",
        /// File of certificates that were revoked.
        pub ca_crl: Optional<String> = "caCrl",
        /// The Secret that has certificate, key and authorities.
        pub credential_name: Optional<String> = "credentialName",
        /// One or two Secrets, of different kinds of key.
        pub credential_names: Vec<String> = "credentialNames",
        /// The Secret that has the authorities.
        pub ca_cert_credential_name: Optional<String> = "caCertCredentialName",
        /// One or two certificates in files, of different kinds of key.
        pub tls_certificates: Vec<TlsCertificate> = "tlsCertificates",
        /// Names of which the client's certificate must have one.
        pub subject_alt_names: Vec<String> = "subjectAltNames",
        /// SHA-256 of client keys, in base64, of which one must be.
        pub verify_certificate_spki: Vec<String> = "verifyCertificateSpki",
        /// SHA-256 of client certificates, in hex, of which one must be.
        pub verify_certificate_hash: Vec<String> = "verifyCertificateHash",
        /// TLS 1.2 when nothing is said.
        pub min_protocol_version: TlsProtocol = "minProtocolVersion" or TlsProtocol::Auto,
        /// TLS 1.3 when nothing is said.
        pub max_protocol_version: TlsProtocol = "maxProtocolVersion" or TlsProtocol::Auto,
        /// Ciphers by their OpenSSL names.
        pub cipher_suites: Vec<String> = "cipherSuites",
        /// Whether a client's certificate may be anybody's.
        pub insecure_skip_verify: Option<bool> = "insecureSkipVerify",
    }

    /// A certificate in files.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TlsCertificate {
        /// File of the server's certificate.
        pub server_certificate: Optional<String> = "serverCertificate",
        /// File of its key.
        pub private_key: Optional<String> = "privateKey",
        /// File of the authorities that vouch for clients.
        pub ca_certificates: Optional<String> = "caCertificates",
    }
}

plugin_config::keyword! {
    /// How a server's connections are secured.
    pub enum ServerTlsMode {
        /// They are not ended here: the server name chooses a `tls` route.
        Passthrough = "PASSTHROUGH",
        /// The server shows a certificate.
        Simple = "SIMPLE",
        /// Both do.
        Mutual = "MUTUAL",
        /// They are not ended here: the server name says which cluster.
        AutoPassthrough = "AUTO_PASSTHROUGH",
        /// Both do, those of the mesh.
        IstioMutual = "ISTIO_MUTUAL",
        /// The server does, and the client may.
        OptionalMutual = "OPTIONAL_MUTUAL",
    }

    /// A version of TLS.
    pub enum TlsProtocol {
        /// The default.
        Auto = "TLS_AUTO",
        /// TLS 1.0.
        V1_0 = "TLSV1_0",
        /// TLS 1.1.
        V1_1 = "TLSV1_1",
        /// TLS 1.2.
        V1_2 = "TLSV1_2",
        /// TLS 1.3.
        V1_3 = "TLSV1_3",
    }
}

impl Kind for Gateway {
    const KIND: &'static str = "Gateway";
    const GROUP: &'static str = "networking.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1", "v1alpha3"];

    fn validate(&self, _: &Metadata, at: &mut At) {
        validate::check(self, at);
    }

    fn warn(&self, _: &Metadata, at: &mut At) {
        validate::warn(self, at);
    }
}
