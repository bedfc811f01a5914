//! Pod, and the templates of pods in Deployment and StatefulSet.

use crate::Annotations;
use crate::resource::{Kind, Shape};
use crate::scalar::{Labels, Optional, Port};
use std::net::IpAddr;

plugin_config::object! {
    /// A workload's instance.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Pod {
        /// What it is to be.
        pub spec: PodSpec = "spec" or PodSpec::default(),
        /// What it is.
        pub status: PodStatus = "status" or PodStatus::default();
        others
    }

    /// What a pod is to be.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PodSpec {
        /// The account it runs as; `default` when absent.
        pub service_account_name: Optional<String> = "serviceAccountName",
        /// Where it runs.
        pub node_name: Optional<String> = "nodeName",
        /// Its own name, under `subdomain`.
        pub hostname: Optional<String> = "hostname",
        /// The headless service that its own name is under.
        pub subdomain: Optional<String> = "subdomain",
        /// Whether it has its node's addresses.
        pub host_network: bool = "hostNetwork",
        /// What runs in it.
        pub containers: Vec<Container> = "containers",
        /// What runs in it before, or beside.
        pub init_containers: Vec<Container> = "initContainers";
        others
    }

    /// What runs in a pod.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Container {
        /// Its name.
        pub name: Optional<String> = "name",
        /// Its ports.
        pub ports: Vec<ContainerPort> = "ports";
        others
    }

    /// A port of a container.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ContainerPort {
        /// What services call it.
        pub name: Optional<String> = "name",
        /// Its number.
        pub container_port: Port = "containerPort",
        /// `TCP` (when absent), `UDP` or `SCTP`.
        pub protocol: Optional<String> = "protocol";
        others
    }

    /// What a pod is.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PodStatus {
        /// Its first address.
        pub pod_ip: Optional<String> = "podIP",
        /// Its addresses.
        pub pod_ips: Vec<PodIp> = "podIPs",
        /// `Running`, `Succeeded`, `Failed` …
        pub phase: Optional<String> = "phase",
        /// What holds of it: of account is `Ready`.
        pub conditions: Vec<PodCondition> = "conditions";
        others
    }

    /// An address of a pod.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PodIp {
        /// The address.
        pub ip: String = "ip";
        others
    }

    /// Something that holds of a pod, or not.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PodCondition {
        /// What.
        pub kind: String = "type",
        /// `True`, `False` or `Unknown`.
        pub status: String = "status";
        others
    }

    /// Pods of one kind, any of which may go.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Deployment {
        /// How many; 1 when absent.
        pub replicas: Option<u32> = "replicas",
        /// What they are made from.
        pub template: PodTemplate = "template";
        others
    }

    /// Pods of one kind, each with a name of its own.
    #[derive(Clone, Debug, PartialEq)]
    pub struct StatefulSet {
        /// How many; 1 when absent.
        pub replicas: Option<u32> = "replicas",
        /// The headless service that their names are under.
        pub service_name: Optional<String> = "serviceName",
        /// What they are made from.
        pub template: PodTemplate = "template";
        others
    }

    /// What pods are made from.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PodTemplate {
        /// Labels and annotations that they get.
        pub metadata: PodTemplateMetadata = "metadata" or PodTemplateMetadata::default(),
        /// What they are to be.
        pub spec: PodSpec = "spec" or PodSpec::default();
        others
    }

    /// Labels and annotations that pods get.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PodTemplateMetadata {
        /// Labels.
        pub labels: Labels = "labels",
        /// Annotations.
        pub annotations: Annotations = "annotations";
        others
    }
}

impl Pod {
    /// Its addresses; none before it runs.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let all = self.status.pod_ips.iter().map(|ip| ip.ip.as_str());
        let one = self.status.pod_ip.as_deref().filter(|_| self.status.pod_ips.is_empty());
        all.chain(one).filter_map(|text| text.parse().ok()).collect()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Whether it takes requests; so when nothing is said.
    pub fn is_ready(&self) -> bool {
        let unready = |condition: &PodCondition| condition.kind == "Ready" && condition.status != "True";
        !self.has_ended() && !self.status.conditions.iter().any(unready)
    }
}

impl Kind for Pod {
    const KIND: &'static str = "Pod";
    const GROUP: &'static str = "";
    const VERSIONS: &'static [&'static str] = &["v1"];
    const SHAPE: Shape = Shape::Whole;
}

impl Kind for Deployment {
    const KIND: &'static str = "Deployment";
    const GROUP: &'static str = "apps";
    const VERSIONS: &'static [&'static str] = &["v1"];
}

impl Kind for StatefulSet {
    const KIND: &'static str = "StatefulSet";
    const GROUP: &'static str = "apps";
    const VERSIONS: &'static [&'static str] = &["v1"];
}
