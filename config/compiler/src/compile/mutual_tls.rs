//! Mutual TLS between workloads: the transport sockets of both sides, with certificates by reference.

use crate::mesh::Service;
use crate::mesh::settings::MeshSettings;
use crate::snapshot::{DataSource, DownstreamTls, TlsCertificate, TlsVersion, TrustBundle, UpstreamTls};
use istio_api::gateway::TlsProtocol;
use std::path::{Path, PathBuf};

/// Of a workload's certificate, as `outrigger ca` and Istio's agent write them.
const CERT_CHAIN: &str = "cert-chain.pem";
const KEY: &str = "key.pem";
const ROOT_CERT: &str = "root-cert.pem";

/// What a client offers by which servers tell mutual TLS from the application's own, as Istio's sidecars do.
const OFFERED: &str = "istio";

/// What marks mutual TLS of any of Istio's sidecars.
const MARKS: [&str; 5] = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];

/// The label by which a workload says whether it takes mutual TLS.
const TLS_MODE: &str = "security.istio.io/tlsMode";

/// Why nothing can be secured.
pub(crate) const NO_CERTIFICATE: &str = "the workload has no certificate to secure connections with";

/// The certificate of a workload and whom it trusts, as files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credentials {
    /// A folder with `cert-chain.pem`, `key.pem` and `root-cert.pem`, which vouches for the mesh's own trust domains.
    pub folder: PathBuf,
    /// Who vouches for the workloads of other trust domains.
    pub federated: Vec<TrustBundle>,
}

impl<P: Into<PathBuf>> From<P> for Credentials {
    fn from(folder: P) -> Self {
        Self { folder: folder.into(), federated: Vec::new() }
    }
}

/// The application protocols that a client offers of which at least one marks mutual TLS.
pub(crate) fn marks() -> Vec<String> {
    MARKS.map(str::to_owned).to_vec()
}

/// Whom a server accepts: clients with a certificate of the mesh and an identity of its trust domains.
pub(crate) fn server(settings: &MeshSettings<'_>, credentials: &Credentials) -> DownstreamTls {
    let tls = settings.mesh_tls();
    let trust_bundles = trust_bundles(settings, credentials);
    let mut trust_domains = trust_domains(settings);
    for domain in trust_bundles.iter().flat_map(|bundle| &bundle.trust_domains) {
        if !trust_domains.contains(domain) {
            trust_domains.push(domain.clone());
        }
    }
    DownstreamTls {
        certificates: vec![certificate(&credentials.folder)],
        trusted_ca: Some(root(credentials)),
        require_client_certificate: true,
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
        min_protocol_version: version(settings),
        cipher_suites: tls.map(|tls| tls.cipher_suites.clone()).unwrap_or_default(),
        trust_domains,
        trust_bundles,
    }
}

/// How a client calls a service. `identities`: those of its servers; where there are none, whoever the mesh's own CA
/// vouches for.
pub(crate) fn client(
    settings: &MeshSettings<'_>,
    credentials: &Credentials,
    sni: String,
    identities: Vec<String>,
) -> UpstreamTls {
    UpstreamTls {
        certificate: Some(certificate(&credentials.folder)),
        trusted_ca: Some(root(credentials)),
        // Somebody else's workload is not to stand for one whose identity is not known.
        trust_bundles: if identities.is_empty() { Vec::new() } else { trust_bundles(settings, credentials) },
        sni: Some(sni),
        danger_skip_name_check: identities.is_empty(),
        subject_alt_names: identities,
        alpn: vec![OFFERED.to_owned()],
        min_protocol_version: version(settings),
        ..UpstreamTls::default()
    }
}

/// The server name that is asked for: `outbound_.9080_.v1_.reviews.shop.svc.cluster.local`.
pub(crate) fn server_name(port: u16, subset: &str, hostname: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{hostname}")
}

/// The identities of a service's servers, in every trust domain of the mesh.
pub(crate) fn identities(settings: &MeshSettings<'_>, service: &Service) -> Vec<String> {
    let accounts = service.endpoints.iter().filter_map(|endpoint| {
        let account = endpoint.service_account.as_deref()?;
        let namespace = endpoint.workload.as_ref().map_or(service.namespace.as_str(), |(namespace, _)| namespace);
        Some((namespace, account))
    });
    let domains = trust_domains(settings);
    let of_account = |(namespace, account): (&str, &str)| {
        domains.iter().map(|domain| format!("spiffe://{domain}/ns/{namespace}/sa/{account}")).collect::<Vec<_>>()
    };
    let mut identities: Vec<_> = accounts.flat_map(of_account).chain(service.subject_alt_names.clone()).collect();
    identities.sort_unstable();
    identities.dedup();
    identities
}

/// Whether there is a sidecar before an endpoint: it says so, or it is a workload of the mesh, no gateway, and does not say
/// otherwise. A gateway's servers have the TLS that they say, and no other.
pub(crate) fn has_sidecar(endpoint: &crate::mesh::ServiceEndpoint) -> bool {
    match endpoint.labels.get(TLS_MODE) {
        Some(mode) => mode == "istio",
        None => endpoint.workload.is_some() && !endpoint.is_gateway,
    }
}

fn certificate(folder: &Path) -> TlsCertificate {
    TlsCertificate {
        certificate_chain: DataSource::File(folder.join(CERT_CHAIN)),
        private_key: DataSource::File(folder.join(KEY)),
    }
}

fn root(credentials: &Credentials) -> DataSource {
    DataSource::File(credentials.folder.join(ROOT_CERT))
}

/// Who vouches for identities beside the mesh's own CA: for other trust domains as they are federated, and as
/// MeshConfig's `caCertificates` says. What names a trust domain of the mesh itself does so with the mesh's own CA.
fn trust_bundles(settings: &MeshSettings<'_>, credentials: &Credentials) -> Vec<TrustBundle> {
    let mut bundles = credentials.federated.clone();
    bundles.extend(settings.ca_certificates().map(|(pem, domains)| TrustBundle {
        trust_domains: domains.iter().map(|domain| in_identities(domain)).collect(),
        trusted_ca: DataSource::Inline(pem.to_owned()),
    }));
    let is_named = |domain: &String| bundles.iter().any(|bundle| bundle.trust_domains.contains(domain));
    let own: Vec<_> = trust_domains(settings).into_iter().filter(is_named).collect();
    if !own.is_empty() {
        bundles.push(TrustBundle { trust_domains: own, trusted_ca: root(credentials) });
    }
    bundles
}

fn version(settings: &MeshSettings<'_>) -> TlsVersion {
    match settings.mesh_tls().map(|tls| tls.min_protocol_version) {
        Some(TlsProtocol::V1_3) => TlsVersion::Tls13,
        _ => TlsVersion::Tls12,
    }
}

/// The mesh's trust domain and its aliases.
fn trust_domains(settings: &MeshSettings<'_>) -> Vec<String> {
    let all = std::iter::once(&settings.trust_domain).chain(&settings.trust_domain_aliases);
    all.map(|domain| in_identities(domain)).collect()
}

/// A trust domain as identities have it: `@` stands as `.`.
fn in_identities(domain: &str) -> String {
    domain.replace('@', ".")
}
