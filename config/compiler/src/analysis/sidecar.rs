//! Sidecars that are for the same workloads, and services that they name and that are not there.

use super::known::Known;
use crate::finding::Message;
use crate::mesh::names::covers;
use crate::mesh::{Mesh, by_age};
use crate::report::{Field, Report};
use istio_api::scalar::{EgressHost, NamespaceScope};
use istio_api::{Resource, Sidecar};
use std::collections::HashMap;

pub(super) fn analyse(mesh: &Mesh<'_>, known: &Known<'_>, report: &mut Report) {
    let mut general: HashMap<&str, &Resource<Sidecar>> = HashMap::new();
    let mut chosen: HashMap<usize, &Resource<Sidecar>> = HashMap::new();
    for sidecar in by_age(&mesh.resources.sidecars) {
        let namespace = sidecar.metadata.namespace();
        match &sidecar.spec.workload_selector {
            None => {
                let older = *general.entry(namespace).or_insert(sidecar);
                if !std::ptr::eq(older, sidecar) {
                    let reason =
                        format!("{} is older and for all workloads too: this one is for none", older.resource_name());
                    let field = Field { name: sidecar, path: "$" };
                    report.find(&Message::MULTIPLE_SIDECARS_WITHOUT_WORKLOAD_SELECTORS, field, "", reason);
                }
            }
            Some(selector) => {
                let mut older = None;
                for workload in known.selected(namespace, &selector.labels) {
                    let first = *chosen.entry(workload).or_insert(sidecar);
                    older = older.or(Some(first).filter(|first| !std::ptr::eq(*first, sidecar)));
                }
                if let Some(older) = older {
                    let reason = format!(
                        "{} is older and selects some of these workloads: for them this is not used",
                        older.resource_name()
                    );
                    let field = Field { name: sidecar, path: "spec.workloadSelector" };
                    report.find(&Message::CONFLICTING_SIDECAR_WORKLOAD_SELECTORS, field, "", reason);
                }
            }
        }
        egress(mesh, sidecar, report);
    }
}

/// Says which hosts bring in nothing. Those with a wildcard are for what may come.
fn egress(mesh: &Mesh<'_>, sidecar: &Resource<Sidecar>, report: &mut Report) {
    for (index, listener) in sidecar.spec.egress.iter().enumerate() {
        for (place, written) in listener.hosts.iter().enumerate() {
            let EgressHost::Hosts { excluded: false, namespace, host } = written else { continue };
            let host = host.as_str().to_ascii_lowercase();
            let is_in = |of: &str| match namespace {
                NamespaceScope::Any => true,
                NamespaceScope::Own => of == sidecar.metadata.namespace(),
                NamespaceScope::Named(name) => of == name.as_str(),
            };
            let exact = || mesh.registry.of_hostname(&host).any(|service| is_in(&service.namespace));
            let wide = || mesh.registry.wildcards().any(|one| is_in(&one.namespace) && covers(&one.hostname, &host));
            if !host.starts_with('*') && !exact() && !wide() {
                let path = format!("spec.egress[{index}].hosts[{place}]");
                let reason = "no such service: nothing is brought in by this";
                let field = Field { name: sidecar, path: &path };
                report.find(&Message::REFERENCED_RESOURCE_NOT_FOUND, field, written, reason);
            }
        }
    }
}
