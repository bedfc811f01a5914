//! Plugins and modules.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where a module comes from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Module {
    /// One of our own filters, built into the binary.
    Embedded(String),
    /// A file.
    File(PathBuf),
}

/// A module with its configuration, in a filter chain.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Plugin {
    /// Unique in its chain.
    pub name: String,
    /// Which of the snapshot's modules.
    pub module: String,
    /// Which root context of the module.
    #[serde(default)]
    pub root_id: String,
    /// Plugins that agree in it, in module, VM configuration and environment share a VM.
    #[serde(default)]
    pub vm_id: String,
    /// What `on_vm_start` reads.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vm_configuration: String,
    /// What `on_configure` reads: a string as it is, anything else as JSON.
    #[serde(default)]
    pub configuration: serde_json::Value,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<(String, String)>,
    /// Hostcalls and callbacks it is restricted to; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_capabilities: Vec<String>,
    /// What its streams get when it fails.
    #[serde(default)]
    pub fail_strategy: FailStrategy,
    /// Lets FAIL_OPEN stand for a plugin whose phase is about who may do what.
    #[serde(default)]
    pub danger_fail_open: bool,
    /// Its place among Istio's phases; chains are in order already.
    #[serde(default)]
    pub phase: Phase,
    /// A header callback that pauses still gets the body (Envoy's `allow_on_headers_stop_iteration`).
    #[serde(default)]
    pub allow_on_headers_stop_iteration: bool,
    /// A VM for every stream.
    #[serde(default)]
    pub vm_per_request: bool,
    /// Bounds that differ from the defaults.
    #[serde(default)]
    pub limits: PluginLimits,
}

/// Bounds on a plugin; what is absent has its default.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PluginLimits {
    /// Memory of its VM in bytes; 64 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<usize>,
    /// CPU time of a callback; 100 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<crate::snapshot::Duration>,
    /// How long it may hold a stream; 15 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<crate::snapshot::Duration>,
    /// Bytes of a body that it holds; 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<usize>,
}

/// What a plugin's streams get when it fails (WasmPlugin `failStrategy`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailStrategy {
    /// 503; the VM is made anew.
    #[default]
    FailReload,
    /// As FAIL_RELOAD: a VM that is never made anew would turn one bad request into an outage.
    FailClose,
    /// They go on without it.
    FailOpen,
}

/// Istio's phases of plugins.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// Before authentication.
    Authn,
    /// Before authorization.
    Authz,
    /// Before statistics.
    Stats,
    /// At the end.
    #[default]
    Unspecified,
}
