//! What a VirtualService's fields say together.

use super::tcp::{RouteDestination, TlsMatchAttributes};
use super::{Destination, VirtualService};
use crate::Metadata;
use crate::scalar::{Count, DnsLabel, DnsName, Host};
use plugin_config::{At, Quoted};

/// What a route may do depends on what it stands in.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    /// Whether another VirtualService delegates to it.
    pub(super) is_delegate: bool,
    /// Whether it is for a gateway.
    pub(super) is_for_gateways: bool,
}

/// Records every fault.
pub(super) fn check(service: &VirtualService, metadata: &Metadata, at: &mut At) {
    let for_mesh = service.gateways.is_empty() || service.gateways.iter().any(|name| name == MESH);
    let scope = Scope {
        is_delegate: service.hosts.is_empty() && !at.is_unread("hosts"),
        is_for_gateways: at.is_unread("gateways") || service.gateways.iter().any(|name| name != MESH),
    };
    if service.http.is_empty() && service.tls.is_empty() && service.tcp.is_empty() {
        at.refuse("", "has no routes: expected http, tls or tcp");
    }
    if scope.is_delegate {
        for (field, given) in [
            ("gateways", !service.gateways.is_empty()),
            ("tls", !service.tls.is_empty()),
            ("tcp", !service.tcp.is_empty()),
        ] {
            if given {
                let reason = "a VirtualService without hosts is one that others delegate to: it has http alone";
                at.field(field, |at| at.refuse("", reason));
            }
        }
    }
    at.field("hosts", |at| check_hosts(service, for_mesh, at));
    at.field("gateways", |at| {
        for (i, name) in service.gateways.iter().enumerate() {
            at.index(i, |at| {
                if gateway_name(name).is_none() {
                    at.refuse(Quoted(name), "expected mesh, or the name of a Gateway: [namespace/]name");
                }
            });
        }
    });
    service.export_to.check(metadata, false, at);
    at.field("http", |at| {
        for (i, route) in service.http.iter().enumerate() {
            at.index(i, |at| super::validate_http::check(route, scope, at));
        }
    });
    let hosts = Some(service.hosts.as_slice()).filter(|hosts| !hosts.is_empty() && !at.is_unread("hosts"));
    at.field("tls", |at| {
        for (i, route) in service.tls.iter().enumerate() {
            at.index(i, |at| {
                at.field("match", |at| check_tls_matches(&route.matches, hosts, at));
                check_destinations(&route.route, at);
            });
        }
    });
    at.field("tcp", |at| {
        for (i, route) in service.tcp.iter().enumerate() {
            at.index(i, |at| {
                at.field("match", |at| {
                    for (i, clause) in route.matches.iter().enumerate() {
                        if let Some(subnet) = clause.source_subnet.as_deref() {
                            let reason = "Istio's proxies do not implement this field";
                            at.index(i, |at| at.field("sourceSubnet", |at| at.refuse(Quoted(subnet), reason)));
                        }
                    }
                });
                check_destinations(&route.route, at);
            });
        }
    });
}

/// The gateway that stands for all sidecars.
const MESH: &str = "mesh";

/// How a gateway is named.
#[derive(Clone, Copy, PartialEq)]
enum GatewayName {
    Current,
    /// `name.namespace`, as it was done once.
    Old,
}

fn gateway_name(text: &str) -> Option<GatewayName> {
    match text.split_once('/') {
        Some((namespace, name)) => {
            let namespace = namespace == "." || DnsLabel::new(namespace).is_some();
            (namespace && DnsName::new(name).is_some()).then_some(GatewayName::Current)
        }
        None if DnsLabel::new(text).is_some() => Some(GatewayName::Current),
        None => DnsName::new(text).map(|_| GatewayName::Old),
    }
}

fn check_hosts(service: &VirtualService, for_mesh: bool, at: &mut At) {
    for (i, host) in service.hosts.iter().enumerate() {
        at.index(i, |at| {
            if for_mesh && host.as_str() == "*" {
                at.refuse("\"*\"", "sidecars take no route for every host: name gateways without mesh");
            }
            let earlier = service.hosts.iter().take(i).find(|earlier| earlier.matches(host));
            if let Some(earlier) = earlier {
                at.refuse(Quoted(host.as_str()), format!("is, or overlaps with, the host {earlier} before it"));
            }
        });
    }
}

/// With the hosts that must cover the names, as far as they are known.
fn check_tls_matches(matches: &[TlsMatchAttributes], hosts: Option<&[Host]>, at: &mut At) {
    if matches.is_empty() {
        at.refuse("nothing", "required field is missing");
    }
    for (i, clause) in matches.iter().enumerate() {
        at.index(i, |at| {
            at.field("sniHosts", |at| {
                if clause.sni_hosts.is_empty() {
                    at.refuse("nothing", "required field is missing");
                }
                for (i, name) in clause.sni_hosts.iter().enumerate() {
                    if hosts.is_some_and(|hosts| !hosts.iter().any(|host| name.is_subset_of(host))) {
                        let reason = "no host of this VirtualService covers this name";
                        at.index(i, |at| at.refuse(Quoted(name.as_str()), reason));
                    }
                }
            });
        });
    }
}

fn check_destinations(route: &[RouteDestination], at: &mut At) {
    at.field("route", |at| {
        if route.is_empty() {
            at.refuse("nothing", "required field is missing");
        }
        for (i, destination) in route.iter().enumerate() {
            at.index(i, |at| at.field("destination", |at| check_destination(&destination.destination, at)));
        }
        check_weights(route.iter().map(|destination| destination.weight), at);
    });
}

pub(super) fn check_destination(destination: &Destination, at: &mut At) {
    if destination.host.as_str() == "*" {
        at.field("host", |at| at.refuse("\"*\"", "expected one service"));
    }
}

/// With two destinations or more, one must get something.
pub(super) fn check_weights(weights: impl ExactSizeIterator<Item = Option<Count>>, at: &mut At) {
    if weights.len() > 1 && weights.map(Option::unwrap_or_default).all(|weight| weight.get() == 0) {
        at.refuse("0", "the weights of two destinations or more must not all be 0");
    }
}

/// Records what is taken, but hardly what was meant.
pub(super) fn warn(service: &VirtualService, at: &mut At) {
    at.field("gateways", |at| {
        for (i, name) in service.gateways.iter().enumerate() {
            if gateway_name(name) == Some(GatewayName::Old) {
                at.index(i, |at| at.refuse(Quoted(name), "an old form: write namespace/name"));
            }
        }
    });
    at.field("http", |at| super::warn_http::warn(&service.http, at));
    at.field("tls", |at| {
        for (i, route) in service.tls.iter().enumerate() {
            at.index(i, |at| {
                at.field("match", |at| {
                    for (i, clause) in route.matches.iter().enumerate() {
                        at.index(i, |at| warn_sni(clause, at));
                    }
                });
            });
        }
    });
}

fn warn_sni(clause: &TlsMatchAttributes, at: &mut At) {
    at.field("sniHosts", |at| {
        for (i, name) in clause.sni_hosts.iter().enumerate().filter(|(_, name)| name.is_ip()) {
            at.index(i, |at| at.refuse(Quoted(name.as_str()), "a client asks for no IP address by SNI (RFC 6066, 3)"));
        }
    });
}
