//! PeerAuthentications by what they are for: how connections to a workload's port are secured.

use super::by_age;
use super::settings::MeshSettings;
use istio_api::peer_authentication::{MutualTls, MutualTlsMode};
use istio_api::scalar::{Labels, Port};
use istio_api::{PeerAuthentication, Resource};
use std::collections::HashMap;

/// PeerAuthentications, the oldest of each namespace first.
#[derive(Debug)]
pub(crate) struct PeerAuthentications<'r> {
    by_namespace: HashMap<&'r str, Vec<&'r Resource<PeerAuthentication>>>,
    /// The one for the whole mesh.
    mesh: Option<&'r Resource<PeerAuthentication>>,
}

/// How connections to a port are secured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PeerMode {
    /// Never.
    Disable,
    /// When the client secures them.
    Permissive,
    /// Always.
    Strict,
}

/// How connections to a port are secured, and who says so.
#[derive(Clone, Debug)]
pub(crate) struct PeerRule<'r> {
    pub(crate) mode: PeerMode,
    /// Resource and path; `None`: Istio's default, PERMISSIVE.
    pub(crate) said: Option<(&'r Resource<PeerAuthentication>, String)>,
}

impl<'r> PeerAuthentications<'r> {
    pub(crate) fn new(resources: &'r [Resource<PeerAuthentication>], settings: &MeshSettings<'_>) -> Self {
        let mut by_namespace: HashMap<_, Vec<_>> = HashMap::new();
        for resource in by_age(resources) {
            by_namespace.entry(resource.metadata.namespace()).or_default().push(resource);
        }
        let of_root = by_namespace.get(settings.root_namespace.as_str());
        let mesh = of_root.and_then(|all| all.iter().copied().find(|resource| is_general(resource)));
        Self { by_namespace, mesh }
    }

    /// How connections to a port of a workload are secured: as the oldest that selects it says of the port, or of all;
    /// else the oldest of its namespace without selector; else that of the root namespace; else PERMISSIVE. UNSET is
    /// nothing said. Ports are those that the workload listens on.
    pub(crate) fn of(&self, namespace: &str, labels: &Labels, port: u16) -> PeerRule<'r> {
        let near = self.by_namespace.get(namespace).map_or(&[][..], Vec::as_slice);
        let own = near.iter().copied().find(|resource| selects(resource, labels));
        let general = near.iter().copied().find(|resource| is_general(resource));
        let of_port = own.and_then(|resource| {
            let mtls = Port::new(port).and_then(|port| resource.spec.port_level_mtls.0.get(&port));
            rule(resource, mtls, || format!("spec.portLevelMtls.{port}.mode"))
        });
        let whole = |resource: &'r Resource<PeerAuthentication>| {
            rule(resource, resource.spec.mtls.as_ref(), || "spec.mtls.mode".to_owned())
        };
        let levels = [own, general, self.mesh];
        let said = of_port.or_else(|| levels.into_iter().flatten().find_map(whole));
        said.unwrap_or(PeerRule { mode: PeerMode::Permissive, said: None })
    }
}

fn rule<'r>(
    resource: &'r Resource<PeerAuthentication>,
    mtls: Option<&MutualTls>,
    path: impl FnOnce() -> String,
) -> Option<PeerRule<'r>> {
    let mode = match mtls?.mode {
        MutualTlsMode::Unset => return None,
        MutualTlsMode::Disable => PeerMode::Disable,
        MutualTlsMode::Permissive => PeerMode::Permissive,
        MutualTlsMode::Strict => PeerMode::Strict,
    };
    Some(PeerRule { mode, said: Some((resource, path())) })
}

/// Whether it is for whatever is in its namespace.
fn is_general(resource: &Resource<PeerAuthentication>) -> bool {
    resource.spec.selector.as_ref().is_none_or(|selector| selector.match_labels.is_empty())
}

fn selects(resource: &Resource<PeerAuthentication>, labels: &Labels) -> bool {
    !is_general(resource)
        && resource.spec.selector.as_ref().is_some_and(|selector| selector.match_labels.select(labels))
}
