//! Sidecar: which services a workload's proxy knows, and what it accepts.

use crate::mesh::{Mesh, Service, Workload};
use istio_api::scalar::{EgressHost, NamespaceScope};
use istio_api::{Resource, Sidecar};

/// The Sidecar of a workload: the oldest of its namespace that selects it, else the one there without selector, else
/// that of the root namespace.
pub(crate) fn of_workload<'m>(mesh: &Mesh<'m>, workload: &Workload) -> Option<&'m Resource<Sidecar>> {
    let all = crate::mesh::by_age(&mesh.resources.sidecars);
    let find = |namespace: &str, wanted: &dyn Fn(&Sidecar) -> bool| {
        all.iter().copied().find(|sidecar| sidecar.metadata.namespace() == namespace && wanted(&sidecar.spec))
    };
    let selects = |sidecar: &Sidecar| {
        sidecar.workload_selector.as_ref().is_some_and(|selector| selector.labels.select(&workload.labels))
    };
    let is_general = |sidecar: &Sidecar| sidecar.workload_selector.is_none();
    find(&workload.namespace, &selects)
        .or_else(|| find(&workload.namespace, &is_general))
        .or_else(|| find(&mesh.settings.root_namespace, &is_general))
}

/// Whether a workload's proxy knows a port of a service. Without a Sidecar that says which, it knows all.
pub(crate) fn imports(sidecar: Option<&Resource<Sidecar>>, service: &Service, port: u16) -> bool {
    let Some(sidecar) = sidecar.filter(|sidecar| !sidecar.spec.egress.is_empty()) else { return true };
    let own = sidecar.metadata.namespace();
    let mut listeners =
        sidecar.spec.egress.iter().filter(|listener| listener.port.as_ref().is_none_or(|wanted| wanted.number == port));
    listeners.any(|listener| {
        let named = |excluded_ones: bool| {
            listener.hosts.iter().any(|host| match host {
                EgressHost::Nothing => false,
                EgressHost::Hosts { excluded, namespace, host } => {
                    *excluded == excluded_ones && is_in(namespace, own, service) && covers(host.as_str(), service)
                }
            })
        };
        named(false) && !named(true)
    })
}

fn is_in(scope: &NamespaceScope, own: &str, service: &Service) -> bool {
    match scope {
        NamespaceScope::Any => true,
        NamespaceScope::Own => service.namespace == own,
        NamespaceScope::Named(name) => service.namespace == name.as_str(),
    }
}

fn covers(pattern: &str, service: &Service) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    crate::mesh::names::covers(&pattern, &service.hostname) || crate::mesh::names::covers(&service.hostname, &pattern)
}
