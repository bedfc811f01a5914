//! MeshConfig: what holds for the whole mesh. The text under `mesh` of the ConfigMap `istio`, or a file of its own.

mod provider;
mod proxy;
mod validate;

pub use provider::{
    AccessLogProvider, ExtAuthzGrpc, ExtAuthzHttp, ExtensionProvider, FileAccessLog, FileLogFormat, HttpHeader,
    HttpService, LogFormat, OpenTelemetryProvider, RequestBody, ServiceProvider, Stackdriver, StackdriverLogging,
};
pub use proxy::{
    ForwardClientCert, InterceptionMode, MeshProxyConfig, PrivateKeyProvider, ProxyTracing, StatsMatcher, Topology,
    TracingServiceName,
};

use crate::ExportTo;
use crate::destination_rule::{ConnectionPool, LocalityLbSetting, OutlierDetection, TcpKeepalive, ZoneAwareLbSetting};
use crate::gateway::TlsProtocol;
use crate::kubernetes::KubernetesSelector;
use crate::scalar::{DnsLabel, Host, Millis, Optional, Port, Unused};
use crate::virtual_service::Retries;
use plugin_config::{At, Duration};

plugin_config::object! {
    /// What holds for the whole mesh.
    #[derive(Clone, Debug, PartialEq)]
    pub struct MeshConfig {
        /// Where sidecars take calls of their workloads; 15001 when absent.
        pub proxy_listen_port: Option<Port> = "proxyListenPort",
        /// Where sidecars take calls for their workloads; 15006 when absent.
        pub proxy_inbound_listen_port: Option<Port> = "proxyInboundListenPort",
        /// Where sidecars are an HTTP proxy; nowhere when absent or 0.
        pub proxy_http_port: Option<u16> = "proxyHttpPort",
        /// How long connecting may take; 10 s when absent.
        pub connect_timeout: Option<Millis> = "connectTimeout",
        /// How long a client may take to say what it speaks; for ever when absent or 0.
        pub protocol_detection_timeout: Option<Duration> = "protocolDetectionTimeout",
        /// Whether the system looks if peers are there.
        pub tcp_keepalive: Option<TcpKeepalive> = "tcpKeepalive",
        /// Whether requests are traced; so when absent.
        pub enable_tracing: Option<bool> = "enableTracing",
        /// Where proxies log requests; nowhere when absent.
        pub access_log_file: Optional<String> = "accessLogFile",
        /// How; Istio's own format when absent.
        pub access_log_format: Optional<String> = "accessLogFormat",
        /// As text or as JSON.
        pub access_log_encoding: AccessLogEncoding = "accessLogEncoding" or AccessLogEncoding::Text,
        /// Whether requests are logged to a service.
        pub enable_envoy_access_log_service: Unused = "enableEnvoyAccessLogService",
        /// Whether connections without a filter chain are not logged.
        pub disable_envoy_listener_log: Option<bool> = "disableEnvoyListenerLog",
        /// What proxies are started with.
        pub default_config: Option<MeshProxyConfig> = "defaultConfig",
        /// What becomes of calls to unknown services.
        pub outbound_traffic_policy: Option<MeshOutboundTrafficPolicy> = "outboundTrafficPolicy",
        /// Where calls for a workload go.
        pub inbound_traffic_policy: Option<InboundTrafficPolicy> = "inboundTrafficPolicy",
        /// Whether connections are secured where the server can; so when absent.
        pub enable_auto_mtls: Option<bool> = "enableAutoMtls",
        /// The trust domain of identities; `cluster.local` when absent.
        pub trust_domain: Optional<String> = "trustDomain",
        /// Other trust domains that stand for the same mesh.
        pub trust_domain_aliases: Vec<String> = "trustDomainAliases",
        /// Further authorities whose certificates are good.
        pub ca_certificates: Vec<CertificateData> = "caCertificates",
        /// Who sees Services and ServiceEntries that say nothing; everybody when absent.
        pub default_service_export_to: ExportTo = "defaultServiceExportTo",
        /// Who sees VirtualServices that say nothing; everybody when absent.
        pub default_virtual_service_export_to: ExportTo = "defaultVirtualServiceExportTo",
        /// Who sees DestinationRules that say nothing; everybody when absent.
        pub default_destination_rule_export_to: ExportTo = "defaultDestinationRuleExportTo",
        /// The namespace whose policies are for the whole mesh; `istio-system` when absent.
        pub root_namespace: Optional<DnsLabel> = "rootNamespace",
        /// Preference by locality.
        pub locality_lb_setting: Option<LocalityLbSetting> = "localityLbSetting",
        /// Preference for the proxy's own zone.
        pub zone_aware_lb_setting: Option<ZoneAwareLbSetting> = "zoneAwareLbSetting",
        /// How often names are looked up that have no time to live; every 60 s when absent.
        pub dns_refresh_rate: Option<Millis> = "dnsRefreshRate",
        /// Whether HTTP/1.1 is sent as HTTP/2.
        pub h2_upgrade_policy: MeshH2Upgrade = "h2UpgradePolicy" or MeshH2Upgrade::DoNotUpgrade,
        /// What clusters of the workload's own are called in statistics.
        pub inbound_cluster_stat_name: Optional<String> = "inboundClusterStatName",
        /// What clusters of services are called in statistics.
        pub outbound_cluster_stat_name: Optional<String> = "outboundClusterStatName",
        /// What holds for some services.
        pub service_settings: Vec<ServiceSettings> = "serviceSettings",
        /// Whether the application's metrics are served with the proxy's; so when absent.
        pub enable_prometheus_merge: Option<bool> = "enablePrometheusMerge",
        /// Whether server certificates are verified when a DestinationRule says nothing; so when absent.
        pub verify_certificate_at_client: Option<bool> = "verifyCertificateAtClient",
        /// Services that other resources name.
        pub extension_providers: Vec<ExtensionProvider> = "extensionProviders",
        /// Which of them are used when a Telemetry names none.
        pub default_providers: Option<DefaultProviders> = "defaultProviders",
        /// Namespaces that are looked at; all when absent.
        pub discovery_selectors: Vec<KubernetesSelector> = "discoverySelectors",
        /// How paths are normalized.
        pub path_normalization: Option<PathNormalization> = "pathNormalization",
        /// Repetition of failed requests, where a route says nothing.
        pub default_http_retry_policy: Option<Retries> = "defaultHttpRetryPolicy",
        /// Repetition of failed requests between a proxy and its workload.
        pub default_inbound_http_retry_policy: Option<Retries> = "defaultInboundHttpRetryPolicy",
        /// Limits and ejection, where a DestinationRule says nothing.
        pub default_traffic_policy: Option<DefaultTrafficPolicy> = "defaultTrafficPolicy",
        /// How connections within the mesh are secured.
        pub mesh_mtls: Option<TlsConfig> = "meshMTLS",
        /// How other connections are secured, where nothing is said.
        pub tls_defaults: Option<TlsConfig> = "tlsDefaults",
        /// Ingress resources are not read.
        pub ingress_class: Unused = "ingressClass",
        /// Ingress resources are not read.
        pub ingress_service: Unused = "ingressService",
        /// Ingress resources are not read.
        pub ingress_controller_mode: Unused = "ingressControllerMode",
        /// Ingress resources are not read.
        pub ingress_selector: Unused = "ingressSelector",
        /// There is no control plane.
        pub config_sources: Unused = "configSources",
        /// There is no control plane.
        pub certificates: Unused = "certificates",
        /// There is no control plane.
        pub ca: Unused = "ca",
        /// There is no ambient mode.
        pub service_scope_configs: Unused = "serviceScopeConfigs",
    }

    /// What becomes of calls to unknown services.
    #[derive(Clone, Debug, PartialEq)]
    pub struct MeshOutboundTrafficPolicy {
        /// Refused when nothing is said: `{}` is REGISTRY_ONLY.
        pub mode: MeshOutboundMode = "mode" or MeshOutboundMode::RegistryOnly,
    }

    /// Where calls for a workload go.
    #[derive(Clone, Debug, PartialEq)]
    pub struct InboundTrafficPolicy {
        /// Where.
        pub mode: InboundMode = "mode" or InboundMode::Passthrough,
    }

    /// Authorities whose certificates are good: one of the two.
    #[derive(Clone, Debug, PartialEq)]
    pub struct CertificateData {
        /// Their certificates.
        pub pem: Optional<String> = "pem",
        /// Where their certificates are published.
        pub spiffe_bundle_url: Optional<String> = "spiffeBundleUrl",
        /// The signers they are for; all when absent.
        pub cert_signers: Vec<String> = "certSigners",
        /// The trust domains they are for; all when absent.
        pub trust_domains: Vec<String> = "trustDomains",
    }

    /// What holds for some services.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ServiceSettings {
        /// What.
        pub settings: Option<ServiceSetting> = "settings",
        /// Which.
        pub hosts: Vec<Host> = "hosts",
    }

    /// What holds for some services.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ServiceSetting {
        /// Whether they are called within the Kubernetes cluster alone.
        pub cluster_local: bool = "clusterLocal",
    }

    /// Which providers are used when a Telemetry names none.
    #[derive(Clone, Debug, PartialEq)]
    pub struct DefaultProviders {
        /// For traces.
        pub tracing: Vec<String> = "tracing",
        /// For metrics.
        pub metrics: Vec<String> = "metrics",
        /// For logs.
        pub access_logging: Vec<String> = "accessLogging",
    }

    /// How paths are normalized.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PathNormalization {
        /// How.
        pub normalization: Normalization = "normalization" or Normalization::Default,
    }

    /// Limits and ejection.
    #[derive(Clone, Debug, PartialEq)]
    pub struct DefaultTrafficPolicy {
        /// Limits.
        pub connection_pool: Option<ConnectionPool> = "connectionPool",
        /// Ejection.
        pub outlier_detection: Option<OutlierDetection> = "outlierDetection",
    }

    /// How connections are secured.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TlsConfig {
        /// TLS 1.2 when nothing is said.
        pub min_protocol_version: TlsProtocol = "minProtocolVersion" or TlsProtocol::Auto,
        /// Curves of the key exchange.
        pub ecdh_curves: Vec<String> = "ecdhCurves",
        /// Ciphers by their OpenSSL names.
        pub cipher_suites: Vec<String> = "cipherSuites",
    }
}

plugin_config::keyword! {
    /// How requests are logged.
    pub enum AccessLogEncoding {
        /// As text.
        Text = "TEXT",
        /// As JSON.
        Json = "JSON",
    }

    /// What becomes of calls to unknown services.
    pub enum MeshOutboundMode {
        /// They are refused.
        RegistryOnly = "REGISTRY_ONLY",
        /// They go on to the address they were made to.
        AllowAny = "ALLOW_ANY",
        /// They go on, those over HTTP to what DNS says of their host.
        AllowAnyDynamicDns = "ALLOW_ANY_DYNAMIC_DNS",
    }

    /// Where calls for a workload go.
    pub enum InboundMode {
        /// To the address they were made to.
        Passthrough = "PASSTHROUGH",
        /// To 127.0.0.1.
        Localhost = "LOCALHOST",
    }

    /// Whether HTTP/1.1 is sent as HTTP/2.
    pub enum MeshH2Upgrade {
        /// It is not.
        DoNotUpgrade = "DO_NOT_UPGRADE",
        /// It is.
        Upgrade = "UPGRADE",
    }

    /// How paths are normalized.
    pub enum Normalization {
        /// As `BASE`.
        Default = "DEFAULT",
        /// Not at all.
        None = "NONE",
        /// As RFC 3986 has it, and `\` becomes `/`.
        Base = "BASE",
        /// And slashes beside each other become one.
        MergeSlashes = "MERGE_SLASHES",
        /// And `%2F` and `%5C` are decoded before.
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES",
    }
}

impl MeshConfig {
    /// Records every fault.
    pub(crate) fn validate(&self, at: &mut At) {
        validate::check(self, at);
    }

    /// Records what is taken, but hardly what was meant.
    pub(crate) fn warn(&self, at: &mut At) {
        validate::warn(self, at);
    }
}
