//! Why there are no resources for Istio's proxies.

use super::{Api, LARGEST, LONGEST_NAME};

/// Why nothing is written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WasmPluginError {
    /// A selector without labels selects the whole namespace.
    #[error(
        "workload {workload}: it has no labels, and a plugin that selects by none would be for its whole namespace"
    )]
    NoLabels {
        /// `namespace/name`
        workload: String,
    },
    /// The plugins would be another's too.
    #[error("workload {workload}: its labels ({labels}) select {other} too: give it one that {other} does not have")]
    SelectsAnother {
        /// `namespace/name`
        workload: String,
        /// `app=web,version=v1`
        labels: String,
        /// `namespace/name`
        other: String,
    },
    /// Plugins are chosen by port alone.
    #[error(
        "workload {workload} port {port}: its servers differ by server name or host, and {api:?} tells ports apart \
         alone: give each a port of its own"
    )]
    Indistinguishable {
        /// `namespace/name`
        workload: String,
        /// The listener's.
        port: u16,
        /// What is written.
        api: Api,
    },
    /// No resource may have it.
    #[error("workload {workload}: the name {name} is longer than {LONGEST_NAME} characters")]
    LongName {
        /// `namespace/name`
        workload: String,
        /// The resource's.
        name: String,
    },
    /// Kubernetes does not keep it.
    #[error(
        "workload {workload}: {name} has {bytes} bytes, more than the {LARGEST} of etcd; let a Sidecar import fewer hosts"
    )]
    Large {
        /// `namespace/name`
        workload: String,
        /// The resource's.
        name: String,
        /// As JSON.
        bytes: usize,
    },
    /// There is no such module.
    #[error("workload {workload}: there is no module {module}")]
    UnknownModule {
        /// `namespace/name`
        workload: String,
        /// Its name.
        module: String,
    },
    /// Something has no JSON.
    #[error("workload {workload}: {name} cannot be written: {reason}")]
    Unwritable {
        /// `namespace/name`
        workload: String,
        /// The resource's.
        name: String,
        /// What the writer says.
        reason: String,
    },
}
