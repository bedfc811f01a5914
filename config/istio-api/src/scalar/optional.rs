//! Fields that may be absent, and fields that nobody looks at.

use plugin_config::{At, FromNode, Node, ReadNode};
use std::ops::Deref;

/// A text that may be absent. An empty one is so too: protobuf, which Istio's fields are, knows no difference, and
/// templates leave empty texts behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Optional<T>(Option<T>);

impl<T: Clone> Optional<T> {
    /// As other crates have it.
    pub fn to_option(&self) -> Option<T> {
        self.0.clone()
    }
}

impl<T> Default for Optional<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> From<Option<T>> for Optional<T> {
    fn from(value: Option<T>) -> Self {
        Self(value)
    }
}

impl<T> Deref for Optional<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<T: FromNode> ReadNode for Optional<T> {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        if !matches!(node, Node::String(text) if text.is_empty()) {
            self.0.read_node(node, at);
        }
    }
}

impl<T: FromNode> FromNode for Optional<T> {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        self.0.is_none()
    }
}

impl<T: serde::Serialize> serde::Serialize for Optional<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A field that may be there and is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored;

impl ReadNode for Ignored {
    fn read_node(&mut self, _: &Node<'_>, _: &mut At) {}
}

impl FromNode for Ignored {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        true
    }
}

impl serde::Serialize for Ignored {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

/// A field of Istio's that nothing here acts on. That it is given is known, so that it can be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unused(bool);

impl Unused {
    /// Whether it is given.
    pub fn is_given(self) -> bool {
        self.0
    }
}

impl ReadNode for Unused {
    fn read_node(&mut self, _: &Node<'_>, _: &mut At) {
        self.0 = true;
    }
}

impl FromNode for Unused {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        !self.0
    }
}

impl serde::Serialize for Unused {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(not acted on)")
    }
}
