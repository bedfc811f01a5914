//! Addresses and blocks of them.

use ipnet::IpNet;
use plugin_config::{At, FromNode, Node, ReadNode};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// An IPv4 or IPv6 address, or a block of them in CIDR notation, whose bits behind the prefix do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpBlock(IpNet);

impl IpBlock {
    /// The addresses.
    pub fn net(&self) -> IpNet {
        self.0
    }
}

impl Default for IpBlock {
    fn default() -> Self {
        Self(IpNet::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}

/// The block of a text, `None` when it is none.
pub(crate) fn parse_block(text: &str) -> Option<IpNet> {
    match text.contains('/') {
        true => text.parse::<IpNet>().ok().map(|net| net.trunc()),
        false => text.parse::<IpAddr>().ok().map(IpNet::from),
    }
}

impl ReadNode for IpBlock {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let read = match node {
            Node::String(text) => parse_block(text),
            _ => None,
        };
        match read {
            Some(net) => self.0 = net,
            None => at.refuse(node, "expected an IP address, or a block such as \"10.0.0.0/8\""),
        }
    }
}

impl FromNode for IpBlock {}

impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl serde::Serialize for IpBlock {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
