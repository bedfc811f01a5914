//! RequestAuthentications: what the filter would not take.

use crate::compile::request_authentication;
use crate::mesh::Mesh;
use crate::report::Report;

pub(super) fn analyse(mesh: &Mesh<'_>, report: &mut Report) {
    for resource in &mesh.resources.request_authentications {
        request_authentication::check(mesh, resource, report);
    }
}
