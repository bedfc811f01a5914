//! What the fields of WasmPlugin and TrafficExtension say together.

use super::{EnvValueSource, TrafficExtension, WasmConfig, WasmPlugin};
use crate::selector::check_targets;
use plugin_config::{At, Quoted};
use std::collections::HashSet;

/// Records every fault of a WasmPlugin.
pub(super) fn check_plugin(plugin: &WasmPlugin, at: &mut At) {
    check_targets(plugin.selector.as_ref(), plugin.target_ref.as_ref(), &plugin.target_refs, at);
    check_wasm(&plugin.wasm, at);
}

/// Longest script, in bytes.
const LONGEST_SCRIPT: usize = 65_536;

/// Records every fault of a TrafficExtension.
pub(super) fn check_extension(extension: &TrafficExtension, at: &mut At) {
    check_targets(extension.selector.as_ref(), None, &extension.target_refs, at);
    if extension.wasm.is_some() == extension.lua.is_some() {
        at.refuse("", "expected exactly one of wasm and lua");
    }
    if let Some(wasm) = &extension.wasm {
        at.field("wasm", |at| check_wasm(wasm, at));
    }
    if let Some(lua) = &extension.lua
        && !(1..=LONGEST_SCRIPT).contains(&lua.inline_code.len())
    {
        let refuse = |at: &mut At| at.refuse(lua.inline_code.len(), format!("expected 1 to {LONGEST_SCRIPT} bytes"));
        at.field("lua", |at| at.field("inlineCode", refuse));
    }
}

fn check_wasm(wasm: &WasmConfig, at: &mut At) {
    let scheme = wasm.url.split_once("://").map(|(scheme, _)| scheme);
    if wasm.url.is_empty() || scheme.is_some_and(|scheme| !["oci", "http", "https", "file"].contains(&scheme)) {
        at.field("url", |at| at.refuse(Quoted(&wasm.url), "expected oci://, http://, https:// or file://"));
    }
    if let Some(sha256) = wasm.sha256.as_deref()
        && !is_sha256(sha256)
    {
        at.field("sha256", |at| at.refuse(Quoted(sha256), "expected 64 of 0-9 and a-f"));
    }
    let longest = [("imagePullSecret", &wasm.image_pull_secret, 253), ("pluginName", &wasm.plugin_name, 256)];
    for (field, text, longest) in longest {
        if let Some(text) = text.as_deref().filter(|text| text.len() > longest) {
            at.field(field, |at| at.refuse(Quoted(text), format!("longer than {longest} characters")));
        }
    }
    if let Some(vm) = &wasm.vm_config {
        let mut names = HashSet::new();
        at.field("vmConfig", |at| {
            at.field("env", |at| {
                if vm.env.len() > 256 {
                    at.refuse(vm.env.len(), "at most 256 variables");
                }
                for (i, variable) in vm.env.iter().enumerate() {
                    at.index(i, |at| {
                        if variable.name.is_empty() || variable.name.len() > 256 {
                            at.field("name", |at| at.refuse(Quoted(&variable.name), "expected 1 to 256 characters"));
                        } else if !names.insert(variable.name.as_str()) {
                            at.field("name", |at| at.refuse(Quoted(&variable.name), "another variable has this name"));
                        }
                        if variable.value_from == EnvValueSource::Host
                            && let Some(value) = variable.value.as_deref()
                        {
                            at.field("value", |at| at.refuse(Quoted(value), "only with valueFrom: INLINE"));
                        }
                    });
                }
            });
        });
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
