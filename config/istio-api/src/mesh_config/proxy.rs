//! What proxies are started with: MeshConfig's `defaultConfig`, and the annotation `proxy.istio.io/config`.

use crate::scalar::{Count, Decimal, Millis, Optional, Port, Structure, Unused};
use crate::workload_group::ReadinessProbe;
use plugin_config::{Duration, ListMap};

plugin_config::object! {
    /// What proxies are started with.
    #[derive(Clone, Debug, PartialEq)]
    pub struct MeshProxyConfig {
        /// How many workers; as many as there are CPUs when 0.
        pub concurrency: Option<Count> = "concurrency",
        /// How long streams under way may take when the proxy ends; 5 s when absent.
        pub termination_drain_duration: Option<Duration> = "terminationDrainDuration",
        /// How long connections under way may take when a listener goes; 45 s when absent.
        pub drain_duration: Option<Millis> = "drainDuration",
        /// Where the admin server listens; 15000 when absent.
        pub proxy_admin_port: Option<Port> = "proxyAdminPort",
        /// Where it is asked whether the proxy is ready; 15020 when absent.
        pub status_port: Option<Port> = "statusPort",
        /// How connections get to the proxy.
        pub interception_mode: InterceptionMode = "interceptionMode" or InterceptionMode::Redirect,
        /// What is traced.
        pub tracing: Option<ProxyTracing> = "tracing",
        /// Variables of their environment: `ISTIO_META_DNS_CAPTURE` …
        pub proxy_metadata: ListMap<String> = "proxyMetadata",
        /// Trusted proxies in front of gateways.
        pub gateway_topology: Option<Topology> = "gatewayTopology",
        /// What the mesh is called in metrics.
        pub mesh_id: Optional<String> = "meshId",
        /// How it is found out whether the workload is ready.
        pub readiness_probe: Option<ReadinessProbe> = "readinessProbe",
        /// Statistics that are there besides.
        pub proxy_stats_matcher: Option<StatsMatcher> = "proxyStatsMatcher",
        /// Labels that metrics may have besides.
        pub extra_stat_tags: Vec<String> = "extraStatTags",
        /// Whether the application waits for the proxy.
        pub hold_application_until_proxy_starts: Option<bool> = "holdApplicationUntilProxyStarts",
        /// Further authorities whose certificates are good.
        pub ca_certificates_pem: Vec<String> = "caCertificatesPem",
        /// What a trace is called after; exclusive with `serviceCluster`.
        pub tracing_service_name: Option<TracingServiceName> = "tracingServiceName",
        /// What a trace is called after.
        pub service_cluster: Optional<String> = "serviceCluster",
        /// What is said of the proxy in headers.
        pub proxy_headers: Option<Structure> = "proxyHeaders",
        /// Longest name in statistics.
        pub stat_name_length: Option<Count> = "statNameLength",
        /// Envoy's runtime: there is none.
        pub runtime_values: Unused = "runtimeValues",
        /// Where keys are: in memory here.
        pub private_key_provider: Option<PrivateKeyProvider> = "privateKeyProvider",
        /// The proxy's image: of no account here.
        pub image: Unused = "image",
        /// There is no control plane.
        pub discovery_address: Unused = "discoveryAddress",
        /// There is no control plane.
        pub discovery_refresh_delay: Unused = "discoveryRefreshDelay",
        /// There is no control plane.
        pub control_plane_auth_policy: Unused = "controlPlaneAuthPolicy",
        /// Envoy's own.
        pub config_path: Unused = "configPath",
        /// Envoy's own.
        pub binary_path: Unused = "binaryPath",
        /// Envoy's own.
        pub parent_shutdown_duration: Unused = "parentShutdownDuration",
        /// Envoy's own.
        pub custom_config_file: Unused = "customConfigFile",
        /// Envoy's own.
        pub proxy_bootstrap_template_path: Unused = "proxyBootstrapTemplatePath",
        /// Deprecated.
        pub zipkin_address: Unused = "zipkinAddress",
        /// Deprecated.
        pub availability_zone: Unused = "availabilityZone",
        /// Deprecated.
        pub envoy_metrics_service_address: Unused = "envoyMetricsServiceAddress",
        /// Deprecated.
        pub sds: Unused = "sds",
        /// Statistics are fetched, not sent.
        pub statsd_udp_address: Unused = "statsdUdpAddress",
        /// Logs are not sent to a service.
        pub envoy_access_log_service: Unused = "envoyAccessLogService",
        /// Statistics are fetched, not sent.
        pub envoy_metrics_service: Unused = "envoyMetricsService",
        /// Statistics are fetched, not sent.
        pub stats_compression: Unused = "statsCompression",
        /// Files that wait for the proxy.
        pub file_flush_interval: Option<Duration> = "fileFlushInterval",
        /// How much of a file waits.
        pub file_flush_min_size_kb: Option<u32> = "fileFlushMinSizeKb",
    }

    /// What is traced.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ProxyTracing {
        /// The share of requests in percent, 0 to 100; 1 when absent.
        pub sampling: Option<Decimal> = "sampling",
        /// Tags besides.
        pub custom_tags: Option<Structure> = "customTags",
        /// Longest path in a span; 256 when absent.
        pub max_path_tag_length: Option<u32> = "maxPathTagLength",
        /// Whether Istio's own tags are there; so when absent.
        pub enable_istio_tags: Option<bool> = "enableIstioTags",
        /// Deprecated: a Telemetry says who gets traces.
        pub zipkin: Unused = "zipkin",
        /// Deprecated: a Telemetry says who gets traces.
        pub lightstep: Unused = "lightstep",
        /// Deprecated: a Telemetry says who gets traces.
        pub datadog: Unused = "datadog",
        /// Deprecated: a Telemetry says who gets traces.
        pub stackdriver: Unused = "stackdriver",
        /// Deprecated: a Telemetry says who gets traces.
        pub open_census_agent: Unused = "openCensusAgent",
        /// Deprecated: a Telemetry says who gets traces.
        pub tls_settings: Unused = "tlsSettings",
    }

    /// Trusted proxies in front of gateways.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Topology {
        /// How many.
        pub num_trusted_proxies: Option<u32> = "numTrustedProxies",
        /// What becomes of `x-forwarded-client-cert`.
        pub forward_client_cert_details: ForwardClientCert = "forwardClientCertDetails" or ForwardClientCert::Undefined,
        /// Whether connections start with the client's address (PROXY protocol).
        pub proxy_protocol: Option<Structure> = "proxyProtocol",
    }

    /// Statistics that are there besides.
    #[derive(Clone, Debug, PartialEq)]
    pub struct StatsMatcher {
        /// Those that begin so.
        pub inclusion_prefixes: Vec<String> = "inclusionPrefixes",
        /// Those that end so.
        pub inclusion_suffixes: Vec<String> = "inclusionSuffixes",
        /// Those that match.
        pub inclusion_regexps: Vec<String> = "inclusionRegexps",
    }

    /// Where keys are.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PrivateKeyProvider {
        /// With a processor's help.
        pub cryptomb: Unused = "cryptomb",
        /// With a device's help.
        pub qat: Unused = "qat",
    }
}

plugin_config::keyword! {
    /// How connections get to a proxy.
    pub enum InterceptionMode {
        /// By iptables REDIRECT.
        Redirect = "REDIRECT",
        /// By iptables TPROXY.
        Tproxy = "TPROXY",
        /// They are made to it.
        None = "NONE",
    }

    /// What a trace is called after.
    pub enum TracingServiceName {
        /// The label `app`, and the namespace.
        AppLabelAndNamespace = "APP_LABEL_AND_NAMESPACE",
        /// The workload.
        CanonicalNameOnly = "CANONICAL_NAME_ONLY",
        /// The workload, and the namespace.
        CanonicalNameAndNamespace = "CANONICAL_NAME_AND_NAMESPACE",
    }

    /// What becomes of `x-forwarded-client-cert`.
    pub enum ForwardClientCert {
        /// The default.
        Undefined = "UNDEFINED",
        /// It is taken out.
        Sanitize = "SANITIZE",
        /// It goes on, over mTLS.
        ForwardOnly = "FORWARD_ONLY",
        /// The client is added, over mTLS.
        AppendForward = "APPEND_FORWARD",
        /// The client takes its place, over mTLS.
        SanitizeSet = "SANITIZE_SET",
        /// It goes on.
        AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY",
    }
}
