//! DestinationRules: services and endpoints that are not there, and servers that nobody verifies.

use super::known::Known;
use crate::finding::Message;
use crate::mesh::names::{covers, full_name};
use crate::mesh::{Mesh, Service};
use crate::report::{Field, Report};
use istio_api::destination_rule::{ClientTls, Subset, TlsMode, TrafficPolicy};
use istio_api::scalar::Labels;
use istio_api::{DestinationRule, Resource};

pub(super) fn analyse(mesh: &Mesh<'_>, known: &Known<'_>, report: &mut Report) {
    for resource in &mesh.resources.destination_rules {
        let host = full_name(resource.spec.host.as_str(), resource.metadata.namespace(), &mesh.settings.domain);
        let services: Vec<&Service> = match host.starts_with('*') {
            true => mesh.registry.all().iter().filter(|service| covers(&host, &service.hostname)).collect(),
            false => mesh.registry.of_hostname(&host).collect(),
        };
        if services.is_empty() {
            let field = Field { name: resource, path: "spec.host" };
            report.find(
                &Message::UNKNOWN_DESTINATION_RULE_HOST,
                field,
                host,
                "no such service: the rule is for nobody",
            );
            continue;
        }
        for (index, subset) in resource.spec.subsets.iter().enumerate() {
            if is_empty(subset, &services, known) {
                let path = format!("spec.subsets[{index}].labels");
                let reason = "no endpoint of the service has these labels: requests that are sent there get 503";
                let field = Field { name: resource, path: &path };
                report.find(&Message::DESTINATION_RULE_SUBSET_NOT_SELECT_PODS, field, &subset.name, reason);
            }
        }
        let subsets = resource.spec.subsets.iter().enumerate();
        let of_subsets = subsets.filter_map(|(index, subset)| {
            Some((format!("spec.subsets[{index}].trafficPolicy"), subset.traffic_policy.as_ref()?))
        });
        let own = resource.spec.traffic_policy.as_ref().map(|policy| ("spec.trafficPolicy".to_owned(), policy));
        own.into_iter().chain(of_subsets).for_each(|(path, policy)| unverified(resource, &path, policy, report));
    }
}

/// Whether none of the services has an endpoint with the labels of a subset, though there are endpoints.
fn is_empty(subset: &Subset, services: &[&Service], known: &Known<'_>) -> bool {
    let endpoints = || services.iter().flat_map(|service| &service.endpoints);
    let elsewhere = || {
        services.iter().any(|service| {
            let labels = service.selector.iter().flat_map(|labels| labels.iter()).chain(subset.labels.iter());
            let both: Labels = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
            known.selected(&service.namespace, &both).next().is_some()
        })
    };
    endpoints().next().is_some()
        && !endpoints().any(|endpoint| subset.labels.select(&endpoint.labels))
        // Of pods that the files describe it is not known here whether they are endpoints.
        && !elsewhere()
}

fn unverified(resource: &Resource<DestinationRule>, path: &str, policy: &TrafficPolicy, report: &mut Report) {
    let mut say = |message, path: &str, tls: Option<&ClientTls>| {
        let skips = |tls: &&ClientTls| {
            tls.insecure_skip_verify == Some(true) && matches!(tls.mode, TlsMode::Simple | TlsMode::Mutual)
        };
        if tls.filter(skips).is_some() {
            let path = format!("{path}.tls.insecureSkipVerify");
            report.find(
                message,
                Field { name: resource, path: &path },
                "true",
                "whoever answers is taken for the server",
            );
        }
    };
    say(&Message::NO_SERVER_CERTIFICATE_VERIFICATION_DESTINATION_LEVEL, path, policy.tls.as_ref());
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        let path = format!("{path}.portLevelSettings[{index}]");
        say(&Message::NO_SERVER_CERTIFICATE_VERIFICATION_PORT_LEVEL, &path, port.tls.as_ref());
    }
}
