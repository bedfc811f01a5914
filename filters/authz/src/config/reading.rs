//! Configurations and policies read piece by piece: ten thousand rules need not be there in every form at once.

use super::{Config, Policy, Rule};
use plugin_config::{At, FieldReader, FromNode, Node};

/// Hands each item of the list at a field to `read`, at its place. False after a fault.
fn each_of(
    node: &Node<'_>,
    name: &'static str,
    at: &mut At,
    read: &mut dyn FnMut(usize, &Node<'_>, &mut At) -> bool,
) -> bool {
    at.field(name, |at| match node.get(name) {
        None | Some(Node::Null) => true,
        Some(Node::List(items)) => {
            let mut good = true;
            for (i, item) in items.iter().enumerate() {
                good &= at.index(i, |at| read(i, item, at));
            }
            good
        }
        Some(other) => at.fault::<()>(other, "expected a list").is_some(),
    })
}

impl Config {
    /// Reads everything but the policies, then hands each of these to `policy`. The second value: whether there was no
    /// fault.
    pub(crate) fn read(
        node: &Node<'_>,
        at: &mut At,
        policy: &mut dyn FnMut(&Config, usize, &Node<'_>, &mut At) -> bool,
    ) -> Option<(Self, bool)> {
        const FIELDS: [&str; 7] = [
            "workload",
            "policies",
            "providers",
            "multipleProviders",
            "hostProperties",
            "peerAddressProperty",
            "logDenials",
        ];
        let mut fields = FieldReader::start(node, &FIELDS, at)?;
        let mut config = Self::default();
        let mut good = fields.read_into("workload", &mut config.workload, at);
        good &= fields.read_into("providers", &mut config.providers, at);
        good &= fields.read_into("multipleProviders", &mut config.multiple_providers, at);
        good &= fields.read_into("hostProperties", &mut config.host_properties, at);
        good &= fields.read_into("peerAddressProperty", &mut config.peer_address_property, at);
        good &= fields.read_into("logDenials", &mut config.log_denials, at);
        good &= each_of(node, "policies", at, &mut |i, node, at| policy(&config, i, node, at));
        Some((config, good))
    }
}

impl FromNode for Config {
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
        let mut policies = Vec::new();
        let (config, good) = Self::read(node, at, &mut |_, _, node, at| {
            let policy = Policy::from_node(node, at);
            let good = policy.is_some();
            policies.extend(policy);
            good
        })?;
        good.then_some(Self { policies, ..config })
    }
}

impl Policy {
    /// Reads everything but the rules, then hands each of these to `rule`. The second value: whether there was no
    /// fault.
    pub(crate) fn read(
        node: &Node<'_>,
        at: &mut At,
        rule: &mut dyn FnMut(&Policy, usize, &Node<'_>, &mut At) -> bool,
    ) -> Option<(Self, bool)> {
        let mut fields = FieldReader::start(node, &["name", "namespace", "action", "dryRun", "provider", "rules"], at)?;
        let mut policy = Self::default();
        let mut good = fields.read_into("name", &mut policy.name, at);
        good &= fields.read_into("namespace", &mut policy.namespace, at);
        good &= fields.read_into("action", &mut policy.action, at);
        good &= fields.read_into("dryRun", &mut policy.dry_run, at);
        good &= fields.read_into("provider", &mut policy.provider, at);
        good &= each_of(node, "rules", at, &mut |i, node, at| rule(&policy, i, node, at));
        Some((policy, good))
    }
}

impl FromNode for Policy {
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
        let mut rules = Vec::new();
        let (policy, good) = Self::read(node, at, &mut |_, _, node, at| {
            let rule = Rule::from_node(node, at);
            let good = rule.is_some();
            rules.extend(rule);
            good
        })?;
        good.then_some(Self { rules, ..policy })
    }
}
