//! What making snapshots has to say, of every proxy that the files describe: those of their workloads, and where there
//! is none for a selector, of one that it would take.

use super::known::Known;
use super::workload_selector::selectors;
use crate::compile::Settings;
use crate::mesh::names::MESH;
use crate::mesh::{Mesh, Workload};
use crate::report::Report;
use istio_api::scalar::Labels;
use istio_api::{Gateway, LabelSelector, Resource};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

pub(super) fn analyse(mesh: &Mesh<'_>, known: &Known<'_>, report: &mut Report) {
    let workloads = workloads(mesh, known);
    let (gateways, sidecars): (Vec<_>, Vec<_>) = workloads.into_iter().partition(|one| mesh.is_gateway(one));
    let both = Settings { workers: Some(1), ..Settings::default() };
    for gateway in &gateways {
        report.take(mesh.gateway(gateway, &both));
    }
    // What is done with requests of a workload hangs on few of its labels, and costs as much as there are services.
    let (inbound, outbound) = (Settings { outbound: None, ..both.clone() }, Settings { inbound: None, ..both });
    let relevant = client_labels(mesh);
    let mut clients = BTreeSet::new();
    for workload in &sidecars {
        report.take(mesh.sidecar(workload, &inbound));
        let labels = workload.labels.iter().filter(|(key, _)| relevant.contains(key.as_str()));
        let class: (&str, Vec<(&String, &String)>) = (&workload.namespace, labels.collect());
        if clients.insert(class) {
            report.take(mesh.sidecar(workload, &outbound));
        }
    }
    for namespace in client_namespaces(mesh) {
        if !clients.iter().any(|(known, _)| *known == namespace) {
            report.take(mesh.sidecar(&described(namespace, &Labels::default()), &outbound));
        }
    }
}

/// The workloads of WorkloadEntries, those that differ in name alone once; and for each selector that takes none of
/// them one that it would take.
fn workloads(mesh: &Mesh<'_>, known: &Known<'_>) -> Vec<Workload> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (workload, entry) in mesh.workloads().into_iter().zip(&mesh.resources.workload_entries) {
        let ports: Vec<_> = entry.spec.ports.0.iter().map(|(name, port)| (name.clone(), port.get())).collect();
        let labels: Vec<_> = workload.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        if seen.insert((workload.namespace.clone(), labels, ports)) {
            all.push(workload);
        }
    }
    let mut add = |namespace: &str, labels: &Labels| {
        let pairs: Vec<_> = labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        if seen.insert((namespace.to_owned(), pairs, Vec::new())) {
            all.push(described(namespace, labels));
        }
    };
    for selector in selectors(mesh.resources) {
        if known.entries(selector.namespace, selector.labels).next().is_none() {
            add(selector.namespace, selector.labels);
        }
    }
    for gateway in mesh.resources.gateways.iter().filter(|gateway| !gateway.spec.selector.is_empty()) {
        if known.entries("", &gateway.spec.selector).next().is_none() {
            add(namespace_of(mesh, gateway), &gateway.spec.selector);
        }
    }
    all
}

/// Where a gateway is that no file describes: where a Service for it is, or the Secrets that it needs, or its Gateway.
fn namespace_of<'m>(mesh: &'m Mesh<'_>, gateway: &'m Resource<Gateway>) -> &'m str {
    let selector = &gateway.spec.selector;
    let in_front = mesh.registry.all().iter().find(|service| service.selector.as_ref() == Some(selector));
    let secrets = gateway.spec.servers.iter().filter_map(|server| server.tls.as_ref()?.credential_name.as_deref());
    let mut holders =
        secrets.filter_map(|name| mesh.resources.secrets.iter().find(|secret| secret.metadata.name.as_str() == name));
    let service = in_front.map(|service| service.namespace.as_str());
    service.or_else(|| Some(holders.next()?.metadata.namespace())).unwrap_or(gateway.metadata.namespace())
}

fn described(namespace: &str, labels: &Labels) -> Workload {
    Workload {
        namespace: namespace.to_owned(),
        labels: labels.clone(),
        service_account: "default".to_owned(),
        address: Some(Ipv4Addr::LOCALHOST.into()),
        ..Workload::default()
    }
}

/// Keys of the labels that decide what is done with a workload's own requests.
fn client_labels<'m>(mesh: &Mesh<'m>) -> BTreeSet<&'m str> {
    let resources = mesh.resources;
    let rules = resources.virtual_services.iter().flat_map(|one| &one.spec.http);
    let sources = rules.flat_map(|rule| &rule.matches).map(|clause| &clause.source_labels);
    let sidecars = resources.sidecars.iter().filter_map(|one| Some(&one.spec.workload_selector.as_ref()?.labels));
    let rules = resources.destination_rules.iter().map(|one| one.spec.workload_selector.as_ref());
    let plugins = resources.wasm_plugins.iter().map(|one| one.spec.selector.as_ref());
    let extensions = resources.traffic_extensions.iter().map(|one| one.spec.selector.as_ref());
    let selectors: Vec<&LabelSelector> = rules.chain(plugins).chain(extensions).flatten().collect();
    let selected = selectors.into_iter().map(|selector| &selector.match_labels);
    let labels = sources.chain(sidecars).chain(selected);
    labels.flat_map(|labels| labels.keys()).map(String::as_str).collect()
}

/// Namespaces that requests come from, as far as the files tell: those that have services; or else those that say
/// something about requests.
fn client_namespaces<'m>(mesh: &Mesh<'m>) -> BTreeSet<&'m str> {
    let resources = mesh.resources;
    let services = resources.services.iter().map(|service| service.metadata.namespace());
    // In the root namespace there is what all have in common, and gateways.
    let populated: BTreeSet<&str> = services.filter(|namespace| *namespace != mesh.settings.root_namespace).collect();
    if !populated.is_empty() || !resources.workload_entries.is_empty() {
        return populated;
    }
    let is_for_mesh = |gateways: &[String]| gateways.is_empty() || gateways.iter().any(|name| name == MESH);
    let routes = resources.virtual_services.iter().filter(|one| is_for_mesh(&one.spec.gateways));
    let routes = routes.map(|one| one.metadata.namespace());
    let rules = resources.destination_rules.iter().map(|one| one.metadata.namespace());
    let entries = resources.service_entries.iter().map(|one| one.metadata.namespace());
    let sidecars = resources.sidecars.iter().map(|one| one.metadata.namespace());
    routes.chain(rules).chain(entries).chain(sidecars).collect()
}
