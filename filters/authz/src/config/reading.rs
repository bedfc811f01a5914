//! Configurations and policies read piece by piece: ten thousand rules need not be there in every form at once.

use super::{Config, Policy};
use plugin_config::{At, Field, FromNode, Node, Object, ReadNode, read_fields, read_object};

/// A field that is read by itself.
struct Later;

impl ReadNode for Later {
    fn read_node(&mut self, _node: &Node<'_>, _at: &mut At) {}
}

/// Hands each item of the list at a field to `read`, at its place.
fn each_of(node: &Node<'_>, name: &'static str, at: &mut At, read: &mut dyn FnMut(usize, &Node<'_>, &mut At)) {
    at.field(name, |at| match node.get(name) {
        None | Some(Node::Null) => {}
        Some(Node::List(items)) => {
            for (i, item) in items.iter().enumerate() {
                at.index(i, |at| read(i, item, at));
            }
        }
        Some(other) => at.refuse(other, "expected a list"),
    });
}

impl Config {
    fn fields_with<'s>(&'s mut self, policies: Option<&'s mut dyn ReadNode>) -> Vec<Field<'s>> {
        vec![
            Field::optional("workload", &mut self.workload),
            Field::optional("policies", policies.unwrap_or(&mut self.policies)),
            Field::optional("providers", &mut self.providers),
            Field::optional("multipleProviders", &mut self.multiple_providers),
            Field::optional("hostProperties", &mut self.host_properties),
            Field::optional("peerAddressProperty", &mut self.peer_address_property),
            Field::optional("logDenials", &mut self.log_denials),
        ]
    }

    /// Reads everything but the policies, then hands each of these to `policy`.
    pub(crate) fn read(
        node: &Node<'_>,
        at: &mut At,
        policy: &mut dyn FnMut(&Config, usize, &Node<'_>, &mut At),
    ) -> Self {
        let mut config = Self::default();
        read_fields(&mut config.fields_with(Some(&mut Later)), node, at);
        each_of(node, "policies", at, &mut |i, node, at| policy(&config, i, node, at));
        config
    }
}

impl Object for Config {
    fn fields(&mut self) -> Vec<Field<'_>> {
        self.fields_with(None)
    }
}

impl ReadNode for Config {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        read_object(self, node, at);
    }
}

impl FromNode for Config {}

impl Policy {
    fn fields_with<'s>(&'s mut self, rules: Option<&'s mut dyn ReadNode>) -> Vec<Field<'s>> {
        vec![
            Field::optional("name", &mut self.name),
            Field::optional("namespace", &mut self.namespace),
            Field::optional("action", &mut self.action),
            Field::optional("dryRun", &mut self.dry_run),
            Field::optional("provider", &mut self.provider),
            Field::optional("rules", rules.unwrap_or(&mut self.rules)),
        ]
    }

    /// Reads everything but the rules, then hands each of these to `rule`.
    pub(crate) fn read(node: &Node<'_>, at: &mut At, rule: &mut dyn FnMut(&Policy, usize, &Node<'_>, &mut At)) -> Self {
        let mut policy = Self::default();
        read_fields(&mut policy.fields_with(Some(&mut Later)), node, at);
        each_of(node, "rules", at, &mut |i, node, at| rule(&policy, i, node, at));
        policy
    }
}

impl Object for Policy {
    fn fields(&mut self) -> Vec<Field<'_>> {
        self.fields_with(None)
    }
}

impl ReadNode for Policy {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        read_object(self, node, at);
    }
}

impl FromNode for Policy {}
