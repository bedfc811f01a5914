//! ServiceEntry: services that are not Kubernetes' own.

mod validate;

use crate::resource::Kind;
use crate::scalar::{Host, IpBlock, Port};
use crate::{ExportTo, Metadata, WorkloadEntry, WorkloadSelector};
use plugin_config::At;

plugin_config::object! {
    /// A service of the registry.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ServiceEntry {
        /// Its names; one with a wildcard stands for every name it covers.
        pub hosts: Vec<Host> = "hosts",
        /// Its addresses; a block stands for every address in it.
        pub addresses: Vec<IpBlock> = "addresses",
        /// Its ports.
        pub ports: Vec<ServiceEntryPort> = "ports",
        /// Whether it is part of the mesh.
        pub location: Location = "location" or Location::MeshExternal,
        /// How its endpoints are found.
        pub resolution: Resolution = "resolution" or Resolution::None,
        /// Its endpoints; exclusive with `workloadSelector`.
        pub endpoints: Vec<WorkloadEntry> = "endpoints",
        /// Its endpoints are the WorkloadEntries and pods of its namespace with these labels.
        pub workload_selector: Option<WorkloadSelector> = "workloadSelector",
        /// Namespaces that see it; the mesh's default when absent.
        pub export_to: ExportTo = "exportTo",
        /// Names of which the server's certificate must have one.
        pub subject_alt_names: Vec<String> = "subjectAltNames",
    }

    /// A port of a service.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ServiceEntryPort {
        /// Its number.
        pub number: Port = "number",
        /// What it carries, in any case (`HTTP`, `HTTPS`, `GRPC`, `TLS`, `TCP` …); found out from what is sent when absent.
        pub protocol: String = "protocol" or String::new(),
        /// Its name.
        pub name: String = "name",
        /// The endpoints' port; `number` when absent.
        pub target_port: Option<Port> = "targetPort",
    }
}

plugin_config::keyword! {
    /// Whether a service is part of the mesh.
    pub enum Location {
        /// It is not.
        MeshExternal = "MESH_EXTERNAL",
        /// It is.
        MeshInternal = "MESH_INTERNAL",
    }

    /// How the endpoints of a service are found.
    pub enum Resolution {
        /// The client has found one: connections go on to the address they were made to.
        None = "NONE",
        /// They are listed.
        Static = "STATIC",
        /// By DNS, each address an endpoint.
        Dns = "DNS",
        /// By DNS, the first address for new connections.
        DnsRoundRobin = "DNS_ROUND_ROBIN",
        /// By DNS, of the name that a request or a connection is for.
        DynamicDns = "DYNAMIC_DNS",
    }
}

impl Kind for ServiceEntry {
    const KIND: &'static str = "ServiceEntry";
    const GROUP: &'static str = "networking.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1", "v1alpha3"];

    fn validate(&self, metadata: &Metadata, at: &mut At) {
        validate::check(self, metadata, at);
    }

    fn warn(&self, _: &Metadata, at: &mut At) {
        validate::warn(self, at);
    }
}
