//! TLS on filter chains and clusters.

use super::{typed, with};
use compiler::snapshot::{DataSource, DownstreamTls, TlsCertificate, TlsVersion, UpstreamProtocol, UpstreamTls};
use serde_json::{Map, Value, json};

pub(super) fn downstream(socket: &DownstreamTls) -> Value {
    let mut common = Map::new();
    let certificates: Vec<Value> = socket.certificates.iter().map(certificate).collect();
    common.insert("tls_certificates".to_owned(), Value::Array(certificates));
    common.insert("alpn_protocols".to_owned(), json!(socket.alpn));
    common.insert("tls_params".to_owned(), parameters(socket.min_protocol_version, &socket.cipher_suites));
    if let Some(authority) = &socket.trusted_ca {
        let domains = socket.trust_domains.iter();
        let names = domains.map(|domain| subject("URI", &json!({"prefix": format!("spiffe://{domain}/")})));
        let context = named(json!({"trusted_ca": source(authority)}), names.collect());
        common.insert("validation_context".to_owned(), context);
    }
    let context = json!({
        "common_tls_context": common,
        "require_client_certificate": socket.require_client_certificate,
    });
    transport_socket("DownstreamTlsContext", context)
}

pub(super) fn upstream(socket: &UpstreamTls, protocol: UpstreamProtocol) -> Value {
    let mut common = Map::new();
    let certificates: Vec<Value> = socket.certificate.iter().map(certificate).collect();
    common.insert("tls_certificates".to_owned(), Value::Array(certificates));
    common.insert("tls_params".to_owned(), parameters(socket.min_protocol_version, &[]));
    if !socket.alpn.is_empty() {
        // Envoy offers what the protocol needs by itself, but for a list that says otherwise.
        let needed: &[&str] = match protocol {
            UpstreamProtocol::Http1 => &["http/1.1"],
            UpstreamProtocol::Http2 => &["h2"],
            UpstreamProtocol::Downstream => &["h2", "http/1.1"],
        };
        let given = socket.alpn.iter().map(String::as_str);
        let needed = needed.iter().copied().filter(|needed| !socket.alpn.iter().any(|given| given == needed));
        let all: Vec<&str> = given.chain(needed).collect();
        common.insert("alpn_protocols".to_owned(), json!(all));
    }
    if !socket.danger_skip_verify {
        common.insert("validation_context".to_owned(), validation(socket));
    }
    let context = json!({"common_tls_context": common, "sni": socket.sni.as_deref().unwrap_or_default()});
    transport_socket("UpstreamTlsContext", context)
}

/// What endpoints are told apart by, that speak TLS and that do not.
const TLS: &str = "tls";

/// TLS to endpoints that are marked so, and none to others.
pub(super) fn matches(socket: &Value) -> Value {
    let raw = typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", json!({}));
    let raw = json!({"name": "envoy.transport_sockets.raw_buffer", "typed_config": raw});
    json!([
        {"name": TLS, "match": {TLS: true}, "transport_socket": socket},
        {"name": "plaintext", "match": {}, "transport_socket": raw},
    ])
}

/// The mark of an endpoint that speaks TLS.
pub(super) fn metadata() -> Value {
    json!({"filter_metadata": {"envoy.transport_socket_match": {TLS: true}}})
}

/// Whom a cluster trusts: a certificate of this authority, or of those that the system trusts, for one of these names.
fn validation(socket: &UpstreamTls) -> Value {
    let context = match &socket.trusted_ca {
        Some(authority) => json!({"trusted_ca": source(authority)}),
        None => json!({"system_root_certs": {}}),
    };
    let exact = |name: &String| match name.contains("://") {
        true => subject("URI", &json!({"exact": name})),
        false => subject("DNS", &json!({"exact": name})),
    };
    let names: Vec<Value> = match (&socket.subject_alt_names, &socket.sni) {
        (names, _) if !names.is_empty() => names.iter().map(exact).collect(),
        (_, Some(name)) if !socket.danger_skip_name_check => vec![exact(name)],
        _ => Vec::new(),
    };
    named(context, names)
}

/// Whoever is trusted, and of these names; without any, of whatever name.
fn named(context: Value, names: Vec<Value>) -> Value {
    with(context, "match_typed_subject_alt_names", Value::Array(names))
}

fn subject(kind: &str, matcher: &Value) -> Value {
    json!({"san_type": kind, "matcher": matcher})
}

fn certificate(certificate: &TlsCertificate) -> Value {
    json!({
        "certificate_chain": source(&certificate.certificate_chain),
        "private_key": source(&certificate.private_key),
    })
}

fn source(data: &DataSource) -> Value {
    match data {
        DataSource::Inline(text) => json!({"inline_string": text}),
        DataSource::File(path) => json!({"filename": path}),
    }
}

fn parameters(least: TlsVersion, cipher_suites: &[String]) -> Value {
    let least = match least {
        TlsVersion::Tls12 => "TLSv1_2",
        TlsVersion::Tls13 => "TLSv1_3",
    };
    json!({
        "tls_minimum_protocol_version": least,
        "tls_maximum_protocol_version": "TLSv1_3",
        "cipher_suites": cipher_suites,
    })
}

fn transport_socket(message: &str, context: Value) -> Value {
    let message = format!("envoy.extensions.transport_sockets.tls.v3.{message}");
    json!({"name": "envoy.transport_sockets.tls", "typed_config": typed(&message, context)})
}
