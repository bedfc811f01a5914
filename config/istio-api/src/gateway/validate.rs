//! What a Gateway's fields say together.

use super::{Gateway, Server, ServerTls, ServerTlsMode, TlsProtocol};
use crate::protocol::Protocol;
use plugin_config::{At, Quoted};
use std::collections::HashSet;
use std::net::IpAddr;

/// Records every fault.
pub(super) fn check(gateway: &Gateway, at: &mut At) {
    at.field("servers", |at| {
        if gateway.servers.is_empty() {
            at.refuse("nothing", "required field is missing");
        }
        let mut names = HashSet::new();
        for (i, server) in gateway.servers.iter().enumerate() {
            at.index(i, |at| {
                let name = server.port.name.as_str();
                if name.is_empty() || !names.insert(name) {
                    let reason = "expected a name that no other port of this Gateway has";
                    at.field("port", |at| at.field("name", |at| at.refuse(Quoted(name), reason)));
                }
                check_server(server, at);
            });
        }
    });
}

fn check_server(server: &Server, at: &mut At) {
    if server.hosts.is_empty() {
        at.field("hosts", |at| at.refuse("nothing", "required field is missing"));
    }
    if let Some(bind) = server.bind.as_deref()
        && bind.parse::<IpAddr>().is_err()
    {
        at.field("bind", |at| at.refuse(Quoted(bind), "expected an IP address"));
    }
    if let Some(endpoint) = server.default_endpoint.as_deref() {
        at.field("defaultEndpoint", |at| at.refuse(Quoted(endpoint), "Istio does not implement this field"));
    }
    let protocol = Protocol::parse(&server.port.protocol);
    match protocol {
        None | Some(Protocol::Udp | Protocol::HttpProxy) => at.field("port", |at| {
            at.field("protocol", |at| at.refuse(Quoted(&server.port.protocol), Protocol::EXPECTED));
        }),
        Some(protocol) => check_protocol(server, protocol, at),
    }
    if let Some(tls) = &server.tls {
        at.field("tls", |at| check_server_tls(tls, at));
    }
}

fn check_protocol(server: &Server, protocol: Protocol, at: &mut At) {
    match &server.tls {
        None if protocol.is_tls() => {
            let reason = format!("{} needs it", server.port.protocol);
            at.field("tls", |at| at.refuse("nothing", reason));
        }
        Some(tls) if protocol.is_http() && *tls != redirect_alone() => {
            let reason = format!("with {} only httpsRedirect: true can be given", server.port.protocol);
            at.field("tls", |at| at.refuse("", reason));
        }
        Some(tls) if !protocol.is_http() && tls.https_redirect => {
            let reason = format!("with {} there is nothing to redirect", server.port.protocol);
            at.field("tls", |at| at.field("httpsRedirect", |at| at.refuse(true, reason)));
        }
        _ => {}
    }
}

fn redirect_alone() -> ServerTls {
    ServerTls { https_redirect: true, ..ServerTls::default() }
}

/// Checks TLS settings: one source of certificates, and what the mode needs and takes.
pub(crate) fn check_server_tls(tls: &ServerTls, at: &mut At) {
    let has_files = [&tls.server_certificate, &tls.private_key].iter().any(|file| file.is_some());
    let sources = [
        ("credentialName", tls.credential_name.is_some()),
        ("credentialNames", !tls.credential_names.is_empty()),
        ("tlsCertificates", !tls.tls_certificates.is_empty()),
        ("serverCertificate", has_files),
    ];
    let given: Vec<&'static str> = sources.iter().filter(|(_, given)| *given).map(|(field, _)| *field).collect();
    for (field, count) in
        [("credentialNames", tls.credential_names.len()), ("tlsCertificates", tls.tls_certificates.len())]
    {
        if count > 2 {
            at.field(field, |at| at.refuse(count, "at most two: one with RSA and one with ECDSA"));
        }
    }
    match tls.mode {
        _ if at.is_unread("mode") => {}
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            // A redirect needs no certificate, and its mode stays unset.
            refuse_each(&given, tls.mode, at);
        }
        ServerTlsMode::IstioMutual => {
            let authorities =
                [("caCertificates", &tls.ca_certificates), ("caCertCredentialName", &tls.ca_cert_credential_name)];
            let authorities = authorities.iter().filter(|(_, given)| given.is_some()).map(|(field, _)| *field);
            refuse_each(&given.iter().copied().chain(authorities).collect::<Vec<_>>(), tls.mode, at);
        }
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            check_certificates(tls, &given, at);
        }
    }
    check_versions(tls, at);
    check_hashes(tls, at);
}

fn refuse_each(fields: &[&'static str], mode: ServerTlsMode, at: &mut At) {
    for field in fields {
        at.field(field, |at| at.refuse("", format!("not together with mode: {}", mode.as_str())));
    }
}

fn check_certificates(tls: &ServerTls, given: &[&'static str], at: &mut At) {
    if given.len() != 1 {
        let reason = format!(
            "mode: {} needs exactly one of credentialName, credentialNames, tlsCertificates, and serverCertificate with \
             privateKey",
            tls.mode.as_str()
        );
        return at.refuse("", reason);
    }
    let by_files = given.contains(&"serverCertificate");
    if by_files {
        for (field, file) in [("serverCertificate", &tls.server_certificate), ("privateKey", &tls.private_key)] {
            if file.is_none() {
                at.field(field, |at| at.refuse("nothing", "required field is missing"));
            }
        }
    }
    at.field("tlsCertificates", |at| {
        for (i, certificate) in tls.tls_certificates.iter().enumerate() {
            let files =
                [("serverCertificate", &certificate.server_certificate), ("privateKey", &certificate.private_key)];
            for (field, _) in files.iter().filter(|(_, file)| file.is_none()) {
                at.index(i, |at| at.field(field, |at| at.refuse("nothing", "required field is missing")));
            }
        }
    });
    let verifies = matches!(tls.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    if verifies && by_files && tls.ca_certificates.is_none() && tls.ca_cert_credential_name.is_none() {
        let reason = format!("mode: {} needs it", tls.mode.as_str());
        at.field("caCertificates", |at| at.refuse("nothing", reason));
    }
}

fn check_versions(tls: &ServerTls, at: &mut At) {
    let (least, most) = (tls.min_protocol_version, tls.max_protocol_version);
    let is_set = |version: TlsProtocol| version != TlsProtocol::Auto;
    if is_set(least) && is_set(most) && order(least) > order(most) {
        let reason = format!("is before minProtocolVersion, {}", least.as_str());
        at.field("maxProtocolVersion", |at| at.refuse(Quoted(most.as_str()), reason));
    }
    if matches!(least, TlsProtocol::V1_0 | TlsProtocol::V1_1) && tls.cipher_suites.is_empty() {
        let refuse = |at: &mut At| at.refuse("nothing", "a version before TLS 1.2 needs its ciphers named");
        at.field("cipherSuites", refuse);
    }
}

fn order(version: TlsProtocol) -> usize {
    [TlsProtocol::V1_0, TlsProtocol::V1_1, TlsProtocol::V1_2, TlsProtocol::V1_3]
        .iter()
        .position(|known| *known == version)
        .unwrap_or_default()
}

fn check_hashes(tls: &ServerTls, at: &mut At) {
    at.field("verifyCertificateHash", |at| {
        for (i, hash) in tls.verify_certificate_hash.iter().enumerate() {
            let digits = hash.replace(':', "");
            if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                at.index(i, |at| at.refuse(Quoted(hash), "expected SHA-256 in hex, with colons or without"));
            }
        }
    });
    at.field("verifyCertificateSpki", |at| {
        for (i, hash) in tls.verify_certificate_spki.iter().enumerate() {
            let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
            let digits = hash.strip_suffix('=').unwrap_or_default();
            if digits.len() != 43 || !digits.bytes().all(valid) {
                at.index(i, |at| at.refuse(Quoted(hash), "expected SHA-256 in base64"));
            }
        }
    });
}

/// Ciphers that proxies know, by OpenSSL's names.
const CIPHERS: [&str; 12] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
];

/// Further ones, without forward secrecy and with CBC.
const OLD_CIPHERS: [&str; 3] = ["AES128-SHA", "AES256-SHA", "DES-CBC3-SHA"];

/// Records what is taken, but hardly what was meant.
pub(super) fn warn(gateway: &Gateway, at: &mut At) {
    at.field("servers", |at| {
        for (i, server) in gateway.servers.iter().enumerate() {
            at.index(i, |at| {
                if let Some(port) = server.port.target_port {
                    let refuse = |at: &mut At| at.refuse(port, "deprecated, and of no account");
                    at.field("port", |at| at.field("targetPort", refuse));
                }
                if let Some(tls) = &server.tls {
                    at.field("tls", |at| at.field("cipherSuites", |at| warn_ciphers(&tls.cipher_suites, at)));
                }
            });
        }
    });
}

fn warn_ciphers(ciphers: &[String], at: &mut At) {
    for (i, cipher) in ciphers.iter().enumerate() {
        let name = cipher.as_str();
        if !CIPHERS.contains(&name) && !OLD_CIPHERS.contains(&name) {
            at.index(i, |at| at.refuse(Quoted(cipher), "no cipher of this name: left out"));
        } else if ciphers.iter().take(i).any(|before| before == cipher) {
            at.index(i, |at| at.refuse(Quoted(cipher), "is there twice"));
        }
    }
}
