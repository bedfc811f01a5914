//! PeerAuthentication: whether connections must be secured by the mesh's certificates.

use crate::resource::Kind;
use crate::scalar::Port;
use crate::{LabelSelector, Metadata};
use plugin_config::{At, FromNode, ListMap, Node, Quoted, ReadNode};
use std::collections::BTreeMap;

plugin_config::object! {
    /// Whether connections must be secured by the mesh's certificates.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PeerAuthentication {
        /// The workloads it is for; all of its namespace when absent, and all of the mesh in the root namespace.
        pub selector: Option<LabelSelector> = "selector",
        /// What holds on every port; inherited when absent.
        pub mtls: Option<MutualTls> = "mtls",
        /// What holds on some ports instead: those of the workload, not of its services.
        pub port_level_mtls: PortLevelMtls = "portLevelMtls",
    }

    /// Whether connections must be secured.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct MutualTls {
        /// Whether.
        pub mode: MutualTlsMode = "mode" or MutualTlsMode::Unset,
    }
}

plugin_config::keyword! {
    /// Whether connections must be secured.
    pub enum MutualTlsMode {
        /// As what is less specific has it; PERMISSIVE when nothing has.
        Unset = "UNSET",
        /// They must not be.
        Disable = "DISABLE",
        /// They may be.
        Permissive = "PERMISSIVE",
        /// They must be.
        Strict = "STRICT",
    }
}

/// What holds on some ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortLevelMtls(pub BTreeMap<Port, MutualTls>);

impl ReadNode for PortLevelMtls {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let mut read = ListMap::<MutualTls>::default();
        read.read_node(node, at);
        for (key, value) in read.0 {
            let port = key.parse().ok().and_then(Port::new).filter(|port| port.to_string() == key);
            match port {
                Some(port) => {
                    self.0.insert(port, value);
                }
                None => at.key(&key, |at| at.refuse(Quoted(&key), "expected a port from 1 to 65535")),
            }
        }
    }
}

impl FromNode for PortLevelMtls {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        self.0.is_empty()
    }
}

impl serde::Serialize for PortLevelMtls {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

impl Kind for PeerAuthentication {
    const KIND: &'static str = "PeerAuthentication";
    const GROUP: &'static str = "security.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];

    fn validate(&self, _: &Metadata, at: &mut At) {
        let selects = self.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
        if !self.port_level_mtls.0.is_empty() && !selects && !at.is_unread("selector") {
            let reason = "needs a selector: ports are those of some workloads";
            at.field("portLevelMtls", |at| at.refuse("", reason));
        }
    }
}
