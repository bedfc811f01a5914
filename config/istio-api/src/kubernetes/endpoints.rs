//! EndpointSlice and Endpoints: where a service's pods are.

use crate::resource::{Kind, Shape};
use crate::scalar::{Optional, Port};

plugin_config::object! {
    /// Some endpoints of a service, whose name is the label `kubernetes.io/service-name`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct EndpointSlice {
        /// `IPv4`, `IPv6` or `FQDN`.
        pub address_type: String = "addressType",
        /// The endpoints.
        pub endpoints: Vec<SliceEndpoint> = "endpoints",
        /// The ports that each has.
        pub ports: Vec<EndpointPort> = "ports";
        others
    }

    /// An endpoint.
    #[derive(Clone, Debug, PartialEq)]
    pub struct SliceEndpoint {
        /// Its addresses, any of which will do.
        pub addresses: Vec<String> = "addresses",
        /// Whether it takes requests.
        pub conditions: EndpointConditions = "conditions" or EndpointConditions::default(),
        /// Its own name.
        pub hostname: Optional<String> = "hostname",
        /// Where it runs.
        pub node_name: Optional<String> = "nodeName",
        /// The zone it runs in.
        pub zone: Optional<String> = "zone",
        /// The pod.
        pub target_ref: Option<TargetRef> = "targetRef";
        others
    }

    /// Whether an endpoint takes requests.
    #[derive(Clone, Debug, PartialEq)]
    pub struct EndpointConditions {
        /// It does; so when absent.
        pub ready: Option<bool> = "ready",
        /// It does, though it may be ending.
        pub serving: Option<bool> = "serving",
        /// It is ending.
        pub terminating: Option<bool> = "terminating";
        others
    }

    /// A port of endpoints.
    #[derive(Clone, Debug, PartialEq)]
    pub struct EndpointPort {
        /// The service's name for it.
        pub name: Optional<String> = "name",
        /// Its number; every one when absent.
        pub port: Option<Port> = "port",
        /// `TCP` (when absent), `UDP` or `SCTP`.
        pub protocol: Optional<String> = "protocol",
        /// What it carries.
        pub app_protocol: Optional<String> = "appProtocol";
        others
    }

    /// The resource that an endpoint is.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TargetRef {
        /// `Pod`, or another kind.
        pub kind: Optional<String> = "kind",
        /// Its name.
        pub name: Optional<String> = "name",
        /// Its namespace.
        pub namespace: Optional<String> = "namespace";
        others
    }

    /// The endpoints of the service of the same name, in the old form.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Endpoints {
        /// The endpoints, by the ports that they have.
        pub subsets: Vec<EndpointSubset> = "subsets";
        others
    }

    /// Endpoints with the same ports.
    #[derive(Clone, Debug, PartialEq)]
    pub struct EndpointSubset {
        /// Those that take requests.
        pub addresses: Vec<EndpointAddress> = "addresses",
        /// Those that do not.
        pub not_ready_addresses: Vec<EndpointAddress> = "notReadyAddresses",
        /// The ports that each has.
        pub ports: Vec<EndpointPort> = "ports";
        others
    }

    /// Where an endpoint is.
    #[derive(Clone, Debug, PartialEq)]
    pub struct EndpointAddress {
        /// Its address.
        pub ip: String = "ip",
        /// Its own name.
        pub hostname: Optional<String> = "hostname",
        /// Where it runs.
        pub node_name: Optional<String> = "nodeName",
        /// The pod.
        pub target_ref: Option<TargetRef> = "targetRef";
        others
    }
}

impl Kind for EndpointSlice {
    const KIND: &'static str = "EndpointSlice";
    const GROUP: &'static str = "discovery.k8s.io";
    const VERSIONS: &'static [&'static str] = &["v1"];
    const SHAPE: Shape = Shape::Whole;
}

impl Kind for Endpoints {
    const KIND: &'static str = "Endpoints";
    const GROUP: &'static str = "";
    const VERSIONS: &'static [&'static str] = &["v1"];
    const SHAPE: Shape = Shape::Whole;
}
