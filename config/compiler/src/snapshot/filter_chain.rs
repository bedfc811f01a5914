//! Filter chains: what is done with a connection.

use crate::snapshot::{DownstreamTls, Duration, Plugin};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What is done with the connections that match.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FilterChain {
    /// Which connections.
    #[serde(default)]
    pub filter_chain_match: FilterChainMatch,
    /// TLS, ended here; without, bytes are taken as they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_socket: Option<DownstreamTls>,
    /// What is done.
    pub network_filter: NetworkFilter,
}

/// Which connections a chain takes; what is absent matches all. As in Envoy the fields are looked at in this order,
/// each time only the chains that say most about the connection are kept, and none is returned to: a chain for its port
/// hides those for any port, even if a later field then rules the first out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FilterChainMatch {
    /// The port that the connection was made to, before any redirection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// The server name that the client asks for: `reviews.example`, or `*.example` for all below, at any depth.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub server_names: Vec<String>,
    /// TLS or anything else, by the connection's first bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_protocol: Option<TransportProtocol>,
    /// Application protocols that the client offers (ALPN).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub application_protocols: Vec<String>,
    /// Where the connection comes from: `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_prefix_ranges: Vec<IpNet>,
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TransportProtocol {
    /// A TLS handshake. A chain without `transport_socket` passes it on as it is.
    Tls,
    /// Anything else.
    RawBuffer,
}

/// HTTP or bytes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NetworkFilter {
    /// HTTP/1.1 and HTTP/2, told apart by the connection preface.
    HttpConnectionManager(Box<HttpConnectionManager>),
    /// Bytes, forwarded as they come.
    TcpProxy(TcpProxy),
}

/// How HTTP connections are served.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpConnectionManager {
    /// In request order.
    #[serde(default)]
    pub plugins: Vec<Plugin>,
    /// Where requests go that have passed the plugins.
    pub destination: Destination,
    /// How paths are read before anything looks at them.
    #[serde(default)]
    pub path_normalization: PathNormalization,
    /// Whether the client is who is on the other end of the connection, and `x-forwarded-for` gets its address (as
    /// Envoy's field of the name). Absent: at gateways, not beside workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_remote_address: Option<bool>,
    /// Proxies in front of this one that are trusted to name the client in `x-forwarded-for`.
    #[serde(default)]
    pub trusted_hops: usize,
    /// Upgrades that are passed on, besides WebSocket none.
    #[serde(default = "default_upgrades")]
    pub upgrades: Vec<String>,
    /// Whether CONNECT is served: the tunnel goes where the plugins say.
    #[serde(default)]
    pub connect: bool,
    /// Bounds in time.
    #[serde(default)]
    pub timeouts: HttpTimeouts,
    /// Bounds in size.
    #[serde(default)]
    pub limits: HttpLimits,
    /// Where requests are logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

impl HttpConnectionManager {
    /// One that sends everything to a destination, the rest as it is when nothing is said.
    pub fn to(destination: Destination) -> Self {
        Self {
            plugins: Vec::new(),
            destination,
            path_normalization: PathNormalization::default(),
            use_remote_address: None,
            trusted_hops: 0,
            upgrades: default_upgrades(),
            connect: false,
            timeouts: HttpTimeouts::default(),
            limits: HttpLimits::default(),
            access_log: None,
        }
    }
}

fn default_upgrades() -> Vec<String> {
    vec!["websocket".into()]
}

/// Where requests go.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Destination {
    /// One cluster.
    Cluster(String),
    /// The cluster that a request header names, or `default` where the header is absent; without either 404.
    #[serde(rename_all = "camelCase")]
    ClusterHeader {
        /// The header: `x-outrigger-cluster`.
        name: String,
        /// The cluster for requests without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<String>,
    },
}

/// How paths are normalised (Istio's `meshConfig.pathNormalization`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PathNormalization {
    /// Not at all.
    None,
    /// RFC 3986: dot segments, unreserved characters; a backslash is a slash.
    #[default]
    Base,
    /// And runs of slashes are one.
    MergeSlashes,
    /// And `%2F` and `%5C` are slashes.
    DecodeAndMergeSlashes,
}

/// Bounds in time. Zero means none.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpTimeouts {
    /// From the first byte of a head to its last: 10 s (Envoy: none).
    pub head: Duration,
    /// Without a byte on a stream: 5 min, as Envoy.
    pub stream_idle: Duration,
    /// Without a stream on a connection: 1 h, as Envoy.
    pub connection_idle: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            stream_idle: Duration::from_secs(300),
            connection_idle: Duration::from_secs(3600),
        }
    }
}

/// Bounds in size.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpLimits {
    /// Bytes of a head or of trailers: 60 KiB, as Envoy. Beyond it 431.
    pub header_bytes: usize,
    /// Fields of a head or of trailers: 100, as Envoy. Beyond it 431.
    pub header_fields: usize,
    /// Bytes of a request target: 16 KiB. Beyond it 414.
    pub target: usize,
    /// Streams at a time on an HTTP/2 connection: 100.
    pub concurrent_streams: u32,
    /// Bytes of a body that is kept so that the request can be sent again: 1 MiB.
    pub retry_body: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header_bytes: 60 << 10,
            header_fields: 100,
            target: 16 << 10,
            concurrent_streams: 100,
            retry_body: 1 << 20,
        }
    }
}

/// Where and how requests are logged.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AccessLog {
    /// The file; standard output for `/dev/stdout`.
    pub path: PathBuf,
    /// A text in Envoy's notation; Istio's default text without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// An object whose values are such texts, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_format: Option<serde_json::Value>,
}

impl AccessLog {
    /// What Istio logs when no format is given.
    pub const ISTIO_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
    \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% \
    %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% \
    %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";
}

/// How bytes are forwarded.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TcpProxy {
    /// Where to.
    pub cluster: String,
    /// In the order of the connection.
    #[serde(default)]
    pub plugins: Vec<Plugin>,
    /// Without a byte either way: 1 h, as Envoy. Zero: none.
    #[serde(default = "default_tcp_idle")]
    pub idle_timeout: Duration,
    /// Where connections are logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

impl TcpProxy {
    /// One that sends everything to a cluster, the rest as it is when nothing is said.
    pub fn to(cluster: impl Into<String>) -> Self {
        Self { cluster: cluster.into(), plugins: Vec::new(), idle_timeout: default_tcp_idle(), access_log: None }
    }
}

fn default_tcp_idle() -> Duration {
    Duration::from_secs(3600)
}
