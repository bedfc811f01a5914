//! Extension providers: services that AuthorizationPolicies and Telemetries name.

use crate::scalar::{Millis, Optional, Port, Structure, Unused};
use plugin_config::ListMap;

plugin_config::object! {
    /// A service that other resources name: exactly one of its kinds.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ExtensionProvider {
        /// What they call it.
        pub name: String = "name",
        /// Decides about requests, over HTTP.
        pub envoy_ext_authz_http: Option<ExtAuthzHttp> = "envoyExtAuthzHttp",
        /// Decides about requests, over gRPC.
        pub envoy_ext_authz_grpc: Option<ExtAuthzGrpc> = "envoyExtAuthzGrpc",
        /// Takes traces by Zipkin's API.
        pub zipkin: Option<ServiceProvider> = "zipkin",
        /// Takes traces: deprecated.
        pub lightstep: Option<ServiceProvider> = "lightstep",
        /// Takes traces of Datadog's.
        pub datadog: Option<ServiceProvider> = "datadog",
        /// Takes traces, metrics and logs of Google's.
        pub stackdriver: Option<Stackdriver> = "stackdriver",
        /// Takes traces: deprecated.
        pub opencensus: Option<ServiceProvider> = "opencensus",
        /// Takes traces of Apache SkyWalking's.
        pub skywalking: Option<ServiceProvider> = "skywalking",
        /// Takes traces by OTLP.
        pub opentelemetry: Option<OpenTelemetryProvider> = "opentelemetry",
        /// Fetches metrics.
        pub prometheus: Option<Structure> = "prometheus",
        /// Logs to a file.
        pub envoy_file_access_log: Option<FileAccessLog> = "envoyFileAccessLog",
        /// Takes logs of HTTP.
        pub envoy_http_als: Option<AccessLogProvider> = "envoyHttpAls",
        /// Takes logs of TCP.
        pub envoy_tcp_als: Option<AccessLogProvider> = "envoyTcpAls",
        /// Takes logs by OTLP.
        pub envoy_otel_als: Option<AccessLogProvider> = "envoyOtelAls",
        /// Metrics of other kinds are not made.
        pub sds: Unused = "sds",
    }

    /// Decides about requests, over HTTP.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ExtAuthzHttp {
        /// `[namespace/]hostname`.
        pub service: String = "service",
        /// Its port.
        pub port: Port = "port",
        /// How long to wait for it; 600 s when absent.
        pub timeout: Option<Millis> = "timeout",
        /// Put before the path of the check request.
        pub path_prefix: Optional<String> = "pathPrefix",
        /// Whether requests pass when it cannot be asked or fails.
        pub fail_open: bool = "failOpen",
        /// Whether the route is chosen again once it has changed headers.
        pub clear_route_cache: bool = "clearRouteCache",
        /// The status that clients get when it cannot be asked or fails; 403 when absent.
        pub status_on_error: Optional<String> = "statusOnError",
        /// Old name of `includeRequestHeadersInCheck`, used when that is absent.
        pub include_headers_in_check: Vec<String> = "includeHeadersInCheck",
        /// Request headers sent to it besides Host, Method, Path, Content-Length and Authorization.
        pub include_request_headers_in_check: Vec<String> = "includeRequestHeadersInCheck",
        /// Headers added to the check request.
        pub include_additional_headers_in_check: ListMap<String> = "includeAdditionalHeadersInCheck",
        /// How much of a request's body is sent to it; nothing when absent.
        pub include_request_body_in_check: Option<RequestBody> = "includeRequestBodyInCheck",
        /// Headers of its answer that replace request headers when it allows.
        pub headers_to_upstream_on_allow: Vec<String> = "headersToUpstreamOnAllow",
        /// Headers of its answer that go to the client when it refuses; all when absent.
        pub headers_to_downstream_on_deny: Vec<String> = "headersToDownstreamOnDeny",
        /// Headers of its answer that go to the client when it allows.
        pub headers_to_downstream_on_allow: Vec<String> = "headersToDownstreamOnAllow",
    }

    /// Decides about requests, over gRPC.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ExtAuthzGrpc {
        /// `[namespace/]hostname`.
        pub service: String = "service",
        /// Its port.
        pub port: Port = "port",
        /// How long to wait for it; 600 s when absent.
        pub timeout: Option<Millis> = "timeout",
        /// Whether requests pass when it cannot be asked or fails.
        pub fail_open: bool = "failOpen",
        /// Whether the route is chosen again once it has changed headers.
        pub clear_route_cache: bool = "clearRouteCache",
        /// The status that clients get when it cannot be asked or fails; 403 when absent.
        pub status_on_error: Optional<String> = "statusOnError",
        /// How much of a request's body is sent to it; nothing when absent.
        pub include_request_body_in_check: Option<RequestBody> = "includeRequestBodyInCheck",
    }

    /// How much of a body is sent.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RequestBody {
        /// Bytes.
        pub max_request_bytes: Option<u32> = "maxRequestBytes",
        /// Whether a longer body is cut instead of refused.
        pub allow_partial_message: bool = "allowPartialMessage",
        /// Whether it is sent as bytes over gRPC.
        pub pack_as_bytes: bool = "packAsBytes",
    }

    /// Takes traces: only its name and place are of account.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ServiceProvider {
        /// `[namespace/]hostname`.
        pub service: String = "service",
        /// Its port.
        pub port: Port = "port",
        /// Longest path in a span.
        pub max_tag_length: Option<u32> = "maxTagLength",
        /// Whether ids have 64 bits: Zipkin.
        pub enable_64bit_trace_id: Option<bool> = "enable64bitTraceId",
        /// The path of its API: Zipkin.
        pub path: Optional<String> = "path",
        /// How long to wait for it: Zipkin.
        pub timeout: Option<Millis> = "timeout",
        /// Headers for it: Zipkin.
        pub headers: Vec<HttpHeader> = "headers",
        /// In which form contexts are handed on: Zipkin.
        pub trace_context_option: Optional<String> = "traceContextOption",
        /// The password: SkyWalking, Lightstep.
        pub access_token: Optional<String> = "accessToken",
        /// In which forms contexts are handed on: OpenCensus.
        pub context: Vec<String> = "context",
    }

    /// Takes traces, metrics and logs of Google's.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Stackdriver {
        /// Deprecated.
        pub debug: Unused = "debug",
        /// Deprecated.
        pub max_number_of_attributes: Unused = "maxNumberOfAttributes",
        /// Deprecated.
        pub max_number_of_annotations: Unused = "maxNumberOfAnnotations",
        /// Deprecated.
        pub max_number_of_message_events: Unused = "maxNumberOfMessageEvents",
        /// Longest path in a span.
        pub max_tag_length: Option<u32> = "maxTagLength",
        /// What is logged besides.
        pub logging: Option<StackdriverLogging> = "logging",
    }

    /// What is logged besides.
    #[derive(Clone, Debug, PartialEq)]
    pub struct StackdriverLogging {
        /// CEL expressions by label.
        pub labels: ListMap<String> = "labels",
    }

    /// Takes traces by OTLP.
    #[derive(Clone, Debug, PartialEq)]
    pub struct OpenTelemetryProvider {
        /// `[namespace/]hostname`.
        pub service: String = "service",
        /// Its port.
        pub port: Port = "port",
        /// Longest path in a span.
        pub max_tag_length: Option<u32> = "maxTagLength",
        /// Over HTTP, and how; over gRPC when absent.
        pub http: Option<HttpService> = "http",
        /// Over gRPC, and how.
        pub grpc: Option<Structure> = "grpc",
        /// What is found out about the proxy's surroundings.
        pub resource_detectors: Option<Structure> = "resourceDetectors",
        /// What decides which requests are traced.
        pub dynatrace_sampler: Option<Structure> = "dynatraceSampler",
        /// What a trace is called after.
        pub service_attribute_enrichment: Optional<String> = "serviceAttributeEnrichment",
    }

    /// A service's API over HTTP.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpService {
        /// Its path.
        pub path: String = "path",
        /// How long to wait for it; 3 s when absent.
        pub timeout: Option<Millis> = "timeout",
        /// Headers for it.
        pub headers: Vec<HttpHeader> = "headers",
    }

    /// A header of a request.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpHeader {
        /// Its name.
        pub name: String = "name",
        /// Its value.
        pub value: Optional<String> = "value",
        /// The variable that has its value.
        pub env_name: Optional<String> = "envName",
    }

    /// Logs to a file.
    #[derive(Clone, Debug, PartialEq)]
    pub struct FileAccessLog {
        /// The file; `/dev/stdout` when absent.
        pub path: Optional<String> = "path",
        /// How; Istio's own format when absent.
        pub log_format: Option<FileLogFormat> = "logFormat",
        /// Whether formats that have no value leave nothing.
        pub omit_empty_values: Option<bool> = "omitEmptyValues",
    }

    /// How a line is written: one of the two.
    #[derive(Clone, Debug, PartialEq)]
    pub struct FileLogFormat {
        /// As text, in Envoy's format.
        pub text: Optional<String> = "text",
        /// As JSON, values in Envoy's format.
        pub labels: Option<Structure> = "labels",
    }

    /// Takes logs.
    #[derive(Clone, Debug, PartialEq)]
    pub struct AccessLogProvider {
        /// `[namespace/]hostname`.
        pub service: String = "service",
        /// Its port.
        pub port: Port = "port",
        /// What the log is called.
        pub log_name: Optional<String> = "logName",
        /// How a line is written: OTLP.
        pub log_format: Option<LogFormat> = "logFormat",
        /// Filter state that is logged.
        pub filter_state_objects_to_log: Vec<String> = "filterStateObjectsToLog",
        /// Request headers that are logged.
        pub additional_request_headers_to_log: Vec<String> = "additionalRequestHeadersToLog",
        /// Response headers that are logged.
        pub additional_response_headers_to_log: Vec<String> = "additionalResponseHeadersToLog",
        /// Response trailers that are logged.
        pub additional_response_trailers_to_log: Vec<String> = "additionalResponseTrailersToLog",
    }

    /// How a line is written.
    #[derive(Clone, Debug, PartialEq)]
    pub struct LogFormat {
        /// Its text, in Envoy's format.
        pub text: Optional<String> = "text",
        /// Its attributes, values in Envoy's format.
        pub labels: Option<Structure> = "labels",
    }
}
