//! VirtualService: which requests go where, and what happens to them on the way.

mod http;
mod tcp;
mod validate;
mod validate_http;
mod warn_http;

pub use http::{
    Abort, CorsPolicy, Delay, Delegate, DerivePort, DirectResponse, Fault, HeaderOperations, Headers, HttpBody,
    HttpMatchRequest, HttpRoute, HttpRouteDestination, MirrorPolicy, Redirect, RegexRewrite, Retries, Rewrite,
    UnmatchedPreflights,
};
pub use tcp::{L4MatchAttributes, RouteDestination, TcpRoute, TlsMatchAttributes, TlsRoute};

pub use validate_http::CLAIMS;
pub(crate) use validate_http::check_retries;

use crate::resource::Kind;
use crate::scalar::{DnsLabel, Host, Optional, Port};
use crate::{ExportTo, Metadata};
use plugin_config::At;

plugin_config::object! {
    /// Routes of the requests to some hosts.
    #[derive(Clone, Debug, PartialEq)]
    pub struct VirtualService {
        /// The hosts; none when another VirtualService delegates to this one.
        pub hosts: Vec<Host> = "hosts",
        /// `[namespace/]name` of the Gateways it is for, and `mesh` for sidecars; those alone when absent.
        pub gateways: Vec<String> = "gateways",
        /// Routes of HTTP, tried in order.
        pub http: Vec<HttpRoute> = "http",
        /// Routes of TLS that is passed through, tried in order.
        pub tls: Vec<TlsRoute> = "tls",
        /// Routes of TCP, tried in order.
        pub tcp: Vec<TcpRoute> = "tcp",
        /// Namespaces that see it; the mesh's default when absent.
        pub export_to: ExportTo = "exportTo",
    }

    /// Where requests go: a service, or a part of one.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Destination {
        /// A host of the service registry. A name without a dot is one of the resource's own namespace.
        pub host: Host = "host",
        /// A subset that a DestinationRule of the host names.
        pub subset: Optional<DnsLabel> = "subset",
        /// The service's port; may be absent when it has one.
        pub port: Option<PortSelector> = "port",
    }

    /// A port by its number.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct PortSelector {
        /// Its number.
        pub number: Port = "number",
    }
}

impl Kind for VirtualService {
    const KIND: &'static str = "VirtualService";
    const GROUP: &'static str = "networking.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1", "v1alpha3"];

    fn validate(&self, metadata: &Metadata, at: &mut At) {
        validate::check(self, metadata, at);
    }

    fn warn(&self, _: &Metadata, at: &mut At) {
        validate::warn(self, at);
    }
}
