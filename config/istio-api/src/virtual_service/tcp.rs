//! Routes of TLS that is passed through, and of TCP.

use super::Destination;
use crate::scalar::{Count, DnsLabel, Host, IpBlock, Labels, Optional, Port};

plugin_config::object! {
    /// One route of TLS that is passed through.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TlsRoute {
        /// Alternatives.
        pub matches: Vec<TlsMatchAttributes> = "match",
        /// Where connections go, by weight.
        pub route: Vec<RouteDestination> = "route",
    }

    /// One match clause: all its conditions must hold.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TlsMatchAttributes {
        /// Server names that the client may ask for; each must be covered by a host of the VirtualService.
        pub sni_hosts: Vec<Host> = "sniHosts",
        /// Addresses that the client may have connected to.
        pub destination_subnets: Vec<IpBlock> = "destinationSubnets",
        /// The port it connected to.
        pub port: Option<Port> = "port",
        /// Labels of the workload that sends.
        pub source_labels: Labels = "sourceLabels",
        /// Of the VirtualService's gateways those that the clause is for; all when absent.
        pub gateways: Vec<String> = "gateways",
        /// Namespace of the workload that sends.
        pub source_namespace: Optional<DnsLabel> = "sourceNamespace",
    }

    /// One route of TCP.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TcpRoute {
        /// Alternatives; without one, every connection.
        pub matches: Vec<L4MatchAttributes> = "match",
        /// Where connections go, by weight.
        pub route: Vec<RouteDestination> = "route",
    }

    /// One match clause: all its conditions must hold.
    #[derive(Clone, Debug, PartialEq)]
    pub struct L4MatchAttributes {
        /// Addresses that the client may have connected to.
        pub destination_subnets: Vec<IpBlock> = "destinationSubnets",
        /// The port it connected to.
        pub port: Option<Port> = "port",
        /// Not implemented by Istio's proxies: refused.
        pub source_subnet: Optional<String> = "sourceSubnet",
        /// Labels of the workload that sends.
        pub source_labels: Labels = "sourceLabels",
        /// Of the VirtualService's gateways those that the clause is for; all when absent.
        pub gateways: Vec<String> = "gateways",
        /// Namespace of the workload that sends.
        pub source_namespace: Optional<DnsLabel> = "sourceNamespace",
    }

    /// One destination of connections.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RouteDestination {
        /// Where.
        pub destination: Destination = "destination",
        /// Its share of the sum of all weights; of no account when it is alone.
        pub weight: Option<Count> = "weight",
    }
}
