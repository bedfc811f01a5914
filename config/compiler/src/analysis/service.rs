//! Services and ServiceEntries: ports that do not say what is spoken, or say it differently.

use crate::finding::Message;
use crate::mesh::{Mesh, Service};
use crate::report::{Field, Report};
use istio_api::kubernetes::{self, ServiceType};
use istio_api::{Protocol, Resource};
use std::collections::HashMap;

pub(super) fn analyse(mesh: &Mesh<'_>, report: &mut Report) {
    mesh.resources.services.iter().for_each(|service| port_names(service, report));
    one_workload(mesh, report);
    one_host(mesh, report);
}

/// Says which ports do not say what is spoken on them.
fn port_names(service: &Resource<kubernetes::Service>, report: &mut Report) {
    if service.spec.kind == ServiceType::ExternalName {
        return;
    }
    for (index, port) in service.spec.ports.iter().enumerate() {
        if crate::mesh::registry::protocol(port).is_none() {
            let path = format!("spec.ports[{index}].name");
            let reason = "does not begin with what is spoken, as in http-web, and there is no appProtocol: it is taken \
                          for HTTP";
            let name = port.name.as_deref().unwrap_or_default();
            let field = Field { name: service, path: &path };
            report.find(&Message::PORT_NAME_IS_NOT_UNDER_NAMING_CONVENTION, field, name, reason);
        }
    }
}

/// Namespace and name of a workload.
type Named<'m> = &'m (String, String);

/// Says where services speak differently on one port of a workload: the first decides.
fn one_workload(mesh: &Mesh<'_>, report: &mut Report) {
    let mut ports: HashMap<(Named<'_>, u16), (&Service, Option<Protocol>)> = HashMap::new();
    for service in mesh.registry.all() {
        for endpoint in &service.endpoints {
            let Some(workload) = &endpoint.workload else { continue };
            for port in service.ports.iter().filter(|port| port.is_proxied()) {
                let Some(number) = endpoint.port(port) else { continue };
                let (first, spoken) = *ports.entry((workload, number)).or_insert((service, port.protocol));
                if spoken != port.protocol {
                    let (namespace, name) = workload;
                    let reason = format!(
                        "port {number} of workload {namespace}/{name} is {} by {}: what this says of it is not used",
                        words(spoken),
                        first.resource
                    );
                    let field = Field { name: service, path: &service.path };
                    let message = &Message::DEPLOYMENT_ASSOCIATED_TO_MULTIPLE_SERVICES;
                    report.find(message, field, words(port.protocol), reason);
                }
            }
        }
    }
}

/// Says where ServiceEntries speak differently on one port of a host: of those that a client sees, the first decides.
fn one_host(mesh: &Mesh<'_>, report: &mut Report) {
    for service in mesh.registry.all().iter().filter(|service| !service.kubernetes) {
        let Some(first) = mesh.registry.find(&service.hostname, &service.namespace) else { continue };
        if std::ptr::eq(first, service) {
            continue;
        }
        let differs = |port: &&crate::mesh::ServicePort| {
            first.port(port.number).is_some_and(|other| other.protocol != port.protocol)
        };
        if let Some(port) = service.ports.iter().find(differs) {
            let spoken = first.port(port.number).and_then(|port| port.protocol);
            let reason = format!(
                "port {} is {} by {}: what this says of it is not used",
                port.number,
                words(spoken),
                first.resource
            );
            let field = Field { name: service, path: &service.path };
            report.find(&Message::CONFLICTING_SERVICE_ENTRY_PROTOCOL, field, words(port.protocol), reason);
        } else {
            let reason = format!("{} has this host: of this one nothing is used", first.resource);
            report.notice(Field { name: service, path: &service.path }, &service.hostname, reason);
        }
    }
}

fn words(protocol: Option<Protocol>) -> String {
    protocol.map_or_else(|| "of no protocol".to_owned(), |protocol| format!("{protocol:?}").to_ascii_uppercase())
}
