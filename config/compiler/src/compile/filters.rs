//! The configurations of our filters for one filter chain → plugins, in Istio's order of effects.

use super::authorization_policy;
use crate::snapshot::{FailStrategy, Module, Phase, Plugin};
use std::collections::BTreeMap;

/// The header that names the cluster of a request.
pub(crate) const CLUSTER_HEADER: &str = "x-outrigger-cluster";

/// The configurations of our filters for one filter chain.
#[derive(Debug, Default)]
pub(crate) struct FilterConfigs {
    pub(crate) jwt_authn: jwt_authn::Config,
    pub(crate) authz: authz::Config,
    pub(crate) header_rules: header_rules::Config,
    pub(crate) fault_injection: fault_injection::Config,
    pub(crate) cors: cors::Config,
    pub(crate) weighted_shifting: weighted_shifting::Config,
    pub(crate) mirroring: mirroring::Config,
}

impl FilterConfigs {
    /// The plugins that have something to do, with `extra` where their phases put them.
    ///
    /// # Errors
    /// When a configuration has no JSON. A plugin without its configuration would let pass what it is there to refuse.
    pub(crate) fn plugins(&self, mut extra: Vec<Plugin>) -> serde_json::Result<Vec<Plugin>> {
        let mut plugins = Vec::new();
        let add = |wanted: bool, plugin: &dyn Fn() -> serde_json::Result<Plugin>, plugins: &mut Vec<Plugin>| {
            plugins.extend(wanted.then(plugin).transpose()?);
            serde_json::Result::Ok(())
        };
        let Self { jwt_authn, authz, header_rules, fault_injection, cors, weighted_shifting, mirroring } = self;
        let routes = !header_rules.virtual_hosts.is_empty() || header_rules.unknown_authority.is_some();
        let last = Phase::Unspecified;
        let (ext_authz, authz) = authorization_policy::of_requests(authz.clone());
        let asking = || Ok(Plugin { name: "ext-authz".to_owned(), ..plugin("authz", Phase::Authn, &ext_authz)? });
        add(!ext_authz.policies.is_empty(), &asking, &mut plugins)?;
        take_phases(&mut extra, &[Phase::Authn], &mut plugins);
        // Where nobody's tokens are good there are no claims, and still nobody else may set what stands for them.
        let tokens = !jwt_authn.providers.is_empty() || !jwt_authn.claim_headers.is_empty();
        add(tokens, &|| plugin("jwt-authn", Phase::Authn, jwt_authn), &mut plugins)?;
        take_phases(&mut extra, &[Phase::Authz], &mut plugins);
        add(!authz.policies.is_empty(), &|| plugin("authz", Phase::Authz, &authz), &mut plugins)?;
        take_phases(&mut extra, &[Phase::Stats, last], &mut plugins);
        add(routes, &|| plugin("header-rules", last, header_rules), &mut plugins)?;
        add(!fault_injection.routes.0.is_empty(), &|| plugin("fault-injection", last, fault_injection), &mut plugins)?;
        add(!cors.routes.0.is_empty(), &|| plugin("cors", last, cors), &mut plugins)?;
        let shifts = !weighted_shifting.routes.0.is_empty();
        add(shifts, &|| plugin("weighted-shifting", last, weighted_shifting), &mut plugins)?;
        add(!mirroring.routes.0.is_empty(), &|| plugin("mirroring", last, mirroring), &mut plugins)?;
        Ok(plugins)
    }
}

/// The plugins of connections that carry no HTTP: who may make them.
///
/// # Errors
/// When a configuration has no JSON.
pub(crate) fn connection_plugins(authz: &authz::Config) -> serde_json::Result<Vec<Plugin>> {
    let wanted = (!authz.policies.is_empty()).then(|| authorization_policy::of_connections(authz));
    wanted.iter().map(|authz| plugin("authz", Phase::Authz, authz)).collect()
}

/// Moves the plugins of some phases, in the order of these; within a phase they are in order.
fn take_phases(extra: &mut Vec<Plugin>, phases: &[Phase], plugins: &mut Vec<Plugin>) {
    for phase in phases {
        plugins.extend(extra.extract_if(.., |plugin| plugin.phase == *phase));
    }
}

fn plugin(module: &str, phase: Phase, configuration: &impl serde::Serialize) -> serde_json::Result<Plugin> {
    Ok(Plugin {
        name: module.to_owned(),
        module: module.to_owned(),
        phase,
        // A filter whose VM failed is back for the next request: ours keep nothing that a request needs.
        fail_strategy: FailStrategy::FailReload,
        configuration: serde_json::to_value(configuration)?,
        ..Plugin::default()
    })
}

/// The modules that plugins name: ours, and `extra`.
pub(crate) fn modules<'p>(
    plugins: impl Iterator<Item = &'p Plugin>,
    extra: &BTreeMap<String, Module>,
) -> BTreeMap<String, Module> {
    let named = |plugin: &Plugin| {
        let module = extra.get(&plugin.module).cloned();
        (plugin.module.clone(), module.unwrap_or_else(|| Module::Embedded(plugin.module.clone())))
    };
    plugins.map(named).collect()
}
