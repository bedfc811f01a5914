//! Balancing, pools, ejection, TLS.

use super::LoadBalancer;
use crate::PortSelector;
use crate::scalar::{Count, Decimal, ErrorCode, Millis, Optional, Port, WholePercent};
use plugin_config::Duration;

plugin_config::object! {
    /// What holds for calls of a service, or of one of its subsets.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TrafficPolicy {
        /// Choosing an endpoint.
        pub load_balancer: Option<LoadBalancer> = "loadBalancer",
        /// Limits of connections and requests.
        pub connection_pool: Option<ConnectionPool> = "connectionPool",
        /// Ejection of endpoints that fail.
        pub outlier_detection: Option<OutlierDetection> = "outlierDetection",
        /// How connections are secured; when absent, as the endpoint offers.
        pub tls: Option<ClientTls> = "tls",
        /// What holds for calls of one port, in place of all four above.
        pub port_level_settings: Vec<PortTrafficPolicy> = "portLevelSettings",
        /// Connections go through an HTTP proxy.
        pub tunnel: Option<Tunnel> = "tunnel",
        /// Connections start with the client's address.
        pub proxy_protocol: Option<ProxyProtocol> = "proxyProtocol",
        /// Retries as a share of requests.
        pub retry_budget: Option<RetryBudget> = "retryBudget",
    }

    /// What holds for calls of one port.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PortTrafficPolicy {
        /// The service's port.
        pub port: Option<PortSelector> = "port",
        /// Choosing an endpoint.
        pub load_balancer: Option<LoadBalancer> = "loadBalancer",
        /// Limits of connections and requests.
        pub connection_pool: Option<ConnectionPool> = "connectionPool",
        /// Ejection of endpoints that fail.
        pub outlier_detection: Option<OutlierDetection> = "outlierDetection",
        /// How connections are secured.
        pub tls: Option<ClientTls> = "tls",
    }

    /// Limits of connections and requests. A number that is 0 says nothing.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ConnectionPool {
        /// Whatever the connection carries.
        pub tcp: Option<TcpPool> = "tcp",
        /// HTTP.
        pub http: Option<HttpPool> = "http",
    }

    /// Limits of connections.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TcpPool {
        /// How many at once.
        pub max_connections: Option<Count> = "maxConnections",
        /// How long connecting may take; 10 s when absent.
        pub connect_timeout: Option<Millis> = "connectTimeout",
        /// Whether the system looks if the peer is there.
        pub tcp_keepalive: Option<TcpKeepalive> = "tcpKeepalive",
        /// How old one may get.
        pub max_connection_duration: Option<Millis> = "maxConnectionDuration",
        /// How long nothing may be sent either way; 1 h when absent, for ever when 0.
        pub idle_timeout: Option<Duration> = "idleTimeout",
    }

    /// How the system looks if the peer is there; its own settings for what is absent.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TcpKeepalive {
        /// How often it asks before it gives up.
        pub probes: Option<u32> = "probes",
        /// After how much silence it asks.
        pub time: Option<Duration> = "time",
        /// How long it waits between.
        pub interval: Option<Duration> = "interval",
    }

    /// Limits of requests; of HTTP/1.1 and of HTTP/2.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpPool {
        /// How many may wait for a connection.
        pub http1_max_pending_requests: Option<Count> = "http1MaxPendingRequests",
        /// How many at once.
        pub http2_max_requests: Option<Count> = "http2MaxRequests",
        /// How many on one connection.
        pub max_requests_per_connection: Option<Count> = "maxRequestsPerConnection",
        /// How many retries at once.
        pub max_retries: Option<Count> = "maxRetries",
        /// How long a connection may be without a request; 1 h when absent.
        pub idle_timeout: Option<Millis> = "idleTimeout",
        /// Whether HTTP/1.1 is sent as HTTP/2.
        pub h2_upgrade_policy: H2UpgradePolicy = "h2UpgradePolicy" or H2UpgradePolicy::Default,
        /// Whether what came as HTTP/2 goes as HTTP/2, and HTTP/1.1 as HTTP/1.1.
        pub use_client_protocol: Option<bool> = "useClientProtocol",
        /// How many streams at once on one HTTP/2 connection.
        pub max_concurrent_streams: Option<Count> = "maxConcurrentStreams",
        /// Whether an HTTP/2 peer is asked if it is there.
        pub http2_keep_alive: Option<Http2KeepAlive> = "http2KeepAlive",
    }

    /// How an HTTP/2 peer is asked if it is there.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Http2KeepAlive {
        /// How often.
        pub interval: Option<Millis> = "interval",
        /// How long it may take to answer.
        pub timeout: Option<Millis> = "timeout",
    }

    /// Ejection of endpoints that fail.
    #[derive(Clone, Debug, PartialEq)]
    pub struct OutlierDetection {
        /// Deprecated, and not applied.
        pub consecutive_errors: Option<Count> = "consecutiveErrors",
        /// Whether failures to connect are counted apart from errors of the endpoint.
        pub split_external_local_origin_errors: Option<bool> = "splitExternalLocalOriginErrors",
        /// How many failures to connect eject, one after the other; 5 when absent.
        pub consecutive_local_origin_failures: Option<u32> = "consecutiveLocalOriginFailures",
        /// How many of 502, 503 and 504 eject, one after the other; when absent or 0, none do.
        pub consecutive_gateway_errors: Option<u32> = "consecutiveGatewayErrors",
        /// How many of 5xx eject, one after the other; 5 when absent, none do when 0.
        pub consecutive_5xx_errors: Option<u32> = "consecutive5xxErrors",
        /// Statuses that count as errors, in place of 5xx.
        pub outlier_detection_http_error_codes: Vec<ErrorCode> = "outlierDetectionHttpErrorCodes",
        /// How often endpoints are let back; 10 s when absent.
        pub interval: Option<Millis> = "interval",
        /// How long an endpoint is out the first time; 30 s when absent.
        pub base_ejection_time: Option<Millis> = "baseEjectionTime",
        /// The largest share of endpoints that may be out; 10 when absent.
        pub max_ejection_percent: Option<WholePercent> = "maxEjectionPercent",
        /// With a smaller share of healthy endpoints, ejections do not count.
        pub min_health_percent: Option<WholePercent> = "minHealthPercent",
    }

    /// How connections are secured (Istio's `ClientTLSSettings`).
    #[derive(Clone, Debug, PartialEq)]
    pub struct ClientTls {
        /// How.
        pub mode: TlsMode = "mode" or TlsMode::Disable,
        /// File of the client's certificate: MUTUAL.
        pub client_certificate: Optional<String> = "clientCertificate",
        /// File of its key: MUTUAL.
        pub private_key: Optional<String> = "privateKey",
        /// File of the authorities that vouch for the server; the system's when absent.
        pub ca_certificates: Optional<String> = "caCertificates",
        /// The Secret that has all these; exclusive with files.
        pub credential_name: Optional<String> = "credentialName",
        /// Names of which the server's certificate must have one.
        pub subject_alt_names: Vec<String> = "subjectAltNames",
        /// The server name that is asked for.
        pub sni: Optional<String> = "sni",
        /// Whether the server may be anybody.
        pub insecure_skip_verify: Option<bool> = "insecureSkipVerify",
        /// File of certificates that were revoked.
        pub ca_crl: Optional<String> = "caCrl",
    }

    /// Connections go through an HTTP proxy.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Tunnel {
        /// How the proxy is asked.
        pub protocol: TunnelProtocol = "protocol" or TunnelProtocol::Connect,
        /// Where the proxy is to connect to.
        pub target_host: String = "targetHost",
        /// On which port.
        pub target_port: Port = "targetPort",
    }

    /// Connections start with the client's address.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ProxyProtocol {
        /// In which form.
        pub version: ProxyProtocolVersion = "version" or ProxyProtocolVersion::V1,
    }

    /// Retries as a share of requests, in place of `maxRetries`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RetryBudget {
        /// The share in percent, 0 to 100; 20 when absent.
        pub percent: Option<Decimal> = "percent",
        /// How many are always allowed; 3 when absent.
        pub min_retry_concurrency: Option<u32> = "minRetryConcurrency",
        /// Over how long requests are counted; those in flight alone when absent.
        pub budget_interval: Option<Duration> = "budgetInterval",
    }
}

plugin_config::keyword! {
    /// Whether HTTP/1.1 is sent as HTTP/2.
    pub enum H2UpgradePolicy {
        /// As the mesh has it.
        Default = "DEFAULT",
        /// No.
        DoNotUpgrade = "DO_NOT_UPGRADE",
        /// Yes.
        Upgrade = "UPGRADE",
    }

    /// How connections are secured.
    pub enum TlsMode {
        /// Not at all.
        Disable = "DISABLE",
        /// The server shows a certificate.
        Simple = "SIMPLE",
        /// Both do.
        Mutual = "MUTUAL",
        /// Both do, those of the mesh.
        IstioMutual = "ISTIO_MUTUAL",
    }

    /// How an HTTP proxy is asked.
    pub enum TunnelProtocol {
        /// With CONNECT.
        Connect = "CONNECT",
        /// With POST.
        Post = "POST",
    }

    /// The form of the PROXY protocol.
    pub enum ProxyProtocolVersion {
        /// Text.
        V1 = "V1",
        /// Binary.
        V2 = "V2",
    }
}
