//! RequestAuthentication: what cannot be enforced yet is refused, so that nobody takes for secured what is not.

use crate::mesh::{Mesh, Workload};
use crate::report::{Field, Report};

/// Refuses tokens that a workload's proxy, be it sidecar or gateway, would have to verify and cannot.
pub(crate) fn check(mesh: &Mesh<'_>, workload: &Workload, report: &mut Report) {
    for resource in &mesh.resources.request_authentications {
        if mesh.is_for(&resource.metadata, resource.spec.selector.as_ref(), workload) {
            let reason = "tokens are not verified yet: forged ones would pass";
            report.refuse(Field { name: resource, path: "spec" }, "", reason);
        }
    }
}
