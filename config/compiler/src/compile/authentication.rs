//! PeerAuthentication and RequestAuthentication: what cannot be enforced yet is refused, so that nobody takes for
//! secured what is not.

use crate::mesh::{Mesh, Workload};
use crate::report::{Field, Report};
use istio_api::peer_authentication::{MutualTls, MutualTlsMode};

/// Refuses what a workload's sidecar would have to enforce and cannot. Gateways have their own TLS, in the servers of
/// their Gateways, and no PeerAuthentication is for them.
pub(crate) fn check_peers(mesh: &Mesh<'_>, workload: &Workload, report: &mut Report) {
    for resource in &mesh.resources.peer_authentications {
        let spec = &resource.spec;
        if !mesh.is_for(&resource.metadata, spec.selector.as_ref(), workload) {
            continue;
        }
        let is_strict = |mtls: &MutualTls| mtls.mode == MutualTlsMode::Strict;
        let reason = "workload certificates are not available yet: nobody could be let in";
        if spec.mtls.as_ref().is_some_and(is_strict) {
            report.refuse(Field { name: resource, path: "spec.mtls.mode" }, "STRICT", reason);
        }
        if spec.port_level_mtls.0.values().any(is_strict) {
            report.refuse(Field { name: resource, path: "spec.portLevelMtls" }, "STRICT", reason);
        }
    }
}

/// Refuses tokens that a workload's proxy, be it sidecar or gateway, would have to verify and cannot.
pub(crate) fn check_requests(mesh: &Mesh<'_>, workload: &Workload, report: &mut Report) {
    for resource in &mesh.resources.request_authentications {
        if mesh.is_for(&resource.metadata, resource.spec.selector.as_ref(), workload) {
            let reason = "tokens are not verified yet: forged ones would pass";
            report.refuse(Field { name: resource, path: "spec" }, "", reason);
        }
    }
}
