//! Resources whose selectors take no workload.

use super::known::Known;
use crate::finding::Message;
use crate::mesh::Mesh;
use crate::report::{Field, Named, Report};
use istio_api::scalar::Labels;
use istio_api::{LabelSelector, Resources};

/// A selector, who has it, and where.
pub(super) struct Selector<'r> {
    pub(super) name: &'r dyn Named,
    pub(super) namespace: &'r str,
    pub(super) labels: &'r Labels,
    pub(super) path: &'static str,
    /// Whether it is for workloads of every namespace where it stands in the root's.
    pub(super) is_policy: bool,
}

/// Every selector that has labels.
pub(super) fn selectors(resources: &Resources) -> Vec<Selector<'_>> {
    let mut all = Vec::new();
    macro_rules! collect {
        ($($field:ident $is_policy:literal $path:literal |$spec:ident| $labels:expr;)*) => {$(
            for resource in &resources.$field {
                let ($spec, namespace) = (&resource.spec, resource.metadata.namespace());
                let labels: Option<&Labels> = $labels;
                if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
                    all.push(Selector { name: resource, namespace, labels, path: $path, is_policy: $is_policy });
                }
            }
        )*};
    }
    collect! {
        authorization_policies true "spec.selector" |spec| of_selector(spec.selector.as_ref());
        peer_authentications true "spec.selector" |spec| of_selector(spec.selector.as_ref());
        request_authentications true "spec.selector" |spec| of_selector(spec.selector.as_ref());
        wasm_plugins true "spec.selector" |spec| of_selector(spec.selector.as_ref());
        traffic_extensions true "spec.selector" |spec| of_selector(spec.selector.as_ref());
        sidecars false "spec.workloadSelector" |spec| spec.workload_selector.as_ref().map(|selector| &selector.labels);
        service_entries false "spec.workloadSelector"
            |spec| spec.workload_selector.as_ref().map(|selector| &selector.labels);
        destination_rules false "spec.workloadSelector" |spec| of_selector(spec.workload_selector.as_ref());
        services false "spec.selector" |spec| Some(&spec.selector);
    }
    all
}

fn of_selector(selector: Option<&LabelSelector>) -> Option<&Labels> {
    selector.map(|selector| &selector.match_labels)
}

pub(super) fn analyse(mesh: &Mesh<'_>, known: &Known<'_>, report: &mut Report) {
    for selector in selectors(mesh.resources) {
        let for_all = selector.is_policy && selector.namespace == mesh.settings.root_namespace;
        let scope = if for_all { "" } else { selector.namespace };
        say(known, scope, selector.labels, Field { name: selector.name, path: selector.path }, report);
    }
    for gateway in mesh.resources.gateways.iter().filter(|gateway| !gateway.spec.selector.is_empty()) {
        say(known, "", &gateway.spec.selector, Field { name: gateway, path: "spec.selector" }, report);
    }
}

/// `scope`: the namespace whose workloads are meant; those of all when it is empty.
fn say(known: &Known<'_>, scope: &str, labels: &Labels, field: Field<'_>, report: &mut Report) {
    if known.is_populated(scope) && known.selected(scope, labels).next().is_none() {
        let wanted: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let reason =
            "no workload of these files has these labels: this is for nobody, unless a proxy is started with them";
        report.find(&Message::NO_MATCHING_WORKLOADS_FOUND, field, wanted.join(","), reason);
    }
}
