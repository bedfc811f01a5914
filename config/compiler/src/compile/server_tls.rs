//! Istio's `ServerTLSSettings` → the transport socket of a filter chain.

use super::mutual_tls::{self, Credentials};
use crate::finding::Message;
use crate::mesh::{Mesh, Workload};
use crate::report::{Field, Report};
use crate::snapshot::{DataSource, DownstreamTls, TlsCertificate, TlsVersion};
use data_encoding::BASE64;
use istio_api::Resource;
use istio_api::gateway::{ServerTls, ServerTlsMode, TlsProtocol};
use istio_api::kubernetes::{Hidden, Secret};
use plugin_config::ListMap;
use std::path::PathBuf;

/// The TLS of a server. What cannot be had is refused.
pub(crate) fn compile(
    mesh: &Mesh<'_>,
    workload: &Workload,
    credentials: Option<&Credentials>,
    written: &ServerTls,
    field: Field<'_>,
    report: &mut Report,
) -> Option<DownstreamTls> {
    let (trusts, requires) = match written.mode {
        ServerTlsMode::Simple => (false, false),
        ServerTlsMode::Mutual => (true, true),
        ServerTlsMode::OptionalMutual => (true, false),
        ServerTlsMode::IstioMutual => {
            if credentials.is_none() {
                report.refuse(field, written.mode.as_str(), mutual_tls::NO_CERTIFICATE);
            }
            return credentials.map(|credentials| mutual_tls::server(&mesh.settings, credentials));
        }
        ServerTlsMode::AutoPassthrough | ServerTlsMode::Passthrough => {
            report.refuse(field, written.mode.as_str(), "connections are not passed on by the cluster they name yet");
            return None;
        }
    };
    let mut left_out = |given: bool, name: &str| {
        if given {
            report.refuse(field, name, "is not checked yet: clients would pass unchecked");
        }
    };
    left_out(!written.subject_alt_names.is_empty(), "subjectAltNames");
    left_out(!written.verify_certificate_spki.is_empty(), "verifyCertificateSpki");
    left_out(!written.verify_certificate_hash.is_empty(), "verifyCertificateHash");
    left_out(written.ca_crl.is_some(), "caCrl");
    let sources = sources(mesh, workload, written, field, report)?;
    if trusts && sources.trusted_ca.is_none() {
        report.refuse(field, written.mode.as_str(), "needs the authorities that vouch for clients");
        return None;
    }
    Some(DownstreamTls {
        certificates: sources.certificates,
        trusted_ca: sources.trusted_ca.filter(|_| trusts),
        require_client_certificate: requires,
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
        min_protocol_version: match written.min_protocol_version {
            TlsProtocol::V1_3 => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        },
        cipher_suites: written.cipher_suites.clone(),
        trust_domains: Vec::new(),
        trust_bundles: Vec::new(),
    })
}

/// Where certificates and authorities come from.
#[derive(Default)]
struct Sources {
    certificates: Vec<TlsCertificate>,
    trusted_ca: Option<DataSource>,
}

fn sources(
    mesh: &Mesh<'_>,
    workload: &Workload,
    written: &ServerTls,
    field: Field<'_>,
    report: &mut Report,
) -> Option<Sources> {
    let file = |path: Option<&str>| path.map(|path| DataSource::File(PathBuf::from(path)));
    let mut sources = Sources { certificates: Vec::new(), trusted_ca: file(written.ca_certificates.as_deref()) };
    let mut pairs = vec![(written.server_certificate.as_deref(), written.private_key.as_deref())];
    pairs.extend(
        written.tls_certificates.iter().map(|pair| (pair.server_certificate.as_deref(), pair.private_key.as_deref())),
    );
    for (certificate_chain, private_key) in pairs {
        if let (Some(certificate_chain), Some(private_key)) = (file(certificate_chain), file(private_key)) {
            sources.certificates.push(TlsCertificate { certificate_chain, private_key });
        }
    }
    for name in written.credential_name.iter().chain(&written.credential_names) {
        let secret = mesh.secret(&workload.namespace, name);
        let Some(secret) = secret else {
            let reason = format!("no Secret of this name in namespace {}, where the gateway is", workload.namespace);
            report.refuse_as(&Message::REFERENCED_RESOURCE_NOT_FOUND, field, name, reason);
            continue;
        };
        let certificate_chain = value(secret, &["tls.crt", "cert"]);
        let private_key = value(secret, &["tls.key", "key"]);
        match certificate_chain.zip(private_key) {
            Some((certificate_chain, private_key)) => {
                sources.certificates.push(TlsCertificate { certificate_chain, private_key });
            }
            None => {
                let reason = "the Secret has no tls.crt and tls.key";
                report.refuse_as(&Message::INVALID_GATEWAY_CREDENTIAL, field, name, reason);
            }
        }
        let ca = value(secret, &["ca.crt", "cacert"]);
        let apart = mesh.secret(&workload.namespace, &format!("{name}-cacert"));
        let ca = ca.or_else(|| value(apart?, &["ca.crt", "cacert"]));
        sources.trusted_ca = sources.trusted_ca.or(ca);
    }
    if let Some(name) = written.ca_cert_credential_name.as_deref() {
        let found = mesh.secret(&workload.namespace, name).and_then(|secret| value(secret, &["ca.crt", "cacert"]));
        match found {
            Some(ca) => sources.trusted_ca = Some(ca),
            None => report.refuse(field, name, "no Secret of this name has ca.crt"),
        }
    }
    if sources.certificates.is_empty() {
        report.refuse(field, "", "there is no certificate to show");
        return None;
    }
    Some(sources)
}

/// A value of a Secret as text; what is not text is no PEM.
fn value(secret: &Resource<Secret>, keys: &[&str]) -> Option<DataSource> {
    keys.iter().find_map(|key| text(&secret.spec, key)).map(DataSource::Inline)
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    let find = |all: &ListMap<Hidden>| {
        let found = all.iter().find(|(known, _)| *known == key);
        found.map(|(_, value)| value.reveal().to_owned())
    };
    if let Some(text) = find(&secret.string_data) {
        return Some(text);
    }
    let encoded = find(&secret.data)?.split_ascii_whitespace().collect::<String>();
    String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok()
}
