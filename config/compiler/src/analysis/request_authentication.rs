//! RequestAuthentications: what the filter would not take.

use crate::compile::request_authentication;
use crate::mesh::Mesh;
use crate::report::{Field, Report};
use plugin_config::At;

pub(super) fn analyse(mesh: &Mesh<'_>, report: &mut Report) {
    for resource in &mesh.resources.request_authentications {
        let mut at = At::root();
        request_authentication::check(mesh, resource, &mut at);
        for fault in at.into_faults().iter() {
            // A provider is made of each rule, with the fields of its own.
            let path = fault.path.replacen("providers", "spec.jwtRules", 1);
            report.refuse(Field { name: resource, path: &path }, &fault.value, fault.reason.clone());
        }
    }
}
