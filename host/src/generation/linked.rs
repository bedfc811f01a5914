//! Our own filters that stand next to each other in a chain run as the one module that links them: one call into the
//! guest instead of one for each, the headers read once, one module to compile. Plugins of others stay apart.

use compiler::snapshot::{Module, Plugin};
use std::collections::BTreeMap;

/// Plugins of a chain that run as one.
pub(super) enum Run<'s> {
    /// One by itself.
    Alone(&'s Plugin),
    /// Filters of ours, at least one, in the order in which the module that links them runs them.
    Linked(Vec<Linked<'s>>),
}

/// A filter in a [`Run::Linked`].
pub(super) struct Linked<'s> {
    pub(super) plugin: &'s Plugin,
    /// Where its configuration stands in that of the module that links it.
    pub(super) field: &'static str,
    place: usize,
}

/// A chain's plugins by what runs as one, in request order.
pub(super) fn runs<'s>(plugins: &'s [Plugin], modules: &BTreeMap<String, Module>) -> Vec<Run<'s>> {
    let mut runs: Vec<Run<'s>> = Vec::with_capacity(plugins.len());
    for plugin in plugins {
        match (linked(plugin, modules), runs.last_mut()) {
            (Some(next), Some(Run::Linked(run))) if run.last().is_some_and(|last| follows(last, &next)) => {
                run.push(next);
            }
            (Some(first), _) => runs.push(Run::Linked(vec![first])),
            (None, _) => runs.push(Run::Alone(plugin)),
        }
    }
    runs
}

/// A plugin that is one of our filters, and runs like them: what its VM has that others have not, or may not do that
/// others may, it has for itself.
fn linked<'s>(plugin: &'s Plugin, modules: &BTreeMap<String, Module>) -> Option<Linked<'s>> {
    let Some(Module::Embedded(name)) = modules.get(&plugin.module) else { return None };
    let place = modules::LINKED.iter().position(|(filter, _)| filter == name)?;
    let (_, field) = modules::LINKED.get(place)?;
    let own_vm = plugin.vm_per_request
        || !plugin.vm_configuration.is_empty()
        || !plugin.environment.is_empty()
        || !plugin.allowed_capabilities.is_empty();
    // The module takes a configuration that is null for that of a filter which is not there.
    (!own_vm && plugin.configuration.is_object()).then_some(Linked { plugin, field, place })
}

fn follows(last: &Linked<'_>, next: &Linked<'_>) -> bool {
    last.place < next.place && manner(last.plugin) == manner(next.plugin)
}

/// How a plugin is to run, whatever it is.
fn manner(plugin: &Plugin) -> Plugin {
    let Plugin { fail_strategy, allow_on_headers_stop_iteration, .. } = *plugin;
    let (root_id, vm_id, limits) = (plugin.root_id.clone(), plugin.vm_id.clone(), plugin.limits.clone());
    Plugin { root_id, vm_id, limits, fail_strategy, allow_on_headers_stop_iteration, ..Plugin::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use compiler::snapshot::FailStrategy;
    use serde_json::json;

    fn plugin(name: &str, module: &str) -> Plugin {
        Plugin { name: name.to_owned(), module: module.to_owned(), configuration: json!({}), ..Plugin::default() }
    }

    /// Names by run, and whether it is linked.
    fn names(plugins: &[Plugin]) -> Vec<(bool, Vec<String>)> {
        let embedded = modules::ALL.iter().map(|module| (module.name.to_owned(), Module::Embedded(module.name.into())));
        let mut modules: BTreeMap<String, Module> = embedded.collect();
        modules.insert("theirs".to_owned(), Module::File("theirs.wasm".into()));
        let name = |plugin: &Plugin| plugin.name.clone();
        let of_run = |run: &Run<'_>| match run {
            Run::Alone(plugin) => (false, vec![name(plugin)]),
            Run::Linked(run) => (true, run.iter().map(|linked| name(linked.plugin)).collect()),
        };
        runs(plugins, &modules).iter().map(of_run).collect()
    }

    fn expect(plugins: &[Plugin], expected: &[(bool, &[&str])]) {
        let expected = expected.iter().map(|(linked, run)| (*linked, run.iter().map(|name| (*name).into()).collect()));
        assert_eq!(names(plugins), expected.collect::<Vec<_>>());
    }

    #[test]
    fn filters_of_ours_run_as_one_between_plugins_of_others() {
        let plugins = [
            plugin("a", "authz"),
            plugin("t", "theirs"),
            plugin("h", "header-rules"),
            plugin("m", "mirroring"),
            // Not in the order of the module that links them.
            plugin("c", "cors"),
        ];
        expect(&plugins, &[(true, &["a"]), (false, &["t"]), (true, &["h", "m"]), (true, &["c"])]);
    }

    #[test]
    fn what_runs_otherwise_runs_apart() {
        let open = Plugin { fail_strategy: FailStrategy::FailOpen, ..plugin("h", "header-rules") };
        let own_space = Plugin { vm_id: "own".to_owned(), ..plugin("f", "fault-injection") };
        let restricted = Plugin { allowed_capabilities: vec!["proxy_log".to_owned()], ..plugin("c", "cors") };
        let vms = Plugin { vm_per_request: true, ..plugin("w", "weighted-shifting") };
        let none = Plugin { configuration: serde_json::Value::Null, ..plugin("m", "mirroring") };
        let plugins = [plugin("a", "authz"), open, own_space, restricted, vms, none];
        let expected: &[(bool, &[&str])] =
            &[(true, &["a"]), (true, &["h"]), (true, &["f"]), (false, &["c"]), (false, &["w"]), (false, &["m"])];
        expect(&plugins, expected);
    }

    #[test]
    fn the_module_that_links_them_is_there() {
        assert!(modules::find(modules::LINKING).is_some());
        assert!(modules::LINKED.iter().all(|(filter, _)| modules::find(filter).is_some()));
    }
}
