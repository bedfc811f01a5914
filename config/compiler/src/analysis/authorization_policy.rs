//! AuthorizationPolicies: namespaces that they name and that are not there, and what the filter would not take.

use crate::compile::authorization_policy;
use crate::finding::Message;
use crate::mesh::Mesh;
use crate::report::{Field, Report};
use istio_api::authorization_policy::Source;
use istio_api::{AuthorizationPolicy, Resource};
use plugin_config::At;
use std::collections::HashSet;

pub(super) fn analyse(mesh: &Mesh<'_>, report: &mut Report) {
    let namespaces = namespaces(mesh);
    for resource in &mesh.resources.authorization_policies {
        let mut at = At::root();
        authorization_policy::check(mesh, resource, &mut at);
        for fault in at.into_faults().iter() {
            let path = format!("spec.{}", fault.path.strip_prefix("policies[0].").unwrap_or(&fault.path));
            report.refuse(Field { name: resource, path: &path }, &fault.value, fault.reason.clone());
        }
        if let Some(namespaces) = &namespaces {
            strangers(resource, namespaces, report);
        }
    }
}

/// Every namespace, where the files say which there are.
fn namespaces<'m>(mesh: &'m Mesh<'_>) -> Option<HashSet<&'m str>> {
    let written = &mesh.resources.namespaces;
    let named = written.iter().map(|namespace| namespace.metadata.name.as_str());
    let used = mesh.resources.all().map(|resource| resource.metadata().namespace());
    let root = mesh.settings.root_namespace.as_str();
    (!written.is_empty()).then(|| named.chain(used).chain([root]).collect())
}

/// Says which namespaces nobody comes from.
fn strangers(resource: &Resource<AuthorizationPolicy>, namespaces: &HashSet<&str>, report: &mut Report) {
    for (index, rule) in resource.spec.rules.iter().enumerate() {
        for (place, from) in rule.from.iter().flatten().enumerate() {
            let Source { namespaces: wanted, not_namespaces: unwanted, .. } = &from.source;
            for (name, list) in [("namespaces", wanted), ("notNamespaces", unwanted)] {
                let unknown = |name: &str| !name.contains('*') && !namespaces.contains(name);
                for (item, namespace) in list.iter().enumerate().filter(|(_, namespace)| unknown(namespace)) {
                    let path = format!("spec.rules[{index}].from[{place}].source.{name}[{item}]");
                    let field = Field { name: resource, path: &path };
                    let reason = "no such namespace: nobody comes from there";
                    report.find(&Message::REFERENCED_RESOURCE_NOT_FOUND, field, namespace, reason);
                }
            }
        }
    }
}
