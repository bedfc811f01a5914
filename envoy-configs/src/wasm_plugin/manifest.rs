//! Resources as they are written.

use compiler::snapshot::{FailStrategy, Phase};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A resource.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    /// Its name and its namespace.
    pub metadata: Metadata,
    pub(super) spec: Spec,
}

/// What every resource has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metadata {
    /// Unique in its namespace.
    pub name: String,
    /// The workload's.
    pub namespace: String,
    pub(super) labels: BTreeMap<&'static str, &'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Spec {
    WasmPlugin(WasmPlugin),
    TrafficExtension(TrafficExtension),
    EnvoyFilter(EnvoyFilter),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct WasmPlugin {
    pub(super) selector: Selector,
    #[serde(flatten)]
    pub(super) place: Place,
    #[serde(flatten)]
    pub(super) wasm: Wasm,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct TrafficExtension {
    pub(super) selector: Selector,
    #[serde(flatten)]
    pub(super) place: Place,
    pub(super) wasm: Wasm,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnvoyFilter {
    pub(super) workload_selector: WorkloadSelector,
    pub(super) config_patches: Vec<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Selector {
    pub(super) match_labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct WorkloadSelector {
    pub(super) labels: BTreeMap<String, String>,
}

/// Where a plugin stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Place {
    #[serde(skip_serializing_if = "is_unspecified")]
    pub(super) phase: Phase,
    pub(super) priority: i32,
    #[serde(rename = "match")]
    pub(super) matches: [Match; 1],
}

fn is_unspecified(phase: &Phase) -> bool {
    *phase == Phase::Unspecified
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Match {
    pub(super) mode: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ports: Vec<Port>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Port {
    pub(super) number: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wasm {
    pub(super) url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    pub(super) fail_strategy: FailStrategy,
    pub(super) plugin_name: String,
    pub(super) plugin_config: Value,
}
