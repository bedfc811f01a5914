//! The plugins of a chain → the configurations of our filters, as the filters read them.

use super::refused;
use crate::compile::{CompileError, FilterConfigs};
use crate::snapshot::{HttpConnectionManager, Plugin};
use plugin_config::{At, FromNode, from_slice};

/// The configurations of our filters, and the names of the plugins that are users' own.
///
/// # Errors
/// What a filter says of its configuration.
pub(super) fn configs(manager: &HttpConnectionManager) -> Result<(FilterConfigs, Vec<&str>), CompileError> {
    let mut configs = FilterConfigs::default();
    let mut others = Vec::new();
    for plugin in &manager.plugins {
        match plugin.module.as_str() {
            "authz" => {
                // One before tokens are looked at, one behind: their policies are explained together.
                let read: authz::Config = read(plugin)?;
                let before = std::mem::take(&mut configs.authz);
                let providers = if read.providers.is_empty() { before.providers } else { read.providers.clone() };
                configs.authz =
                    authz::Config { policies: [before.policies, read.policies].concat(), providers, ..read };
            }
            "jwt-authn" => configs.jwt_authn = read(plugin)?,
            "header-rules" => configs.header_rules = read(plugin)?,
            "fault-injection" => configs.fault_injection = read(plugin)?,
            "cors" => configs.cors = read(plugin)?,
            "weighted-shifting" => configs.weighted_shifting = read(plugin)?,
            "mirroring" => configs.mirroring = read(plugin)?,
            _ => others.push(plugin.name.as_str()),
        }
    }
    Ok((configs, others))
}

/// The configuration of one of our filters, as it reads it.
///
/// # Errors
/// What it says of it.
pub(super) fn read<C: FromNode>(plugin: &Plugin) -> Result<C, CompileError> {
    from_slice(plugin.configuration.to_string().as_bytes()).map_err(|faults| refused(&faults))
}

/// A configuration as the filter gets it.
///
/// # Errors
/// When it has no JSON.
pub(super) fn written(config: &impl serde::Serialize) -> Result<Vec<u8>, CompileError> {
    serde_json::to_vec(config).map_err(|error| {
        let mut at = At::root();
        at.refuse("", error.to_string());
        refused(&at.into_faults())
    })
}
