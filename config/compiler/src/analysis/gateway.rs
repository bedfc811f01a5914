//! Gateways whose Services do not have their ports.

use super::known::Known;
use crate::finding::Message;
use crate::mesh::{Mesh, Service};
use crate::report::{Field, Report};
use istio_api::scalar::Labels;
use std::collections::HashMap;

pub(super) fn analyse(mesh: &Mesh<'_>, known: &Known<'_>, report: &mut Report) {
    let in_front = in_front(mesh, known);
    for gateway in &mesh.resources.gateways {
        let selected = known.entries("", &gateway.spec.selector);
        let services: Vec<&Service> = selected.filter_map(|entry| in_front.get(&entry)).flatten().copied().collect();
        if services.is_empty() {
            continue;
        }
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let number = server.port.number.get();
            let has =
                |service: &&Service| service.ports.iter().any(|port| port.number == number || port.target == number);
            if !services.iter().any(has) {
                let path = format!("spec.servers[{index}].port.number");
                let reason =
                    "no Service in front of the gateway has this port: it is not reached by the Service's name";
                let field = Field { name: gateway, path: &path };
                report.find(&Message::GATEWAY_PORT_NOT_DEFINED_ON_SERVICE, field, number, reason);
            }
        }
    }
}

/// The Services that select each WorkloadEntry.
fn in_front<'m>(mesh: &'m Mesh<'_>, known: &Known<'_>) -> HashMap<usize, Vec<&'m Service>> {
    let mut in_front: HashMap<usize, Vec<&Service>> = HashMap::new();
    // Most meshes have no gateway that the files describe.
    let gateways: Vec<&Labels> = mesh.resources.gateways.iter().map(|gateway| &gateway.spec.selector).collect();
    if gateways.is_empty() {
        return in_front;
    }
    for service in mesh.registry.all().iter().filter(|service| service.kubernetes) {
        let Some(selector) = &service.selector else { continue };
        for entry in known.entries(&service.namespace, selector) {
            in_front.entry(entry).or_default().push(service);
        }
    }
    in_front
}
