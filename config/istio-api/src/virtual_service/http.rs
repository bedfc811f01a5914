//! Routes of HTTP.

use super::Destination;
use crate::scalar::{Count, DnsLabel, DnsName, HeaderName, Labels, Millis, Optional, Port, Status, WholePercent};
use http_match::StringMatch;
use plugin_config::{At, Duration, Field, FromNode, ListMap, Node, Object, Percent, ReadNode, read_object};

plugin_config::object! {
    /// One route: what it matches, and one of route, redirect, direct response or delegate.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpRoute {
        /// Its name, for logs.
        pub name: Optional<String> = "name",
        /// Alternatives; without one, every request.
        pub matches: Vec<HttpMatchRequest> = "match",
        /// Where requests go, by weight.
        pub route: Vec<HttpRouteDestination> = "route",
        /// Answers with another address.
        pub redirect: Option<Redirect> = "redirect",
        /// Answers from the proxy.
        pub direct_response: Option<DirectResponse> = "directResponse",
        /// The VirtualService that has the routes.
        pub delegate: Option<Delegate> = "delegate",
        /// Changes path and authority.
        pub rewrite: Option<Rewrite> = "rewrite",
        /// How long the whole response may take; without end when absent.
        pub timeout: Option<Millis> = "timeout",
        /// Repetition of failed requests; the mesh's default when absent.
        pub retries: Option<Retries> = "retries",
        /// Made failures.
        pub fault: Option<Fault> = "fault",
        /// Where copies go; exclusive with `mirrors`.
        pub mirror: Option<Destination> = "mirror",
        /// Where copies go.
        pub mirrors: Vec<MirrorPolicy> = "mirrors",
        /// The deprecated share of requests that `mirror` gets.
        pub mirror_percent: Option<WholePercent> = "mirrorPercent",
        /// An older spelling of `mirrorPercent`, which Istio's schema still has.
        pub mirror_percent_snake: Option<WholePercent> = "mirror_percent",
        /// The share of requests that `mirror` gets; all when absent.
        pub mirror_percentage: Option<Percent> = "mirrorPercentage",
        /// What browsers are told about other origins.
        pub cors_policy: Option<CorsPolicy> = "corsPolicy",
        /// Changes headers, whatever the destination.
        pub headers: Option<Headers> = "headers",
    }

    /// One destination.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpRouteDestination {
        /// Where.
        pub destination: Destination = "destination",
        /// Its share of the sum of all weights; of no account when it is alone.
        pub weight: Option<Count> = "weight",
        /// Changes headers of what goes there, and comes from there.
        pub headers: Option<Headers> = "headers",
    }

    /// Answers with another address (Istio's `HTTPRedirect`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct Redirect {
        /// Replaces the path, and the query when it has one itself.
        pub uri: Optional<String> = "uri",
        /// Replaces the prefix that matched.
        pub prefix_rewrite: Optional<String> = "prefixRewrite",
        /// Replaces the authority.
        pub authority: Optional<String> = "authority",
        /// Replaces the port; exclusive with `derivePort`.
        pub port: Option<Port> = "port",
        /// Where the port comes from instead.
        pub derive_port: Option<DerivePort> = "derivePort",
        /// `http` or `https`.
        pub scheme: Optional<String> = "scheme",
        /// 301 (when absent), 302, 303, 307 or 308.
        pub redirect_code: Option<u16> = "redirectCode",
    }

    /// Answers from the proxy (Istio's `HTTPDirectResponse`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct DirectResponse {
        /// The status.
        pub status: Status = "status",
        /// The body; none when absent.
        pub body: Option<HttpBody> = "body",
    }

    /// A body: one of the two.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpBody {
        /// As text.
        pub string: Option<String> = "string",
        /// In base64.
        pub bytes: Option<String> = "bytes",
    }

    /// Names the VirtualService that has the routes.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Delegate {
        /// Its name.
        pub name: DnsName = "name",
        /// Its namespace; that of this VirtualService when absent.
        pub namespace: Optional<DnsLabel> = "namespace",
    }

    /// Changes path and authority (Istio's `HTTPRewrite`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct Rewrite {
        /// Replaces the path, or of it the prefix that matched.
        pub uri: Optional<String> = "uri",
        /// Replaces the authority.
        pub authority: Optional<String> = "authority",
        /// Replaces every match within the path.
        pub uri_regex_rewrite: Option<RegexRewrite> = "uriRegexRewrite",
    }

    /// Search and replace.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RegexRewrite {
        /// An RE2 expression.
        pub pattern: String = "match",
        /// What stands for each match: text with `\1` to `\9` for groups.
        pub rewrite: String = "rewrite",
    }

    /// Repetition of failed requests (Istio's `HTTPRetry`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct Retries {
        /// How often a request is repeated at most; 0: never.
        pub attempts: Count = "attempts" or Count::default(),
        /// How long one attempt may take; as long as the route when absent.
        pub per_try_timeout: Option<Millis> = "perTryTimeout",
        /// Conditions and status codes, separated by commas; the default list when absent.
        pub retry_on: Optional<String> = "retryOn",
        /// Whether to try other localities.
        pub retry_remote_localities: Option<bool> = "retryRemoteLocalities",
        /// Whether not to try the same endpoint again; so when absent.
        pub retry_ignore_previous_hosts: Option<bool> = "retryIgnorePreviousHosts",
        /// The base of the exponential time between attempts; 25 ms when absent.
        pub backoff: Option<Millis> = "backoff",
    }

    /// Made failures (Istio's `HTTPFaultInjection`): first the delay, then the abort, drawn independently.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Fault {
        /// Holds requests.
        pub delay: Option<Delay> = "delay",
        /// Answers requests.
        pub abort: Option<Abort> = "abort",
    }

    /// Holds requests.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Delay {
        /// How long.
        pub fixed_delay: Option<Millis> = "fixedDelay",
        /// Not implemented by Istio's proxies: refused.
        pub exponential_delay: Option<Duration> = "exponentialDelay",
        /// The share of requests; with no `percent` either, none.
        pub percentage: Option<Percent> = "percentage",
        /// The deprecated share, read when `percentage` is absent.
        pub percent: Option<WholePercent> = "percent",
    }

    /// Answers requests: one of the two statuses.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Abort {
        /// As HTTP has it.
        pub http_status: Option<Status> = "httpStatus",
        /// As gRPC names it: `UNAVAILABLE`.
        pub grpc_status: Optional<String> = "grpcStatus",
        /// Not implemented by Istio's proxies: refused.
        pub http2_error: Optional<String> = "http2Error",
        /// The share of requests; none when absent.
        pub percentage: Option<Percent> = "percentage",
    }

    /// Where copies go (Istio's `HTTPMirrorPolicy`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct MirrorPolicy {
        /// Where.
        pub destination: Destination = "destination",
        /// The share of requests; all when absent.
        pub percentage: Option<Percent> = "percentage",
    }

    /// What browsers are told about other origins.
    #[derive(Clone, Debug, PartialEq)]
    pub struct CorsPolicy {
        /// The deprecated list of exact origins, read when `allowOrigins` is empty.
        pub allow_origin: Vec<String> = "allowOrigin",
        /// Origins that may read responses.
        pub allow_origins: Vec<StringMatch> = "allowOrigins",
        /// Methods that a preflight is told.
        pub allow_methods: Vec<String> = "allowMethods",
        /// Headers that a preflight is told.
        pub allow_headers: Vec<HeaderName> = "allowHeaders",
        /// Response headers that a page may read.
        pub expose_headers: Vec<HeaderName> = "exposeHeaders",
        /// How long a preflight may be remembered.
        pub max_age: Option<Duration> = "maxAge",
        /// Whether cookies may be sent.
        pub allow_credentials: Option<bool> = "allowCredentials",
        /// What happens to a preflight of another origin.
        pub unmatched_preflights: UnmatchedPreflights = "unmatchedPreflights" or UnmatchedPreflights::Unspecified,
    }

    /// Changes headers.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Headers {
        /// Of the request.
        pub request: Option<HeaderOperations> = "request",
        /// Of the response.
        pub response: Option<HeaderOperations> = "response",
    }

    /// What is done to headers: first remove, then set, then add.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HeaderOperations {
        /// Values in place of those that are there.
        pub set: ListMap<String> = "set",
        /// Values beside those that are there.
        pub add: ListMap<String> = "add",
        /// Headers to take away.
        pub remove: Vec<String> = "remove",
    }
}

plugin_config::keyword! {
    /// Where a redirect takes its port from, when it names none.
    pub enum DerivePort {
        /// None is written: the scheme's own.
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT",
        /// The port that was asked.
        FromRequestPort = "FROM_REQUEST_PORT",
    }

    /// What happens to a preflight whose origin is not allowed.
    pub enum UnmatchedPreflights {
        /// As `FORWARD`.
        Unspecified = "UNSPECIFIED",
        /// It goes to the upstream like any request.
        Forward = "FORWARD",
        /// It is answered without `access-control-allow-origin`.
        Ignore = "IGNORE",
    }
}

/// One match clause: all its conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct HttpMatchRequest {
    /// What is decided per request.
    #[serde(flatten)]
    pub request: http_match::HttpMatchRequest,
    /// Labels of the workload that sends; of no account with `gateways`.
    #[serde(rename = "sourceLabels", skip_serializing_if = "Labels::is_absent")]
    pub source_labels: Labels,
    /// Namespace of the workload that sends; of no account with `gateways`.
    #[serde(rename = "sourceNamespace", skip_serializing_if = "Optional::is_absent")]
    pub source_namespace: Optional<DnsLabel>,
    /// Of the VirtualService's gateways those that the clause is for; all when absent.
    #[serde(rename = "gateways", skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// A prefix for statistics of the clause: not used here.
    #[serde(rename = "statPrefix", skip_serializing_if = "Optional::is_absent")]
    pub stat_prefix: Optional<String>,
}

impl Object for HttpMatchRequest {
    fn fields(&mut self) -> Vec<Field<'_>> {
        let mut fields = self.request.fields();
        fields.extend([
            Field::new("sourceLabels", &mut self.source_labels),
            Field::new("sourceNamespace", &mut self.source_namespace),
            Field::new("gateways", &mut self.gateways),
            Field::new("statPrefix", &mut self.stat_prefix),
        ]);
        fields
    }
}

impl ReadNode for HttpMatchRequest {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        read_object(self, node, at);
    }
}

impl FromNode for HttpMatchRequest {}
