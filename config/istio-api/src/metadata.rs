//! What every resource has: name, namespace, labels, annotations, age.

use crate::scalar::{DnsLabel, DnsName, Ignored, Labels};
use plugin_config::{At, FromNode, Node, ReadNode};
use std::collections::BTreeMap;
use std::fmt;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

plugin_config::object! {
    /// A resource's `metadata`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Metadata {
        /// Unique in its namespace and kind.
        pub name: DnsName = "name",
        /// Where it belongs: the default of the reading when it is absent, `None` for what has none.
        pub namespace: Option<DnsLabel> = "namespace",
        /// What selectors look at.
        pub labels: Labels = "labels",
        /// Texts for whoever knows their keys: `istio.io/dry-run`, `networking.istio.io/exportTo` …
        pub annotations: Annotations = "annotations",
        /// When it was made, which settles conflicts: the oldest wins. Absent in most files: their order stands for it.
        pub creation_timestamp: Option<Timestamp> = "creationTimestamp",
        /// How often its spec was changed.
        pub generation: Option<i64> = "generation",
        /// Which version of it the API server has.
        pub resource_version: Option<String> = "resourceVersion",
        /// Not looked at.
        pub generate_name: Ignored = "generateName",
        /// Not looked at.
        pub self_link: Ignored = "selfLink",
        /// Not looked at.
        pub uid: Ignored = "uid",
        /// Not looked at.
        pub deletion_timestamp: Ignored = "deletionTimestamp",
        /// Not looked at.
        pub deletion_grace_period_seconds: Ignored = "deletionGracePeriodSeconds",
        /// Not looked at.
        pub owner_references: Ignored = "ownerReferences",
        /// Not looked at.
        pub finalizers: Ignored = "finalizers",
        /// Not looked at.
        pub managed_fields: Ignored = "managedFields",
    }
}

impl Metadata {
    /// The namespace; empty for what has none.
    pub fn namespace(&self) -> &str {
        self.namespace.as_ref().map_or("", DnsLabel::as_str)
    }

    /// An annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.0.get(key).map(String::as_str)
    }
}

/// Annotations: any text under a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(pub BTreeMap<String, String>);

impl ReadNode for Annotations {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let mut read = plugin_config::ListMap::<String>::default();
        read.read_node(node, at);
        self.0 = read.0.into_iter().collect();
    }
}

impl FromNode for Annotations {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        self.0.is_empty()
    }
}

impl serde::Serialize for Annotations {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

/// A point in time, written as RFC 3339 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub OffsetDateTime);

impl Default for Timestamp {
    fn default() -> Self {
        Self(OffsetDateTime::UNIX_EPOCH)
    }
}

impl ReadNode for Timestamp {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let read = match node {
            Node::String(text) => OffsetDateTime::parse(text, &Rfc3339).ok(),
            _ => None,
        };
        match read {
            Some(time) => self.0 = time,
            None => at.refuse(node, "expected a time such as \"2026-11-22T08:34:00Z\""),
        }
    }
}

impl FromNode for Timestamp {}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.format(&Rfc3339).map_err(|_| fmt::Error).and_then(|text| f.write_str(&text))
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
