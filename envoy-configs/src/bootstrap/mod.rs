//! A snapshot → the bootstrap of an Envoy that does the same: version 1.40 of its API, static resources only.

mod access_log;
pub(crate) mod cluster;
mod filter_chain;
mod http;
mod listener;
mod plugin;
mod tls;

use compiler::snapshot::{Cluster, Module, Plugin, Snapshot};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// An Envoy bootstrap. Serialises as Envoy reads it, from YAML or JSON.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The same, without an order of its fields.
    pub value: Value,
    /// Names of our own filters whose modules it loads from the folder that was given.
    pub modules: BTreeSet<String>,
    /// What the snapshot says and Envoy has nothing for, a sentence each.
    pub notices: Vec<String>,
}

impl Serialize for Bootstrap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Ordered(&self.value).serialize(serializer)
    }
}

/// For readers: what a thing is and is called comes before everything else.
struct Ordered<'v>(&'v Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let first = ["@type", "name"].into_iter().filter_map(|name| fields.get_key_value(name));
                let rest = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "@type" | "name"));
                serializer.collect_map(first.chain(rest).map(|(name, value)| (name, Ordered(value))))
            }
            Value::Array(all) => serializer.collect_seq(all.iter().map(Ordered)),
            scalar => scalar.serialize(serializer),
        }
    }
}

/// Makes the bootstrap of a proxy; our own filters are loaded from `modules`, as `<filter>.wasm`.
pub fn bootstrap(snapshot: &Snapshot, modules: &Path) -> Bootstrap {
    let mut writer = Writer { snapshot, folder: modules, modules: BTreeSet::new(), notices: Vec::new() };
    let listeners: Vec<Value> = snapshot.listeners.iter().map(|listener| writer.listener(listener)).collect();
    let clusters: Vec<Value> = snapshot.clusters.iter().flat_map(cluster::clusters).collect();
    let mut value = json!({"static_resources": {"listeners": listeners, "clusters": clusters}});
    if let Some(object) = value.as_object_mut() {
        if let Some(admin) = snapshot.admin {
            object.insert("admin".to_owned(), json!({"address": address(admin)}));
        }
        writer.overload(object);
    }
    if let Some(workers) = snapshot.workers {
        writer.notice(format!("the number of workers is a flag of Envoy's: --concurrency {workers}"));
    }
    tls::notices(snapshot).into_iter().for_each(|notice| writer.notice(notice));
    leave_out_empty(&mut value);
    Bootstrap { value, modules: writer.modules, notices: writer.notices }
}

/// Takes out what says nothing: lists and texts that are empty. A message without a field may be a choice.
fn leave_out_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| match value {
                Value::Array(all) => !all.is_empty(),
                Value::String(text) => !text.is_empty(),
                _ => true,
            });
            fields.values_mut().for_each(leave_out_empty);
        }
        Value::Array(all) => all.iter_mut().for_each(leave_out_empty),
        _ => {}
    }
}

/// What is gathered while a bootstrap is written.
struct Writer<'s> {
    snapshot: &'s Snapshot,
    folder: &'s Path,
    modules: BTreeSet<String>,
    notices: Vec<String>,
}

impl Writer<'_> {
    fn notice(&mut self, text: String) {
        if !self.notices.contains(&text) {
            self.notices.push(text);
        }
    }

    /// The cluster of a name.
    fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.snapshot.clusters.iter().find(|cluster| cluster.name == name)
    }

    /// The file of a plugin's module.
    fn module(&mut self, plugin: &Plugin) -> PathBuf {
        match self.snapshot.modules.get(&plugin.module) {
            Some(Module::File(path)) => path.clone(),
            Some(Module::Embedded(name)) => {
                self.modules.insert(name.clone());
                self.folder.join(format!("{name}.wasm"))
            }
            None => self.folder.join(format!("{}.wasm", plugin.module)),
        }
    }

    /// Envoy sheds load at the same marks.
    fn overload(&mut self, bootstrap: &mut Map<String, Value>) {
        let overload = &self.snapshot.overload;
        let mut monitors = Vec::new();
        let mut actions = Vec::new();
        if let Some(bytes) = overload.max_memory {
            monitors.push(json!({
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": typed(
                    "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    json!({"max_heap_size_bytes": bytes}),
                ),
            }));
            let action = |name: &str, share: f64| {
                let monitor = "envoy.resource_monitors.fixed_heap";
                json!({"name": name, "triggers": [{"name": monitor, "threshold": {"value": share}}]})
            };
            actions.push(action("envoy.overload_actions.stop_accepting_requests", 0.9));
            actions.push(action("envoy.overload_actions.stop_accepting_connections", 0.95));
        }
        if let Some(connections) = overload.max_connections {
            monitors.push(json!({
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": typed(
                    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    json!({"max_active_downstream_connections": connections}),
                ),
            }));
        }
        if !monitors.is_empty() {
            let manager = json!({"refresh_interval": "0.25s", "resource_monitors": monitors, "actions": actions});
            bootstrap.insert("overload_manager".to_owned(), manager);
        }
    }
}

/// A message in an `Any`.
fn typed(message: &str, value: Value) -> Value {
    with(value, "@type", Value::from(format!("type.googleapis.com/{message}")))
}

/// An object with one more field.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
    object
}

/// An address that is listened on or called.
fn address(address: std::net::SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
