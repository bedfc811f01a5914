//! A resource of a kind, and what every kind says about itself.

use crate::{Metadata, ResourceName, Source};
use plugin_config::{At, FromNode};

/// A resource as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource<K> {
    /// Name, namespace, labels, annotations, age.
    pub metadata: Metadata,
    /// What it says: its `spec`, or for what has none (a Secret) its other fields.
    pub spec: K,
    /// Where each field stands.
    pub source: Source,
}

impl<K: Kind> Resource<K> {
    /// Kind, namespace and name, for messages.
    pub fn resource_name(&self) -> ResourceName {
        ResourceName {
            kind: K::KIND.to_owned(),
            namespace: self.metadata.namespace().to_owned(),
            name: self.metadata.name.as_str().to_owned(),
        }
    }
}

/// A resource, whatever its kind.
pub trait AnyResource {
    /// Its kind: `VirtualService`.
    fn kind(&self) -> &'static str;
    /// Kind, namespace and name, for messages.
    fn resource_name(&self) -> ResourceName;
    /// Name, namespace, labels, annotations, age.
    fn metadata(&self) -> &Metadata;
    /// Where each field stands.
    fn source(&self) -> &Source;
    /// What it says, by the names that paths have: `{"spec": …}` where that is its kind's shape.
    fn fields(&self) -> serde_json::Value;
    /// Whether some field in it may have one of these names: an object or a value, at any depth. It costs far less than
    /// looking for one in `fields`.
    fn may_have(&self, names: &[String]) -> bool;
}

impl<K: Kind + serde::Serialize> AnyResource for Resource<K> {
    fn kind(&self) -> &'static str {
        K::KIND
    }

    fn resource_name(&self) -> ResourceName {
        Resource::resource_name(self)
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn source(&self) -> &Source {
        &self.source
    }

    fn fields(&self) -> serde_json::Value {
        let fields = serde_json::to_value(&self.spec).unwrap_or_default();
        match K::SHAPE {
            Shape::Spec => serde_json::json!({ "spec": fields }),
            Shape::Whole => fields,
        }
    }

    fn may_have(&self, names: &[String]) -> bool {
        // What cannot be written as JSON may have anything.
        let Ok(json) = serde_json::to_string(&self.spec) else { return true };
        names.iter().any(|name| {
            json.match_indices(name)
                .any(|(at, _)| json.get(at + name.len()..).is_some_and(|rest| rest.starts_with("\":")))
        })
    }
}

/// A kind of resource.
pub trait Kind: FromNode {
    /// Its name: `VirtualService`.
    const KIND: &'static str;
    /// Its API group; empty for Kubernetes' core.
    const GROUP: &'static str;
    /// Versions that are served.
    const VERSIONS: &'static [&'static str];
    /// Where its fields stand.
    const SHAPE: Shape = Shape::Spec;
    /// Whether what it holds is nobody's to see.
    const IS_SECRET: bool = false;
    /// Whether it belongs to a namespace.
    const NAMESPACED: bool = true;

    /// Checks what fields say together; every fault is recorded in `at`, which is where the fields are.
    fn validate(&self, _metadata: &Metadata, _at: &mut At) {}

    /// Records in `at` what is taken, but hardly what was meant.
    fn warn(&self, _metadata: &Metadata, _at: &mut At) {}
}

/// Where a kind has its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Under `spec`, beside which there may only be a `status`.
    Spec,
    /// Beside `metadata`; what is not looked at may stand there too.
    Whole,
}
