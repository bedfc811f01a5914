//! WasmPlugin and TrafficExtension: users' own plugins, in the order of their phases.

use crate::mesh::{Mesh, Workload};
use crate::report::{Field, Named, Report};
use crate::snapshot::{FailStrategy, Module, Phase, Plugin};
use istio_api::extension::{self, EnvValueSource, PluginType, TrafficSelector, WasmConfig, WorkloadMode};
use istio_api::{LabelSelector, Metadata};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The annotation that lets FAIL_OPEN stand where a plugin guards something.
const DANGER_FAIL_OPEN: &str = "outrigger.io/danger-fail-open";

/// The plugins of a workload, and their modules.
#[derive(Default)]
pub(crate) struct UserPlugins<'m> {
    plugins: Vec<UserPlugin<'m>>,
    pub(crate) modules: BTreeMap<String, Module>,
}

/// A plugin, and which traffic it is for.
struct UserPlugin<'m> {
    plugin: Plugin,
    matches: &'m [TrafficSelector],
}

/// Which way traffic goes, as seen from the workload.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// From it, or through a gateway.
    Client,
    /// To it.
    Server,
}

/// One of either kind, as far as they agree.
struct Written<'m> {
    named: &'m dyn Named,
    metadata: &'m Metadata,
    selector: Option<&'m LabelSelector>,
    phase: extension::Phase,
    priority: Option<i32>,
    matches: &'m [TrafficSelector],
    wasm: &'m WasmConfig,
    /// Where that is.
    at: &'static str,
}

/// The plugins that are for a workload, in the order in which they act.
pub(crate) fn compile<'m>(mesh: &Mesh<'m>, workload: &Workload, report: &mut Report) -> UserPlugins<'m> {
    let mut user = UserPlugins::default();
    let mut all: Vec<Written<'m>> = written(mesh, report);
    all.retain(|one| mesh.is_for(one.metadata, one.selector, workload));
    // Within a phase the highest priority first; none at all stands below any. The oldest first, where they agree.
    all.sort_by_key(|one| (one.priority.is_none(), std::cmp::Reverse(one.priority)));
    for one in all {
        if let Some((plugin, module)) = plugin(&one, report) {
            user.modules.insert(plugin.module.clone(), module);
            user.plugins.push(UserPlugin { plugin, matches: one.matches });
        }
    }
    user
}

impl UserPlugins<'_> {
    /// Those for traffic of a mode to a port; `None` for all ports.
    pub(crate) fn of(&self, mode: Mode, port: Option<u16>) -> Vec<Plugin> {
        let fits = |wanted: &TrafficSelector| {
            let of_mode = match wanted.mode {
                WorkloadMode::Undefined | WorkloadMode::ClientAndServer => true,
                WorkloadMode::Client => mode == Mode::Client,
                WorkloadMode::Server => mode == Mode::Server,
            };
            let mut ports = wanted.ports.iter().map(|port| port.number.get());
            of_mode && (wanted.ports.is_empty() || port.is_some_and(|port| ports.any(|wanted| wanted == port)))
        };
        let chosen = self.plugins.iter().filter(|one| one.matches.is_empty() || one.matches.iter().any(fits));
        chosen.map(|one| one.plugin.clone()).collect()
    }
}

fn written<'m>(mesh: &Mesh<'m>, report: &mut Report) -> Vec<Written<'m>> {
    let resources = mesh.resources;
    let mut all = Vec::new();
    for resource in crate::mesh::by_age(&resources.wasm_plugins) {
        let spec = &resource.spec;
        if spec.target_ref.is_some() || !spec.target_refs.is_empty() {
            let path = if spec.target_ref.is_some() { "spec.targetRef" } else { "spec.targetRefs" };
            let reason = "references are for waypoints and Kubernetes' Gateway API: the plugin is nowhere";
            report.notice(Field { name: resource, path }, "", reason);
            continue;
        }
        all.push(Written {
            named: resource,
            metadata: &resource.metadata,
            selector: spec.selector.as_ref(),
            phase: spec.phase.0,
            priority: spec.priority,
            matches: &spec.matches,
            wasm: &spec.wasm,
            at: "spec",
        });
    }
    for resource in crate::mesh::by_age(&resources.traffic_extensions) {
        let spec = &resource.spec;
        let Some(wasm) = &spec.wasm else {
            report.refuse(Field { name: resource, path: "spec.lua" }, "", "Lua is not run: only Wasm is");
            continue;
        };
        if !spec.target_refs.is_empty() {
            let reason = "references are for waypoints and Kubernetes' Gateway API: the plugin is nowhere";
            report.notice(Field { name: resource, path: "spec.targetRefs" }, "", reason);
            continue;
        }
        all.push(Written {
            named: resource,
            metadata: &resource.metadata,
            selector: spec.selector.as_ref(),
            phase: spec.phase,
            priority: spec.priority,
            matches: &spec.matches,
            wasm,
            at: "spec.wasm",
        });
    }
    all
}

fn plugin(one: &Written<'_>, report: &mut Report) -> Option<(Plugin, Module)> {
    let wasm = one.wasm;
    let at = |field: &str| format!("{}.{field}", one.at);
    let path = PathBuf::from(wasm.url.strip_prefix("file://").or_else(|| {
        let reason = "modules are not fetched yet: give the module as a file, file:///path/to/it.wasm";
        report.refuse(Field { name: one.named, path: &at("url") }, &wasm.url, reason);
        None
    })?);
    if wasm.kind == PluginType::Network {
        report.refuse(
            Field { name: one.named, path: &at("type") },
            "NETWORK",
            "plugins of connections are not placed yet",
        );
        return None;
    }
    if wasm.sha256.is_some() {
        report.notice(Field { name: one.named, path: &at("sha256") }, "", "a file's checksum is not compared");
    }
    let danger_fail_open = one.metadata.annotation(DANGER_FAIL_OPEN) == Some("true");
    let guards = matches!(one.phase, extension::Phase::Authn | extension::Phase::Authz);
    if wasm.fail_strategy == extension::FailStrategy::FailOpen && guards && !danger_fail_open {
        let reason = format!(
            "a plugin of phase {} that fails would let everybody in; if that is meant, annotate the resource with \
             {DANGER_FAIL_OPEN}: \"true\"",
            one.phase.as_str()
        );
        report.refuse(Field { name: one.named, path: &at("failStrategy") }, "FAIL_OPEN", reason);
    }
    let environment =
        wasm.vm_config.as_ref().map(|vm| environment(vm, Field { name: one.named, path: &at("vmConfig.env") }, report));
    let name = format!("{}.{}", one.metadata.namespace(), one.metadata.name);
    let plugin = Plugin {
        module: name.clone(),
        name,
        root_id: wasm.plugin_name.as_deref().unwrap_or_default().to_owned(),
        configuration: wasm.plugin_config.as_ref().map(|config| config.0.clone().into()).unwrap_or_default(),
        environment: environment.unwrap_or_default(),
        fail_strategy: match wasm.fail_strategy {
            extension::FailStrategy::FailClose => FailStrategy::FailClose,
            extension::FailStrategy::FailOpen => FailStrategy::FailOpen,
            extension::FailStrategy::FailReload => FailStrategy::FailReload,
        },
        danger_fail_open,
        phase: match one.phase {
            extension::Phase::Unspecified => Phase::Unspecified,
            extension::Phase::Authn => Phase::Authn,
            extension::Phase::Authz => Phase::Authz,
            extension::Phase::Stats => Phase::Stats,
        },
        ..Plugin::default()
    };
    Some((plugin, Module::File(path)))
}

fn environment(vm: &extension::VmConfig, field: Field<'_>, report: &mut Report) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for variable in &vm.env {
        match variable.value_from {
            EnvValueSource::Inline => {
                variables.push((variable.name.clone(), variable.value.as_deref().unwrap_or_default().to_owned()));
            }
            EnvValueSource::Host => {
                report.refuse(field, &variable.name, "the proxy's own environment is not shown to plugins")
            }
        }
    }
    variables
}
