//! TLS on filter chains and clusters.

use super::{typed, with};
use compiler::snapshot::{
    DataSource, DownstreamTls, Snapshot, TlsCertificate, TlsVersion, TrustBundle, UpstreamProtocol, UpstreamTls,
};
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
        let context = match socket.trust_bundles.is_empty() {
            true => named(json!({"trusted_ca": source(authority)}), names.collect()),
            false => Trust::downstream(socket).validator(),
        };
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

/// Whom the system trusts, where Debian, Ubuntu, Alpine and Arch have it. Envoy has a field for that
/// (`system_root_certs`) which does nothing; where the file is missing it does not start.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whom a cluster trusts: a certificate of this authority, or of those that the system trusts, for one of these names.
fn validation(socket: &UpstreamTls) -> Value {
    let context = match &socket.trusted_ca {
        _ if !socket.trust_bundles.is_empty() => Trust::upstream(socket).validator(),
        Some(authority) => json!({"trusted_ca": source(authority)}),
        None => json!({"trusted_ca": {"filename": SYSTEM_ROOTS}}),
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

/// Who vouches for which trust domains.
struct Trust<'t> {
    domains: Vec<&'t str>,
    others: Option<&'t DataSource>,
    bundles: &'t [TrustBundle],
}

impl<'t> Trust<'t> {
    fn downstream(socket: &'t DownstreamTls) -> Self {
        let domains = socket.trust_domains.iter().map(String::as_str).collect();
        Self { domains, others: socket.trusted_ca.as_ref(), bundles: &socket.trust_bundles }
    }

    /// Of servers, those whose identities are known.
    fn upstream(socket: &'t UpstreamTls) -> Self {
        let of = |name: &'t String| name.strip_prefix("spiffe://")?.split('/').next();
        let mut domains: Vec<_> = socket.subject_alt_names.iter().filter_map(of).collect();
        domains.sort_unstable();
        domains.dedup();
        Self { domains, others: socket.trusted_ca.as_ref(), bundles: &socket.trust_bundles }
    }

    /// As our own proxies have it: who names a domain or none, and for one that is not named the mesh's own CA.
    fn authorities(&self, domain: &str) -> Vec<&'t DataSource> {
        let names = |bundle: &&TrustBundle| bundle.trust_domains.iter().any(|named| named == domain);
        let own = self.others.filter(|_| !self.bundles.iter().any(|bundle| names(&bundle)));
        let bundles = self.bundles.iter().filter(|bundle| names(bundle) || bundle.trust_domains.is_empty());
        own.into_iter().chain(bundles.map(|bundle| &bundle.trusted_ca)).collect()
    }

    fn validator(&self) -> Value {
        let domain = |name: &&str| json!({"name": name, "trust_bundle": together(&self.authorities(name)).0});
        let domains: Vec<Value> = self.domains.iter().map(domain).collect();
        let message = "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";
        let config = typed(message, json!({"trust_domains": domains}));
        json!({"custom_validator_config": {"name": "envoy.tls.cert_validator.spiffe", "typed_config": config}})
    }

    /// Trust domains some of whose authorities are left out.
    fn narrowed(&self) -> impl Iterator<Item = &'t str> {
        self.domains.iter().copied().filter(|domain| !together(&self.authorities(domain)).1)
    }
}

/// Envoy takes one source: all if they are texts, else the first. Whether it is all.
fn together(sources: &[&DataSource]) -> (Value, bool) {
    let text = |data: &&DataSource| match data {
        DataSource::Inline(text) => Some(text.clone()),
        DataSource::File(_) => None,
    };
    match (sources, sources.iter().map(text).collect::<Option<Vec<_>>>()) {
        ([], _) => (Value::Null, true),
        ([one], _) => (source(one), true),
        (_, Some(texts)) => (json!({"inline_string": texts.join("\n")}), true),
        ([first, ..], None) => (source(first), false),
    }
}

/// What Envoy cannot be told of a snapshot's TLS.
pub(super) fn notices(snapshot: &Snapshot) -> Vec<String> {
    let chains = snapshot.listeners.iter().flat_map(|listener| &listener.filter_chains);
    let downstream = chains.filter_map(|chain| chain.transport_socket.as_ref()).map(Trust::downstream);
    let upstream = snapshot.clusters.iter().filter_map(|cluster| cluster.transport_socket.as_ref());
    let all = downstream.chain(upstream.map(Trust::upstream)).filter(|trust| !trust.bundles.is_empty());
    let narrowed = |trust: Trust<'_>| trust.narrowed().map(str::to_owned).collect::<Vec<_>>();
    let mut domains: Vec<String> = all.flat_map(narrowed).collect();
    domains.sort_unstable();
    domains.dedup();
    let said = domains.iter().map(|domain| {
        format!(
            "trust domain {domain} has authorities in a file and elsewhere: Envoy trusts those of the first place alone"
        )
    });
    said.collect()
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
