//! What holds for the whole mesh.

use istio_api::mesh_config::{ExtensionProvider, MeshConfig, MeshOutboundMode, Normalization, TlsConfig};
use istio_api::scalar::{DnsLabel, Millis};
use istio_api::virtual_service::Retries;
use istio_api::{Resource, Resources};

use crate::snapshot::{AccessLog, Duration, PathNormalization};

/// What Kubernetes services end in.
const DOMAIN: &str = "cluster.local";

/// What holds for the whole mesh: MeshConfig, with Istio's defaults where it says nothing.
#[derive(Debug)]
pub(crate) struct MeshSettings<'r> {
    /// What Kubernetes services end in.
    pub(crate) domain: String,
    /// Where what is for all namespaces stands.
    pub(crate) root_namespace: String,
    /// What SPIFFE identities begin with.
    pub(crate) trust_domain: String,
    /// What else they may begin with.
    pub(crate) trust_domain_aliases: Vec<String>,
    /// As it is written.
    pub(crate) written: Option<&'r Resource<MeshConfig>>,
}

impl<'r> MeshSettings<'r> {
    /// The last that was read: a file of its own stands over ConfigMaps.
    pub(crate) fn new(resources: &'r Resources) -> Self {
        let written = resources.mesh_configs.last();
        let config = written.map(|resource| &resource.spec);
        let text = |text: Option<&str>, default: &str| text.unwrap_or(default).to_owned();
        Self {
            domain: DOMAIN.to_owned(),
            root_namespace: text(
                config.and_then(|config| config.root_namespace.as_ref()).map(DnsLabel::as_str),
                "istio-system",
            ),
            trust_domain: text(config.and_then(|config| config.trust_domain.as_deref()), DOMAIN),
            trust_domain_aliases: config.map(|config| config.trust_domain_aliases.clone()).unwrap_or_default(),
            written,
        }
    }

    fn config(&self) -> Option<&'r MeshConfig> {
        self.written.map(|resource| &resource.spec)
    }

    /// What becomes of requests that no service is known for.
    pub(crate) fn outbound_mode(&self) -> MeshOutboundMode {
        let policy = self.config().and_then(|config| config.outbound_traffic_policy.as_ref());
        policy.map_or(MeshOutboundMode::AllowAny, |policy| policy.mode)
    }

    /// How long a connection may take to be made.
    pub(crate) fn connect_timeout(&self) -> Option<Millis> {
        self.config()?.connect_timeout
    }

    /// Where requests are logged.
    pub(crate) fn access_log(&self) -> Option<AccessLog> {
        let config = self.config()?;
        let path = config.access_log_file.as_deref().filter(|path| !path.is_empty())?;
        let format = config.access_log_format.to_option();
        Some(AccessLog { path: path.into(), format, json_format: None })
    }

    /// How long a client may take to say what it speaks.
    pub(crate) fn protocol_detection_timeout(&self) -> Option<Duration> {
        let written = self.config()?.protocol_detection_timeout?;
        Some(Duration(written.0)).filter(|timeout| timeout.limit().is_some())
    }

    /// How connections between workloads are secured.
    pub(crate) fn mesh_tls(&self) -> Option<&'r TlsConfig> {
        self.config()?.mesh_mtls.as_ref()
    }

    /// Further authorities as PEM, with the trust domains that they vouch for; for all without. What is for some signers
    /// alone, or has to be fetched, is left out.
    pub(crate) fn ca_certificates(&self) -> impl Iterator<Item = (&'r str, &'r [String])> {
        let written = self.config().into_iter().flat_map(|config| &config.ca_certificates);
        let for_all_signers = written.filter(|data| data.cert_signers.is_empty());
        for_all_signers.filter_map(|data| Some((data.pem.as_deref()?, data.trust_domains.as_slice())))
    }

    /// Whether clients secure connections to workloads that can take it, without a rule that says so.
    pub(crate) fn auto_mtls(&self) -> bool {
        self.config().and_then(|config| config.enable_auto_mtls).unwrap_or(true)
    }

    /// How paths are read.
    pub(crate) fn path_normalization(&self) -> PathNormalization {
        let written = self.config().and_then(|config| config.path_normalization.as_ref());
        match written.map_or(Normalization::Default, |written| written.normalization) {
            Normalization::None => PathNormalization::None,
            Normalization::Default | Normalization::Base => PathNormalization::Base,
            Normalization::MergeSlashes => PathNormalization::MergeSlashes,
            Normalization::DecodeAndMergeSlashes => PathNormalization::DecodeAndMergeSlashes,
        }
    }

    /// How often failed requests are sent again where a route does not say.
    pub(crate) fn default_retries(&self) -> Option<&'r Retries> {
        self.config()?.default_http_retry_policy.as_ref()
    }

    /// Services that policies name.
    pub(crate) fn providers(&self) -> &'r [ExtensionProvider] {
        self.config().map_or(&[], |config| &config.extension_providers)
    }
}
