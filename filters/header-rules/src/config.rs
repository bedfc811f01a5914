//! Plugin configuration as delivered.

use filter_api::{HeaderOperationsConfig, HeadersConfig};
use http_match::HttpMatchRequest;
use plugin_config::{Duration, ListMap};

plugin_config::keyword! {
    /// What becomes of a request whose authority no virtual host has.
    pub enum UnknownAuthorityPolicy {
        /// 404 with an empty body, as a gateway answers.
        NotFound = "NOT_FOUND",
        /// It goes on without a route (Istio's ALLOW_ANY).
        Forward = "FORWARD",
        /// 502 with an empty body (Istio's REGISTRY_ONLY).
        Reject = "REJECT",
    }

    /// Where a redirect takes its port from, when it names none.
    pub enum DerivePort {
        /// None is written: the scheme's own.
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT",
        /// The port of the listener that took the request.
        FromRequestPort = "FROM_REQUEST_PORT",
    }

    /// What comes after a rule that matched.
    pub enum Then {
        /// The next rule.
        Continue = "CONTINUE",
        /// The virtual hosts: no other rule is tried.
        Stop = "STOP",
    }
}

plugin_config::object! {
    /// The filter's plugin configuration.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Config {
        /// Rules that act before routing, in order. They need no virtual hosts.
        pub rules: Vec<RuleConfig> = "rules",
        /// Route tables by authority.
        pub virtual_hosts: Vec<VirtualHostConfig> = "virtualHosts",
        /// What becomes of a request whose authority no virtual host has; 404 when absent. Without virtual hosts every
        /// request goes on.
        pub unknown_authority: Option<UnknownAuthorityConfig> = "unknownAuthority",
        /// The request header that carries a chosen cluster to the proxy's `cluster_header` route;
        /// `x-outrigger-cluster` when absent.
        pub cluster_header: Option<String> = "clusterHeader",
        /// Ports of listeners that clients know as their proxy: a request there is addressed to the port that its
        /// authority names, or to none. Everywhere else it is addressed to the port of the connection.
        pub explicit_ports: Vec<u16> = "explicitPorts",
        /// Whether headers by which a client could steer the proxy are removed first. When absent: if there are
        /// virtual hosts, or a rule that chooses a cluster.
        pub strip_control_headers: Option<bool> = "stripControlHeaders",
    }

    /// What becomes of requests to unknown authorities.
    #[derive(Clone, Debug, PartialEq)]
    pub struct UnknownAuthorityConfig {
        /// What to do.
        pub policy: UnknownAuthorityPolicy = "policy",
        /// With FORWARD: the cluster to send them to.
        pub cluster: Option<String> = "cluster",
    }

    /// Routes that share authorities.
    #[derive(Clone, Debug, PartialEq)]
    pub struct VirtualHostConfig {
        /// Its name, for messages.
        pub name: Option<String> = "name",
        /// `a.example.com`, `*.example.com`, `*`; on one port each belongs to one virtual host.
        pub domains: Vec<String> = "domains",
        /// The ports that requests are addressed to, 0 for those that name none; all when absent. A domain is looked for
        /// among those of the port first, and then among those of all.
        pub ports: Vec<u16> = "ports",
        /// Tried in order; the first that matches wins.
        pub routes: Vec<RouteConfig> = "routes",
    }

    /// One route (one entry of a VirtualService's `http`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct RouteConfig {
        /// What later filters know the route by: the property `outrigger.route`. Unique; without, none is set.
        pub id: Option<String> = "id",
        /// Alternatives; none matches every request.
        pub matches: Vec<HttpMatchRequest> = "match",
        /// Answers with another address.
        pub redirect: Option<RedirectConfig> = "redirect",
        /// Answers from here.
        pub direct_response: Option<DirectResponseConfig> = "directResponse",
        /// Changes path and authority of the forwarded request.
        pub rewrite: Option<RewriteConfig> = "rewrite",
        /// Changes headers of the forwarded request, and of every response of the route.
        pub headers: Option<HeadersConfig> = "headers",
        /// How long the whole response may take; when absent, what the proxy's route says.
        pub timeout: Option<Duration> = "timeout",
        /// Repetition of failed requests; when absent, what the proxy's route says.
        pub retries: Option<RetriesConfig> = "retries",
        /// The cluster to send the request to; when absent, nothing is said (weighted-shifting may).
        pub cluster: Option<String> = "cluster",
    }

    /// Answers with another address (Istio's `HTTPRedirect`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct RedirectConfig {
        /// Replaces the whole path; and the query, if it has one itself.
        pub uri: Option<String> = "uri",
        /// Replaces what the match spoke of; needs prefix matches.
        pub prefix_rewrite: Option<String> = "prefixRewrite",
        /// Replaces the authority.
        pub authority: Option<String> = "authority",
        /// `http` or `https`.
        pub scheme: Option<String> = "scheme",
        /// Replaces the port, 1 to 65535; the scheme's own is not written.
        pub port: Option<u16> = "port",
        /// Where the port comes from instead.
        pub derive_port: Option<DerivePort> = "derivePort",
        /// 301 (when absent), 302, 303, 307 or 308.
        pub redirect_code: Option<u16> = "redirectCode",
    }

    /// A response of the proxy's own (Istio's `HTTPDirectResponse`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct DirectResponseConfig {
        /// 200 to 599.
        pub status: u16 = "status",
        /// Its body; none when absent.
        pub body: Option<BodyConfig> = "body",
    }

    /// A body: exactly one of the two.
    #[derive(Clone, Debug, PartialEq)]
    pub struct BodyConfig {
        /// As text.
        pub string: Option<String> = "string",
        /// In base64.
        pub bytes: Option<String> = "bytes",
    }

    /// Changes path and authority (Istio's `HTTPRewrite`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct RewriteConfig {
        /// Replaces what the match spoke of: the prefix, or the whole path after exact and regex.
        pub uri: Option<String> = "uri",
        /// Replaces the authority.
        pub authority: Option<String> = "authority",
        /// Replaces every match within the path.
        pub uri_regex_rewrite: Option<RegexRewriteConfig> = "uriRegexRewrite",
    }

    /// Search and replace in the path (Istio's `RegexRewrite`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct RegexRewriteConfig {
        /// An RE2 expression.
        pub pattern: String = "match",
        /// Text with `\1` to `\9` for groups.
        pub rewrite: String = "rewrite",
    }

    /// Repetition of failed requests (Istio's `HTTPRetry`, as far as request headers can ask for it).
    #[derive(Clone, Debug, PartialEq)]
    pub struct RetriesConfig {
        /// How many times a request is repeated; 0 switches repetition off.
        pub attempts: u32 = "attempts" or 0,
        /// How long one attempt may take, in whole milliseconds.
        pub per_try_timeout: Option<Duration> = "perTryTimeout",
        /// Conditions and status codes, separated by commas; Istio's default list when absent.
        pub retry_on: Option<String> = "retryOn",
    }

    /// A rule: conditions and what to do.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RuleConfig {
        /// Its name, for messages.
        pub name: Option<String> = "name",
        /// Alternatives; none matches every request.
        pub matches: Vec<HttpMatchRequest> = "match",
        /// Changes to the request headers.
        pub request: Option<HeaderOperationsConfig> = "request",
        /// Changes to the headers of whatever response there will be.
        pub response: Option<HeaderOperationsConfig> = "response",
        /// Changes path and authority.
        pub rewrite: Option<RewriteConfig> = "rewrite",
        /// Answers with another address; ends rules and routing.
        pub redirect: Option<RedirectConfig> = "redirect",
        /// Answers from here; ends rules and routing.
        pub reply: Option<ReplyConfig> = "reply",
        /// The cluster to send the request to.
        pub cluster: Option<String> = "cluster",
        /// Properties to set: name to format string.
        pub tag: ListMap<String> = "tag",
        /// What comes afterwards; CONTINUE when absent.
        pub then: Option<Then> = "then",
    }

    /// A rule's response.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ReplyConfig {
        /// 200 to 599.
        pub status: u16 = "status",
        /// Its body; none when absent.
        pub body: Option<BodyConfig> = "body",
        /// Its headers: name to value.
        pub headers: ListMap<String> = "headers",
    }
}
