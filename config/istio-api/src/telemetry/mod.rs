//! Telemetry: what is counted, logged and traced.

mod validate;

use crate::resource::Kind;
use crate::scalar::{Decimal, Millis, Optional};
use crate::{LabelSelector, Metadata, PolicyTargetReference};
use plugin_config::{At, ListMap};

plugin_config::object! {
    /// What is counted, logged and traced.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Telemetry {
        /// The workloads it is for; all of its namespace when nothing is said, and all of the mesh in the root namespace.
        pub selector: Option<LabelSelector> = "selector",
        /// The old form of one of `targetRefs`.
        pub target_ref: Option<PolicyTargetReference> = "targetRef",
        /// The gateways and services it is for.
        pub target_refs: Vec<PolicyTargetReference> = "targetRefs",
        /// What is traced.
        pub tracing: Vec<Tracing> = "tracing",
        /// What is counted.
        pub metrics: Vec<Metrics> = "metrics",
        /// What is logged.
        pub access_logging: Vec<AccessLogging> = "accessLogging",
    }

    /// What is traced.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Tracing {
        /// Of which side.
        pub r#match: Option<SideSelector> = "match",
        /// Who gets it.
        pub providers: Vec<ProviderRef> = "providers",
        /// The share of requests in percent, 0 to 100; inherited when absent.
        pub random_sampling_percentage: Option<Decimal> = "randomSamplingPercentage",
        /// Whether nothing is reported.
        pub disable_span_reporting: Option<bool> = "disableSpanReporting",
        /// Whether nothing is handed on.
        pub disable_context_propagation: Option<bool> = "disableContextPropagation",
        /// Tags besides.
        pub custom_tags: ListMap<CustomTag> = "customTags",
        /// Whether Istio's own tags are there; so when absent.
        pub enable_istio_tags: Option<bool> = "enableIstioTags",
        /// Whether the request id decides what is sampled; so when absent.
        pub use_request_id_for_trace_sampling: Option<bool> = "useRequestIdForTraceSampling",
    }

    /// Which side.
    #[derive(Clone, Debug, PartialEq)]
    pub struct SideSelector {
        /// Which.
        pub mode: TelemetryMode = "mode" or TelemetryMode::ClientAndServer,
    }

    /// Names a provider of the MeshConfig.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ProviderRef {
        /// Its name.
        pub name: String = "name",
    }

    /// A tag of a trace: one of the four.
    #[derive(Clone, Debug, PartialEq)]
    pub struct CustomTag {
        /// Always the same.
        pub literal: Option<TagText> = "literal",
        /// From the proxy's environment.
        pub environment: Option<TagSource> = "environment",
        /// From a request header.
        pub header: Option<TagSource> = "header",
        /// Written in Envoy's format.
        pub formatter: Option<TagText> = "formatter",
    }

    /// A text.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TagText {
        /// The text.
        pub value: String = "value",
    }

    /// A variable or a header.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TagSource {
        /// Its name.
        pub name: String = "name",
        /// What stands for it when it is not there; without, there is no tag.
        pub default_value: Optional<String> = "defaultValue",
    }

    /// What is counted.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Metrics {
        /// Who gets it.
        pub providers: Vec<ProviderRef> = "providers",
        /// What is different.
        pub overrides: Vec<MetricsOverride> = "overrides",
        /// How often TCP connections are counted; every 5 s when absent.
        pub reporting_interval: Option<Millis> = "reportingInterval",
    }

    /// What is different about a metric.
    #[derive(Clone, Debug, PartialEq)]
    pub struct MetricsOverride {
        /// Which metric; all when absent.
        pub r#match: Option<MetricSelector> = "match",
        /// Whether it is not counted.
        pub disabled: Option<bool> = "disabled",
        /// Its labels.
        pub tag_overrides: ListMap<TagOverride> = "tagOverrides",
    }

    /// Which metric: one of Istio's, or another by its name.
    #[derive(Clone, Debug, PartialEq)]
    pub struct MetricSelector {
        /// One of Istio's.
        pub metric: Option<IstioMetric> = "metric",
        /// Another.
        pub custom_metric: Optional<String> = "customMetric",
        /// Of which side.
        pub mode: TelemetryMode = "mode" or TelemetryMode::ClientAndServer,
    }

    /// What is different about a label.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TagOverride {
        /// What.
        pub operation: TagOperation = "operation" or TagOperation::Upsert,
        /// Its value, a CEL expression: UPSERT.
        pub value: Optional<String> = "value",
    }

    /// What is logged.
    #[derive(Clone, Debug, PartialEq)]
    pub struct AccessLogging {
        /// Of which side.
        pub r#match: Option<SideSelector> = "match",
        /// Who gets it.
        pub providers: Vec<ProviderRef> = "providers",
        /// Whether nothing is.
        pub disabled: Option<bool> = "disabled",
        /// Which requests; all when absent.
        pub filter: Option<LogFilter> = "filter",
    }

    /// Which requests are logged.
    #[derive(Clone, Debug, PartialEq)]
    pub struct LogFilter {
        /// A CEL expression.
        pub expression: Optional<String> = "expression",
    }
}

plugin_config::keyword! {
    /// Which side.
    pub enum TelemetryMode {
        /// Both.
        ClientAndServer = "CLIENT_AND_SERVER",
        /// The workload's calls.
        Client = "CLIENT",
        /// Calls of the workload.
        Server = "SERVER",
    }

    /// One of Istio's metrics.
    pub enum IstioMetric {
        /// All of them.
        All = "ALL_METRICS",
        /// `istio_requests_total`
        RequestCount = "REQUEST_COUNT",
        /// `istio_request_duration_milliseconds`
        RequestDuration = "REQUEST_DURATION",
        /// `istio_request_bytes`
        RequestSize = "REQUEST_SIZE",
        /// `istio_response_bytes`
        ResponseSize = "RESPONSE_SIZE",
        /// `istio_tcp_connections_opened_total`
        TcpOpenedConnections = "TCP_OPENED_CONNECTIONS",
        /// `istio_tcp_connections_closed_total`
        TcpClosedConnections = "TCP_CLOSED_CONNECTIONS",
        /// `istio_tcp_sent_bytes_total`
        TcpSentBytes = "TCP_SENT_BYTES",
        /// `istio_tcp_received_bytes_total`
        TcpReceivedBytes = "TCP_RECEIVED_BYTES",
        /// `istio_request_messages_total`
        GrpcRequestMessages = "GRPC_REQUEST_MESSAGES",
        /// `istio_response_messages_total`
        GrpcResponseMessages = "GRPC_RESPONSE_MESSAGES",
    }

    /// What is different about a label.
    pub enum TagOperation {
        /// It is there, with this value.
        Upsert = "UPSERT",
        /// It is not there.
        Remove = "REMOVE",
    }
}

impl Kind for Telemetry {
    const KIND: &'static str = "Telemetry";
    const GROUP: &'static str = "telemetry.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1alpha1"];

    fn validate(&self, _: &Metadata, at: &mut At) {
        validate::check(self, at);
    }
}
