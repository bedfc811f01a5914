//! Service: a name, addresses, ports, and the pods behind them.

use crate::resource::Kind;
use crate::scalar::{Labels, Optional, Port};
use crate::{ExportTo, Metadata};
use plugin_config::{At, FromNode, Node, ReadNode, read};
use std::net::IpAddr;

plugin_config::object! {
    /// A service.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Service {
        /// Its kind of address.
        pub kind: ServiceType = "type" or ServiceType::ClusterIp,
        /// Its ports.
        pub ports: Vec<ServicePort> = "ports",
        /// Labels of the pods behind it; when absent, others say what its endpoints are.
        pub selector: Labels = "selector",
        /// Its first address; `None` for a headless one.
        pub cluster_ip: Optional<String> = "clusterIP",
        /// Its addresses.
        pub cluster_ips: Vec<String> = "clusterIPs",
        /// The name that stands for it: `ExternalName`.
        pub external_name: Optional<String> = "externalName",
        /// Addresses outside that lead to it.
        pub external_ips: Vec<String> = "externalIPs",
        /// Whether pods count that are not ready.
        pub publish_not_ready_addresses: bool = "publishNotReadyAddresses",
        /// `PreferClose`, `PreferSameZone`, `PreferSameNode`: preference by locality.
        pub traffic_distribution: Optional<String> = "trafficDistribution",
        /// `Local`: endpoints of the client's own node alone.
        pub internal_traffic_policy: Optional<String> = "internalTrafficPolicy";
        others
    }

    /// A port of a service.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ServicePort {
        /// Its name, whose start says what it carries: `http-web`.
        pub name: Optional<String> = "name",
        /// Its number.
        pub port: Port = "port",
        /// `TCP` (when absent), `UDP` or `SCTP`.
        pub protocol: Optional<String> = "protocol",
        /// What it carries, before what its name says.
        pub app_protocol: Optional<String> = "appProtocol",
        /// The pods' port, by number or name; `port` when absent.
        pub target_port: Option<IntOrString> = "targetPort";
        others
    }
}

plugin_config::keyword! {
    /// A service's kind of address.
    pub enum ServiceType {
        /// In the Kubernetes cluster.
        ClusterIp = "ClusterIP",
        /// On every node too.
        NodePort = "NodePort",
        /// Outside too.
        LoadBalancer = "LoadBalancer",
        /// None: another name.
        ExternalName = "ExternalName",
    }
}

/// A port by its number or by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntOrString {
    /// By its number.
    Number(Port),
    /// By the name that the pod has for it.
    Name(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Number(Port::default())
    }
}

impl ReadNode for IntOrString {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        *self = match node {
            Node::String(_) => Self::Name(read(node, at)),
            _ => Self::Number(read(node, at)),
        };
    }
}

impl FromNode for IntOrString {}

impl serde::Serialize for IntOrString {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(port) => port.serialize(serializer),
            Self::Name(name) => name.serialize(serializer),
        }
    }
}

impl Service {
    /// Its addresses; none for a headless one and for an `ExternalName`.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let one = self.cluster_ip.iter().filter(|_| self.cluster_ips.is_empty());
        self.cluster_ips.iter().chain(one).filter_map(|text| text.parse().ok()).collect()
    }

    /// Whether clients are told the addresses of its pods.
    pub fn is_headless(&self) -> bool {
        self.cluster_ip.as_deref() == Some("None")
    }
}

/// Who sees a Service.
pub const EXPORT_TO: &str = "networking.istio.io/exportTo";

impl Kind for Service {
    const KIND: &'static str = "Service";
    const GROUP: &'static str = "";
    const VERSIONS: &'static [&'static str] = &["v1"];

    fn validate(&self, metadata: &Metadata, at: &mut At) {
        let ips = [("clusterIPs", self.cluster_ips.as_slice()), ("externalIPs", self.external_ips.as_slice())];
        for (field, ips) in ips {
            at.field(field, |at| {
                for (i, ip) in ips.iter().enumerate() {
                    at.index(i, |at| check_ip(ip, at));
                }
            });
        }
        if let Some(text) = metadata.annotation(EXPORT_TO)
            && let Err(faults) = ExportTo::of_annotation(text)
        {
            let reason = format!("the annotation {EXPORT_TO}: {faults}");
            at.refuse(plugin_config::Quoted(text), reason);
        }
        at.field("clusterIP", |at| self.cluster_ip.iter().for_each(|ip| check_ip(ip, at)));
    }
}

fn check_ip(text: &str, at: &mut At) {
    if text != "None" && text.parse::<IpAddr>().is_err() {
        at.refuse(plugin_config::Quoted(text), "expected an IP address, or None");
    }
}
