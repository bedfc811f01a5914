//! What a ServiceEntry's fields say together.

use super::{Resolution, ServiceEntry};
use crate::Metadata;
use crate::protocol::Protocol;
use crate::workload_entry::Address;
use plugin_config::{At, Quoted};
use std::collections::HashSet;

/// Records every fault.
pub(super) fn check(entry: &ServiceEntry, metadata: &Metadata, at: &mut At) {
    entry.export_to.check(metadata, true, at);
    at.field("hosts", |at| check_hosts(entry, at));
    at.field("ports", |at| check_ports(entry, at));
    at.field("addresses", |at| {
        for (i, block) in entry.addresses.iter().enumerate() {
            let is_block = block.net().prefix_len() < block.net().max_prefix_len();
            if is_block && !matches!(entry.resolution, Resolution::None | Resolution::Static) {
                at.index(i, |at| at.refuse(block, "a block is only for resolution: NONE or STATIC"));
            }
        }
        if entry.resolution == Resolution::DynamicDns && !entry.addresses.is_empty() {
            at.refuse("", "not together with resolution: DYNAMIC_DNS");
        }
    });
    if entry.workload_selector.is_some() && !entry.endpoints.is_empty() {
        at.field("workloadSelector", |at| at.refuse("", "not together with endpoints"));
    }
    let known = !at.is_unread("ports") && !at.is_unread("resolution");
    if known {
        at.field("endpoints", |at| check_endpoints(entry, at));
    }
    let names = entry.ports.iter().filter(|port| port.protocol.is_empty() || is_tcp(&port.protocol)).count();
    if entry.hosts.len() > 1 && names > 0 && entry.resolution != Resolution::None && entry.addresses.is_empty() {
        let reason = "several hosts cannot share a TCP port: nothing tells their connections apart";
        at.field("hosts", |at| at.refuse(entry.hosts.len(), reason));
    }
}

fn is_tcp(protocol: &str) -> bool {
    Protocol::parse(protocol).is_some_and(|protocol| protocol == Protocol::Tcp)
}

fn check_hosts(entry: &ServiceEntry, at: &mut At) {
    if entry.hosts.is_empty() {
        at.refuse("nothing", "required field is missing");
    }
    for (i, host) in entry.hosts.iter().enumerate() {
        at.index(i, |at| {
            let refuse = |reason: &'static str, at: &mut At| at.refuse(Quoted(host.as_str()), reason);
            let by_name = matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
            if host.as_str() == "*" {
                refuse("expected a hostname, or one with a wildcard such as *.example.com", at);
            } else if host.is_wildcard() && by_name && entry.endpoints.is_empty() {
                refuse("a name with a wildcard cannot be looked up: name endpoints, or write DYNAMIC_DNS", at);
            } else if !host.is_wildcard() && entry.resolution == Resolution::DynamicDns {
                refuse("DYNAMIC_DNS is for names with a wildcard", at);
            }
        });
    }
}

fn check_ports(entry: &ServiceEntry, at: &mut At) {
    let (mut numbers, mut names) = (HashSet::new(), HashSet::new());
    for (i, port) in entry.ports.iter().enumerate() {
        at.index(i, |at| {
            if !numbers.insert(port.number) {
                at.field("number", |at| at.refuse(port.number, "another port has this number"));
            }
            if port.name.is_empty() || !names.insert(port.name.as_str()) {
                at.field("name", |at| at.refuse(Quoted(&port.name), "expected a name that no other port has"));
            }
            let protocol = Protocol::parse(&port.protocol);
            if protocol.is_none() && !port.protocol.is_empty() {
                at.field("protocol", |at| at.refuse(Quoted(&port.protocol), Protocol::EXPECTED));
            }
            let named = protocol.is_some_and(|protocol| protocol.names_its_host());
            if entry.resolution == Resolution::DynamicDns && !named {
                let reason = "DYNAMIC_DNS is for protocols that name their host: HTTP, HTTP2, GRPC, HTTPS and TLS";
                at.field("protocol", |at| at.refuse(Quoted(&port.protocol), reason));
            }
        });
    }
}

fn check_endpoints(entry: &ServiceEntry, at: &mut At) {
    if !entry.endpoints.is_empty() && matches!(entry.resolution, Resolution::None | Resolution::DynamicDns) {
        return at.refuse("", format!("not together with resolution: {}", entry.resolution.as_str()));
    }
    if entry.resolution == Resolution::DnsRoundRobin && entry.endpoints.len() > 1 {
        at.refuse(entry.endpoints.len(), "DNS_ROUND_ROBIN takes one endpoint");
    }
    for (i, endpoint) in entry.endpoints.iter().enumerate() {
        at.index(i, |at| {
            let address = endpoint.check(at);
            let refuse = |reason: &'static str, at: &mut At| {
                let text = endpoint.address.as_deref().unwrap_or_default();
                at.field("address", |at| at.refuse(Quoted(text), reason));
            };
            match (address, entry.resolution) {
                (Some(Address::Name(_)), Resolution::Static) => {
                    refuse("STATIC takes IP addresses and Unix sockets", at);
                }
                (Some(Address::Unix(_)), Resolution::Static) => {
                    if !endpoint.ports.is_empty() {
                        at.field("ports", |at| at.refuse("", "a Unix socket has no ports"));
                    }
                    if entry.ports.len() != 1 {
                        refuse("a Unix socket serves exactly one port", at);
                    }
                }
                (Some(Address::Unix(_)), _) => refuse("a Unix socket needs resolution: STATIC", at),
                _ => {}
            }
            at.field("ports", |at| {
                for (name, port) in endpoint.ports.iter() {
                    if !entry.ports.iter().any(|known| known.name == name) {
                        at.key(name, |at| at.refuse(port, "the service has no port of this name"));
                    }
                }
            });
        });
    }
}

/// Records what is taken, but hardly what was meant.
pub(super) fn warn(entry: &ServiceEntry, at: &mut At) {
    at.field("hosts", |at| {
        for (i, host) in entry.hosts.iter().enumerate() {
            let is_partial = host.is_wildcard() && !host.as_str().starts_with("*.");
            if is_partial {
                let reason = "a wildcard within a label: other proxies may take it for a whole one";
                at.index(i, |at| at.refuse(Quoted(host.as_str()), reason));
            }
        }
    });
    if entry.workload_selector.is_some() && entry.resolution == Resolution::None {
        at.field("workloadSelector", |at| at.refuse("", "of no account with resolution: NONE"));
    }
}
