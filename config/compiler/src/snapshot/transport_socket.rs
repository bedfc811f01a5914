//! TLS on a filter chain and on a cluster: certificates, whom to trust, what to offer.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// PEM text, or where it is.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DataSource {
    /// The text itself.
    Inline(String),
    /// A file, read when the snapshot is put to use and whenever certificates are reloaded.
    File(PathBuf),
}

/// Without the text: it may be a private key.
impl fmt::Debug for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(text) => write!(f, "Inline({} bytes)", text.len()),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// A certificate and its key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TlsCertificate {
    /// The certificate itself first, then those up to the root.
    pub certificate_chain: DataSource,
    /// The key of the first; not encrypted.
    pub private_key: DataSource,
}

/// A version of TLS, as Istio and Envoy write it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2, the least that is spoken.
    #[default]
    #[serde(rename = "TLSV1_2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "TLSV1_3")]
    Tls13,
}

/// Authorities that vouch for the identities of some trust domains, and for no others.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TrustBundle {
    /// SPIFFE trust domains; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust_domains: Vec<String>,
    /// Their certificates.
    pub trusted_ca: DataSource,
}

/// TLS on the connections of a filter chain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DownstreamTls {
    /// At least one. Of several, the one for the server name that the client asks for; the first where none is.
    pub certificates: Vec<TlsCertificate>,
    /// Who may have issued the client's certificate. Absent: clients are not asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_ca: Option<DataSource>,
    /// Whether a client without a certificate is turned away.
    #[serde(default)]
    pub require_client_certificate: bool,
    /// Application protocols in order of preference. A client that speaks none of them is served all the same.
    #[serde(default = "default_alpn")]
    pub alpn: Vec<String>,
    /// TLS 1.2 without.
    #[serde(default)]
    pub min_protocol_version: TlsVersion,
    /// Of TLS 1.2, by the names that Istio has for them (`ECDHE-ECDSA-AES128-GCM-SHA256`); empty: all that are safe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    /// The SPIFFE trust domain, and its aliases, of which clients must be. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust_domains: Vec<String>,
    /// Who vouches for identities of trust domains beside `trusted_ca`: where one is named here, all that name it or
    /// none do, and `trusted_ca` does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust_bundles: Vec<TrustBundle>,
}

fn default_alpn() -> Vec<String> {
    vec!["h2".into(), "http/1.1".into()]
}

/// TLS to the endpoints of a cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct UpstreamTls {
    /// What is shown to an endpoint that asks for a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<TlsCertificate>,
    /// Who may have issued the endpoint's certificate. Absent: whom the system trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_ca: Option<DataSource>,
    /// Who vouches for identities beside `trusted_ca`, as in [`DownstreamTls`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trust_bundles: Vec<TrustBundle>,
    /// The server name that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Without `sni`: whether the request's authority is asked for.
    pub auto_sni: bool,
    /// One of them must be in the endpoint's certificate: DNS names, or URIs such as SPIFFE identities, exactly.
    /// Empty: the server name that was asked for must be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<String>,
    /// Without `subject_alt_names`: any certificate of the trusted CA will do, as Istio has it where a service's
    /// identities are unknown, and for an `sni` of its own.
    pub danger_skip_name_check: bool,
    /// Any certificate will do.
    pub danger_skip_verify: bool,
    /// Application protocols to offer beside what the cluster's protocol needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// TLS 1.2 without.
    pub min_protocol_version: TlsVersion,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_printed() {
        let json = serde_json::json!({
            "certificates": [{"certificateChain": {"file": "/c.pem"}, "privateKey": {"inline": "SECRET"}}],
            "minProtocolVersion": "TLSV1_3",
        });
        let tls: DownstreamTls = serde_json::from_value(json).unwrap();
        assert_eq!(tls.alpn, ["h2", "http/1.1"]);
        assert_eq!(tls.min_protocol_version, TlsVersion::Tls13);
        let printed = format!("{tls:?} {tls:#?}");
        assert!(!printed.contains("SECRET") && printed.contains("Inline(6 bytes)") && printed.contains("/c.pem"));
        let written = serde_json::to_value(&tls).unwrap();
        assert_eq!(serde_json::from_value::<DownstreamTls>(written).unwrap(), tls);
    }

    #[test]
    fn unknown_words_are_refused() {
        for json in [
            serde_json::json!({"certificates": [], "alpns": []}),
            serde_json::json!({"certificates": [], "minProtocolVersion": "TLSV1_1"}),
            serde_json::json!({"certificates": [{"certificateChain": {"inline": ""}}]}),
        ] {
            assert!(serde_json::from_value::<DownstreamTls>(json.clone()).is_err(), "{json}");
        }
        assert!(serde_json::from_value::<UpstreamTls>(serde_json::json!({"subjectAltName": "a"})).is_err());
        assert_eq!(serde_json::from_value::<UpstreamTls>(serde_json::json!({})).unwrap(), UpstreamTls::default());
    }
}
