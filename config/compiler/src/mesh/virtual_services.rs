//! VirtualServices with their names in full and their delegates in place, found by host.

use super::by_age;
use super::delegate::{self, Delegates};
use super::names::{MESH, covers, full_name, gateway_name, is_exported};
use super::settings::MeshSettings;
use istio_api::virtual_service::HttpRoute;
use istio_api::{Resource, VirtualService};
use std::borrow::Cow;
use std::collections::HashMap;

/// A VirtualService whose names are in full.
#[derive(Debug)]
pub(crate) struct RoutedHosts<'r> {
    pub(crate) resource: &'r Resource<VirtualService>,
    pub(crate) hosts: Vec<String>,
    /// `mesh`, or `namespace/name`.
    pub(crate) gateways: Vec<String>,
    pub(crate) http: Vec<HttpEntry<'r>>,
}

/// An entry of `http`, of the VirtualService itself or of a delegate.
#[derive(Clone, Debug)]
pub(crate) struct HttpEntry<'r> {
    /// Merged, if it is of a delegate.
    pub(crate) route: Cow<'r, HttpRoute>,
    /// Who wrote it: names in it are short for that one's namespace.
    pub(crate) owner: &'r Resource<VirtualService>,
    /// Where: `spec.http[2]`.
    pub(crate) path: String,
    /// Unique in the VirtualService: its name, or `http[2]`.
    pub(crate) id: String,
}

/// All VirtualServices.
#[derive(Debug, Default)]
pub(crate) struct VirtualServices<'r> {
    /// The oldest first.
    all: Vec<RoutedHosts<'r>>,
    exact: HashMap<String, Vec<usize>>,
    /// The longest first; of one length the oldest.
    wildcards: Vec<(String, usize)>,
    by_gateway: HashMap<String, Vec<usize>>,
}

impl<'r> VirtualServices<'r> {
    pub(crate) fn new(resources: &'r [Resource<VirtualService>], settings: &MeshSettings<'_>) -> Self {
        let delegates = Delegates::new(resources);
        let mut found = Self::default();
        for resource in by_age(resources) {
            // Without hosts it only serves as a delegate.
            if !resource.spec.hosts.is_empty() {
                found.add(routed(resource, &delegates, settings));
            }
        }
        found.wildcards.sort_by_key(|(host, place)| (std::cmp::Reverse(host.len()), *place));
        found
    }

    fn add(&mut self, routed: RoutedHosts<'r>) {
        let place = self.all.len();
        for host in &routed.hosts {
            match host.starts_with('*') {
                true => self.wildcards.push((host.clone(), place)),
                false => self.exact.entry(host.clone()).or_default().push(place),
            }
        }
        for gateway in &routed.gateways {
            self.by_gateway.entry(gateway.clone()).or_default().push(place);
        }
        self.all.push(routed);
    }

    /// All of them that have hosts, the oldest first.
    pub(crate) fn all(&self) -> &[RoutedHosts<'r>] {
        &self.all
    }

    /// The one that routes a host for the sidecars of a namespace: the oldest that names it, or else the one with the
    /// closest wildcard.
    pub(crate) fn of_mesh_host(&self, host: &str, namespace: &str) -> Option<(usize, &RoutedHosts<'r>)> {
        let exact = self.exact.get(host).into_iter().flatten().copied();
        let wild = self.wildcards.iter().filter(|(pattern, _)| covers(pattern, host)).map(|(_, place)| *place);
        exact
            .chain(wild)
            .find_map(|place| Some((place, self.all.get(place)?)).filter(|(_, one)| one.is_for_mesh(namespace)))
    }

    /// Those for the sidecars of a namespace, the oldest first.
    pub(crate) fn of_mesh<'s>(&'s self, namespace: &'s str) -> impl Iterator<Item = (usize, &'s RoutedHosts<'r>)> {
        self.all.iter().enumerate().filter(move |(_, one)| one.is_for_mesh(namespace))
    }

    /// Those that name a gateway, as far as its namespace sees them, the oldest first.
    pub(crate) fn of_gateway<'s>(
        &'s self,
        gateway: &str,
        namespace: &'s str,
    ) -> impl Iterator<Item = &'s RoutedHosts<'r>> {
        let places = self.by_gateway.get(gateway).into_iter().flatten();
        places.filter_map(|place| self.all.get(*place)).filter(move |one| one.is_seen(namespace))
    }
}

impl RoutedHosts<'_> {
    fn is_for_mesh(&self, namespace: &str) -> bool {
        self.gateways.iter().any(|gateway| gateway == MESH) && self.is_seen(namespace)
    }

    fn is_seen(&self, namespace: &str) -> bool {
        is_exported(&self.resource.spec.export_to, self.resource.metadata.namespace(), namespace)
    }
}

fn routed<'r>(
    resource: &'r Resource<VirtualService>,
    delegates: &Delegates<'r>,
    settings: &MeshSettings<'_>,
) -> RoutedHosts<'r> {
    let (namespace, spec) = (resource.metadata.namespace(), &resource.spec);
    let gateways = match spec.gateways.is_empty() {
        true => vec![MESH.to_owned()],
        false => spec.gateways.iter().map(|gateway| gateway_name(gateway, namespace)).collect(),
    };
    let hosts = spec.hosts.iter().map(|host| full_name(host.as_str(), namespace, &settings.domain)).collect();
    RoutedHosts { resource, hosts, gateways, http: delegate::entries(resource, delegates) }
}
