//! Labels: what selectors compare.

use plugin_config::{At, FromNode, ListMap, Node, Quoted, ReadNode};
use std::collections::BTreeMap;
use std::ops::Deref;

/// Labels by key, as Kubernetes takes them: a key of at most 63 characters behind an optional DNS name, and a value of
/// at most 63.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Whether `other` has all of these, with the same values; so no labels select everything.
    pub fn select(&self, other: &Labels) -> bool {
        self.0.iter().all(|(key, value)| other.0.get(key) == Some(value))
    }
}

impl Deref for Labels {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        Self(labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl ReadNode for Labels {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let mut read = ListMap::<String>::default();
        read.read_node(node, at);
        for (key, value) in read.0 {
            at.key(&key, |at| check(&key, &value, at));
            self.0.insert(key, value);
        }
    }
}

fn check(key: &str, value: &str, at: &mut At) {
    let name = match key.split_once('/') {
        Some((prefix, name)) if super::DnsName::new(prefix).is_some() => name,
        Some(_) => "",
        None => key,
    };
    if !is_name(name) {
        at.refuse(
            Quoted(key),
            "not a label's key: expected at most 63 of A-Z, a-z, 0-9, -, _ and ., behind dns.name/ or not",
        );
    }
    if !value.is_empty() && !is_name(value) {
        at.refuse(Quoted(value), "not a label's value: expected at most 63 of A-Z, a-z, 0-9, -, _ and .");
    }
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let end = |text: &str| text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(inner)
        && end(text)
        && text.bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

impl FromNode for Labels {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        self.0.is_empty()
    }
}

impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}
