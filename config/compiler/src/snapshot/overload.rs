//! Bounds on the whole process.

use serde::{Deserialize, Serialize};

/// Bounds beyond which load is shed (Envoy's overload manager). At 90 % of the memory new requests are answered with
/// 503, at 95 % no connection is accepted.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Overload {
    /// Bytes of memory. Without, and if it is more: the limit of the process's cgroup, or what the machine has left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<u64>,
    /// Connections from clients at a time, over all listeners; those beyond are closed at once. Without: 20,000, or half
    /// of the file descriptors that the process may have (Envoy: no bound).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,
}

impl Overload {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
