//! Sidecar: what a workload's proxy accepts, and which services it knows.

mod validate;

use crate::destination_rule::ConnectionPool;
use crate::gateway::ServerTls;
use crate::resource::Kind;
use crate::scalar::{EgressHost, Optional, Port};
use crate::virtual_service::Destination;
use crate::{Metadata, WorkloadSelector};
use plugin_config::At;

plugin_config::object! {
    /// What a workload's proxy accepts, and which services it knows.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Sidecar {
        /// The workloads it is for; all of its namespace when absent, and all of the mesh in the root namespace.
        pub workload_selector: Option<WorkloadSelector> = "workloadSelector",
        /// What is accepted; what the services say when absent.
        pub ingress: Vec<IngressListener> = "ingress",
        /// Which services are known; all when absent.
        pub egress: Vec<EgressListener> = "egress",
        /// Limits of what is accepted, on every port that says nothing itself.
        pub inbound_connection_pool: Option<ConnectionPool> = "inboundConnectionPool",
        /// What becomes of calls to unknown services.
        pub outbound_traffic_policy: Option<OutboundTrafficPolicy> = "outboundTrafficPolicy",
    }

    /// A port that is accepted.
    #[derive(Clone, Debug, PartialEq)]
    pub struct IngressListener {
        /// The port.
        pub port: SidecarPort = "port",
        /// The address it listens on; the workload's when absent.
        pub bind: Optional<String> = "bind",
        /// How connections get there.
        pub capture_mode: CaptureMode = "captureMode" or CaptureMode::Default,
        /// Where the application is: `127.0.0.1:port`, `0.0.0.0:port`, `[::1]:port`, `[::]:port` or `unix:///path`.
        pub default_endpoint: Optional<String> = "defaultEndpoint",
        /// How connections from outside the mesh are secured.
        pub tls: Option<ServerTls> = "tls",
        /// Limits.
        pub connection_pool: Option<ConnectionPool> = "connectionPool",
    }

    /// Services that are known.
    #[derive(Clone, Debug, PartialEq)]
    pub struct EgressListener {
        /// The port they are called on; every one when absent.
        pub port: Option<SidecarPort> = "port",
        /// The address it listens on.
        pub bind: Optional<String> = "bind",
        /// How connections get there.
        pub capture_mode: CaptureMode = "captureMode" or CaptureMode::Default,
        /// Which services.
        pub hosts: Vec<EgressHost> = "hosts",
    }

    /// A port of a listener.
    #[derive(Clone, Debug, PartialEq)]
    pub struct SidecarPort {
        /// Its number; 0 for a Unix socket.
        pub number: u16 = "number" or 0,
        /// What it carries, in any case.
        pub protocol: Optional<String> = "protocol",
        /// Its name.
        pub name: Optional<String> = "name",
        /// Deprecated, and of no account.
        pub target_port: Option<Port> = "targetPort",
    }

    /// What becomes of calls to unknown services.
    #[derive(Clone, Debug, PartialEq)]
    pub struct OutboundTrafficPolicy {
        /// Refused when nothing is said: `{}` is REGISTRY_ONLY.
        pub mode: OutboundMode = "mode" or OutboundMode::RegistryOnly,
        /// The proxy they go through: ALLOW_ANY.
        pub egress_proxy: Option<Destination> = "egressProxy",
    }
}

plugin_config::keyword! {
    /// How connections get to a listener.
    pub enum CaptureMode {
        /// As the workload's environment has it.
        Default = "DEFAULT",
        /// They are redirected.
        Iptables = "IPTABLES",
        /// They are made to it.
        None = "NONE",
    }

    /// What becomes of calls to unknown services.
    pub enum OutboundMode {
        /// They are refused.
        RegistryOnly = "REGISTRY_ONLY",
        /// They go on to the address they were made to.
        AllowAny = "ALLOW_ANY",
    }
}

impl Kind for Sidecar {
    const KIND: &'static str = "Sidecar";
    const GROUP: &'static str = "networking.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1", "v1alpha3"];

    fn validate(&self, metadata: &Metadata, at: &mut At) {
        validate::check(self, metadata, at);
    }
}
