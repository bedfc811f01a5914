//! Plugins: Wasm filters of a chain.

use super::{Writer, typed};
use crate::peer_address;
use compiler::snapshot::{FailStrategy, Plugin, PluginLimits};
use serde_json::{Map, Value, json};

impl Writer<'_> {
    pub(super) fn http_plugin(&mut self, plugin: &Plugin) -> Value {
        let message = "envoy.extensions.filters.http.wasm.v3.Wasm";
        json!({"name": plugin.name, "typed_config": typed(message, json!({"config": self.plugin(plugin)}))})
    }

    pub(super) fn network_plugin(&mut self, plugin: &Plugin) -> Value {
        let message = "envoy.extensions.filters.network.wasm.v3.Wasm";
        json!({"name": plugin.name, "typed_config": typed(message, json!({"config": self.plugin(plugin)}))})
    }

    fn plugin(&mut self, plugin: &Plugin) -> Value {
        let file = self.module(plugin);
        // A VM is shared by those that agree in its id and its module; without an id nobody else is meant.
        let vm_id = if plugin.vm_id.is_empty() { &plugin.name } else { &plugin.vm_id };
        let mut vm = json!({
            "vm_id": vm_id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": file}},
        });
        if let Some(vm) = vm.as_object_mut() {
            if !plugin.vm_configuration.is_empty() {
                vm.insert("configuration".to_owned(), text(&plugin.vm_configuration));
            }
            if !plugin.environment.is_empty() {
                let pairs: Map<String, Value> =
                    plugin.environment.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                vm.insert("environment_variables".to_owned(), json!({"key_values": pairs}));
            }
        }
        let mut written = json!({
            "name": plugin.name,
            "root_id": plugin.root_id,
            "vm_config": vm,
            "failure_policy": match plugin.fail_strategy {
                FailStrategy::FailOpen => "FAIL_OPEN",
                // FAIL_CLOSED would leave the plugin dead for ever after one trap.
                FailStrategy::FailReload | FailStrategy::FailClose => "FAIL_RELOAD",
            },
        });
        if let Some(object) = written.as_object_mut() {
            let configuration = configuration(plugin);
            if !configuration.is_empty() {
                object.insert("configuration".to_owned(), text(&configuration));
            }
            if !plugin.allowed_capabilities.is_empty() {
                let allowed: Map<String, Value> =
                    plugin.allowed_capabilities.iter().map(|name| (name.clone(), json!({}))).collect();
                let restriction = json!({"allowed_capabilities": allowed});
                object.insert("capability_restriction_config".to_owned(), restriction);
            }
            if plugin.allow_on_headers_stop_iteration {
                object.insert("allow_on_headers_stop_iteration".to_owned(), json!(true));
            }
        }
        self.bounds(plugin);
        written
    }

    fn bounds(&mut self, plugin: &Plugin) {
        let name = &plugin.name;
        if plugin.vm_per_request {
            self.notice(format!("plugin {name}: Envoy gives no stream a VM of its own"));
        }
        let PluginLimits { memory, callback, pause, body } = &plugin.limits;
        if memory.is_some() || callback.is_some() || pause.is_some() || body.is_some() {
            self.notice(format!("plugin {name}: Envoy bounds neither the memory nor the time of a plugin"));
        }
    }
}

/// A string as it is, anything else as JSON; with line breaks, for somebody may want to read it.
fn configuration(plugin: &Plugin) -> String {
    match peer_address::configuration(plugin) {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => format!("{other:#}"),
    }
}

/// Text in an `Any`, which reaches a plugin as it is.
fn text(value: &str) -> Value {
    typed("google.protobuf.StringValue", json!({"value": value}))
}
