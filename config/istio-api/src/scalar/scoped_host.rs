//! Hosts with the namespaces that they are looked for in: `shop/*.example.com`.

use super::{DnsLabel, Host};
use plugin_config::{At, FromNode, Node, ReadNode};
use std::fmt;

/// Namespaces that hosts are looked for in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NamespaceScope {
    /// `*`
    #[default]
    Any,
    /// `.`: that of the resource.
    Own,
    /// By its name.
    Named(DnsLabel),
}

impl NamespaceScope {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => Some(Self::Any),
            "." => Some(Self::Own),
            name => DnsLabel::new(name).map(Self::Named),
        }
    }
}

impl fmt::Display for NamespaceScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Own => f.write_str("."),
            Self::Named(name) => name.fmt(f),
        }
    }
}

macro_rules! scoped_host {
    ($name:ident, $reason:literal) => {
        impl ReadNode for $name {
            fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
                let Node::String(text) = node else { return at.refuse(node, "expected a string") };
                match Self::new(text) {
                    Some(read) => *self = read,
                    None => at.refuse(node, $reason),
                }
            }
        }

        impl FromNode for $name {}

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

/// A host of a Gateway's server: `[namespace/]host`, the host in full, an IP address, `*.suffix` or `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayHost {
    /// Where the VirtualServices are that may have it; anywhere when nothing is said.
    pub namespace: NamespaceScope,
    /// The host.
    pub host: Host,
}

impl GatewayHost {
    /// Of a text; `None` when it is none.
    pub fn new(text: &str) -> Option<Self> {
        let (namespace, host) = match text.split_once('/') {
            Some((namespace, host)) => (NamespaceScope::parse(namespace)?, host),
            None => (NamespaceScope::Any, text),
        };
        let host = Host::new(host)?;
        let is_full = host.is_ip() || host.as_str() == "*" || host.as_str().contains('.');
        let is_partial = host.is_wildcard() && host.as_str() != "*" && !host.as_str().starts_with("*.");
        (is_full && !is_partial).then_some(Self { namespace, host })
    }
}

impl fmt::Display for GatewayHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            NamespaceScope::Any => self.host.fmt(f),
            namespace => write!(f, "{namespace}/{}", self.host),
        }
    }
}

scoped_host!(GatewayHost, "expected [namespace/]host, the host in full, an IP address, *.suffix or *");

/// Hosts that a Sidecar's workloads may call: `namespace/host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EgressHost {
    /// `~/*`: none.
    #[default]
    Nothing,
    /// Those of a namespace that the host covers.
    Hosts {
        /// Whether they are taken out (`~shop/*`) of what other entries bring in.
        excluded: bool,
        /// The namespace.
        namespace: NamespaceScope,
        /// A host, `*.suffix` or `*`.
        host: Host,
    },
}

impl EgressHost {
    /// Of a text; `None` when it is none.
    pub fn new(text: &str) -> Option<Self> {
        let (namespace, host) = text.split_once('/')?;
        if namespace == "~" {
            return (host == "*").then_some(Self::Nothing);
        }
        let (excluded, namespace) = namespace.strip_prefix('~').map_or((false, namespace), |rest| (true, rest));
        let namespace = NamespaceScope::parse(namespace)?;
        Some(Self::Hosts { excluded, namespace, host: Host::new(host)? })
    }
}

impl fmt::Display for EgressHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("~/*"),
            Self::Hosts { excluded, namespace, host } => {
                write!(f, "{}{namespace}/{host}", if *excluded { "~" } else { "" })
            }
        }
    }
}

scoped_host!(
    EgressHost,
    "expected namespace/host: namespace by name, \"*\", \".\" or \"~\", and a host, *.suffix or *"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_with_their_namespaces() {
        for text in ["*", "*.example.com", "a.example.com", "./a.b", "shop/*", "10.0.0.1"] {
            assert_eq!(GatewayHost::new(text).unwrap().to_string(), text);
        }
        assert_eq!(GatewayHost::new("*/a.b").unwrap().to_string(), "a.b");
        for text in ["", "a", "*a.b", "shop/", "/a.b", "Shop/a.b", "a/b/c.d", "~/a.b"] {
            assert_eq!(GatewayHost::new(text), None, "{text}");
        }
        for text in ["*/*", "./*", "~/*", "shop/reviews", "~shop/*.b.c", "~*/*", "shop/*.b"] {
            assert_eq!(EgressHost::new(text).unwrap().to_string(), text);
        }
        for text in ["*", "reviews", "~/a", "shop/", "/a", "Shop/a"] {
            assert_eq!(EgressHost::new(text), None, "{text}");
        }
    }
}
