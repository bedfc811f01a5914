//! The rules of a policy, in which nothing is not everything.

use super::Rule;
use plugin_config::{At, FromNode, Node, ReadNode};
use std::ops::Deref;

/// Alternatives.
///
/// A field that is absent is no condition. One that is there and empty (`from:` above entries that were commented out)
/// is one to Kubernetes too, though whoever wrote it meant some source: it is refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules(Vec<Rule>);

impl Deref for Rules {
    type Target = [Rule];

    fn deref(&self) -> &[Rule] {
        &self.0
    }
}

impl<'r> IntoIterator for &'r Rules {
    type Item = &'r Rule;
    type IntoIter = std::slice::Iter<'r, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl From<Vec<Rule>> for Rules {
    fn from(rules: Vec<Rule>) -> Self {
        Self(rules)
    }
}

impl ReadNode for Rules {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        if let Node::List(rules) = node {
            for (i, rule) in rules.iter().enumerate() {
                at.index(i, |at| refuse_nothing(rule, at));
            }
        }
        self.0.read_node(node, at);
    }
}

fn refuse_nothing(rule: &Node<'_>, at: &mut At) {
    for field in ["from", "to", "when"] {
        if rule.get(field) == Some(&Node::Null) {
            at.field(field, |at| {
                at.refuse("null", "says nothing, which would match everything: leave it out for that")
            });
        }
    }
}

impl FromNode for Rules {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        self.0.is_empty()
    }
}

impl serde::Serialize for Rules {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}
