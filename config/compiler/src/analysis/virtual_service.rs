//! VirtualServices: gateways, hosts and delegates that they name, and what they take from each other.

use super::known::Known;
use super::route;
use crate::compile::gateway::domains;
use crate::finding::Message;
use crate::mesh::Mesh;
use crate::mesh::delegate::Delegates;
use crate::mesh::names::{MESH, full_name};
use crate::mesh::virtual_services::RoutedHosts;
use crate::report::{Field, Report};
use istio_api::virtual_service::Destination;
use istio_api::{ExportTo, Gateway, Resource, VirtualService};
use std::collections::HashMap;

pub(super) fn analyse(mesh: &Mesh<'_>, known: &Known<'_>, report: &mut Report) {
    let delegates = Delegates::new(&mesh.resources.virtual_services);
    let mut hosts = MeshHosts::default();
    for routed in mesh.virtual_services.all() {
        let attached = gateways(routed, known, report);
        served(routed, &attached, report);
        hosts.add(routed, report);
    }
    for resource in &mesh.resources.virtual_services {
        for (index, rule) in resource.spec.http.iter().enumerate() {
            let Some(delegate) = &rule.delegate else { continue };
            if delegates.find(resource.metadata.namespace(), rule).is_none() {
                let path = format!("spec.http[{index}].delegate");
                let reason = "no VirtualService without hosts of this name is seen from here: the rule is left out";
                let field = Field { name: resource, path: &path };
                report.find(&Message::REFERENCED_RESOURCE_NOT_FOUND, field, delegate.name.as_str(), reason);
            }
        }
        connections(mesh, resource, report);
    }
    route::analyse(mesh, report);
}

/// The Gateways that one names, as far as they are there.
fn gateways<'r>(
    routed: &RoutedHosts<'_>,
    known: &Known<'r>,
    report: &mut Report,
) -> Vec<(usize, &'r Resource<Gateway>)> {
    let mut found = Vec::new();
    for (index, name) in routed.gateways.iter().enumerate().filter(|(_, name)| *name != MESH) {
        match known.gateway(name) {
            Some(gateway) => found.push((index, gateway)),
            None => {
                let path = format!("spec.gateways[{index}]");
                let reason = "there is no such Gateway: no request of one is routed by this";
                let field = Field { name: routed.resource, path: &path };
                report.find(&Message::REFERENCED_RESOURCE_NOT_FOUND, field, name, reason);
            }
        }
    }
    found
}

/// Says which hosts no Gateway serves, and which Gateways serve no host.
fn served(routed: &RoutedHosts<'_>, attached: &[(usize, &Resource<Gateway>)], report: &mut Report) {
    let namespace = routed.resource.metadata.namespace();
    let serves = |gateway: &Resource<Gateway>, host: &str| {
        gateway.spec.servers.iter().any(|server| domains(gateway, server, namespace, host).next().is_some())
    };
    let message = &Message::VIRTUAL_SERVICE_HOST_NOT_FOUND_IN_GATEWAY;
    let for_mesh = routed.gateways.iter().any(|gateway| gateway == MESH);
    // With one that is not there, that is what is wrong.
    let complete = attached.len() == routed.gateways.len();
    for (index, host) in routed.hosts.iter().enumerate().filter(|_| !for_mesh && complete) {
        if !attached.iter().any(|(_, gateway)| serves(gateway, host)) {
            let path = format!("spec.hosts[{index}]");
            let reason = "no server of its gateways has this host: requests for it get 404";
            report.find(message, Field { name: routed.resource, path: &path }, host, reason);
        }
    }
    for (index, gateway) in attached.iter().filter(|_| attached.len() > 1 || for_mesh) {
        if !routed.hosts.iter().any(|host| serves(gateway, host)) {
            let path = format!("spec.gateways[{index}]");
            let reason = "no server of it has any host of this VirtualService: none of its requests is routed by this";
            let name = &gateway.metadata.name;
            report.find(message, Field { name: routed.resource, path: &path }, name, reason);
        }
    }
}

/// Hosts of sidecars, and which VirtualService has them for whom.
#[derive(Default)]
struct MeshHosts<'m>(HashMap<&'m str, Holders<'m>>);

/// Who has a host: the oldest of all, of those that all see, and of those that a namespace sees.
#[derive(Default)]
struct Holders<'m> {
    oldest: Option<&'m Resource<VirtualService>>,
    for_all: Option<&'m Resource<VirtualService>>,
    by_namespace: HashMap<String, &'m Resource<VirtualService>>,
}

impl<'m> MeshHosts<'m> {
    /// Adds one that is younger than all before. Its hosts are not merged with those of others: the oldest takes all.
    fn add(&mut self, routed: &'m RoutedHosts<'_>, report: &mut Report) {
        if !routed.gateways.iter().any(|gateway| gateway == MESH) {
            return;
        }
        for (index, host) in routed.hosts.iter().enumerate() {
            let holders = self.0.entry(host).or_default();
            if let Some(older) = holders.add(routed.resource) {
                let path = format!("spec.hosts[{index}]");
                let reason = format!(
                    "{} is older and has this host: where both are seen, these routes are not used",
                    older.resource_name()
                );
                let field = Field { name: routed.resource, path: &path };
                report.find(&Message::CONFLICTING_MESH_GATEWAY_VIRTUAL_SERVICE_HOSTS, field, host, reason);
            }
        }
    }
}

impl<'m> Holders<'m> {
    /// The older one that somebody sees who sees this one too.
    fn add(&mut self, resource: &'m Resource<VirtualService>) -> Option<&'m Resource<VirtualService>> {
        let own = resource.metadata.namespace();
        let oldest = *self.oldest.get_or_insert(resource);
        let ExportTo::Namespaces { own: sees_itself, named } = &resource.spec.export_to else {
            self.for_all.get_or_insert(resource);
            return Some(oldest).filter(|oldest| !std::ptr::eq(*oldest, resource));
        };
        let namespaces = named.iter().map(istio_api::scalar::DnsLabel::as_str).chain(sees_itself.then_some(own));
        let mut older = self.for_all;
        for namespace in namespaces {
            older = older.or(self.by_namespace.get(namespace).copied());
            self.by_namespace.entry(namespace.to_owned()).or_insert(resource);
        }
        older
    }
}

/// Services that connections are sent to: what routes of HTTP name is looked at where they are made.
fn connections(mesh: &Mesh<'_>, resource: &Resource<VirtualService>, report: &mut Report) {
    let tls = resource.spec.tls.iter().map(|route| &route.route).enumerate().map(|(index, to)| ("tls", index, to));
    let tcp = resource.spec.tcp.iter().map(|route| &route.route).enumerate().map(|(index, to)| ("tcp", index, to));
    for (block, index, to) in tls.chain(tcp) {
        for (place, destination) in to.iter().enumerate() {
            let Destination { host, .. } = &destination.destination;
            let host = full_name(host.as_str(), resource.metadata.namespace(), &mesh.settings.domain);
            if mesh.registry.of_hostname(&host).next().is_none() {
                let path = format!("spec.{block}[{index}].route[{place}].destination.host");
                let reason = "no such service: connections are closed";
                let field = Field { name: resource, path: &path };
                report.find(&Message::REFERENCED_RESOURCE_NOT_FOUND, field, host, reason);
            }
        }
    }
}
