//! Values out of nodes: scalars, lists, maps.

use crate::{At, Node};

/// A place that a value of a plugin configuration is read into.
pub trait ReadNode {
    /// Reads the value. What cannot be read is recorded in `at`, and leaves what was there: a default.
    fn read_node(&mut self, node: &Node<'_>, at: &mut At);
}

/// A value that a plugin configuration can hold.
pub trait FromNode: ReadNode + Default {
    /// Whether a field of this type must be there. One that need not has its default when it is absent.
    const REQUIRED: bool = true;

    /// Whether a serialiser may leave the field out.
    fn is_absent(&self) -> bool {
        false
    }
}

/// What is read from a node; a default in place of what cannot be read.
pub fn read<T: FromNode>(node: &Node<'_>, at: &mut At) -> T {
    let mut value = T::default();
    value.read_node(node, at);
    value
}

impl ReadNode for String {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        match node {
            Node::String(value) => value.as_ref().clone_into(self),
            other => at.refuse(other, "expected a string"),
        }
    }
}

impl FromNode for String {}

impl ReadNode for bool {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        match node {
            Node::Bool(value) => *self = *value,
            other => at.refuse(other, "expected true or false"),
        }
    }
}

impl FromNode for bool {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        !self
    }
}

/// A whole number from `least` to `most`; a fraction, or a size that does not fit, is a fault, never rounded or cut.
#[inline(never)]
fn whole(node: &Node<'_>, least: i64, most: i64, at: &mut At) -> Option<i64> {
    let Node::Number(number) = node else {
        return at.fault(node, "expected a whole number");
    };
    let scaled = number.scaled(0);
    if scaled.is_some_and(|scaled| !scaled.exact) {
        return at.fault(node, "expected a whole number");
    }
    let value = scaled.and_then(|scaled| {
        let magnitude = i64::try_from(scaled.magnitude).ok()?;
        Some(if scaled.negative { -magnitude } else { magnitude })
    });
    let fits = value.filter(|value| (least..=most).contains(value));
    fits.or_else(|| at.fault(node, format!("expected a whole number from {least} to {most}")))
}

macro_rules! whole_number {
    ($($type:ty: $most:expr),*) => {$(
        impl ReadNode for $type {
            fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
                let least = if <$type>::MIN == 0 { 0 } else { -$most - 1 };
                if let Some(value) = whole(node, least, $most, at).and_then(|value| <$type>::try_from(value).ok()) {
                    *self = value;
                }
            }
        }

        impl FromNode for $type {}
    )*};
}

// 2^53: beyond it a double, which is what Istio's `pluginConfig` has for a number, no longer tells neighbours apart.
whole_number!(u8: 0xFF, u16: 0xFFFF, u32: 0xFFFF_FFFF, usize: 0xFFFF_FFFF, i32: 0x7FFF_FFFF);
whole_number!(u64: 1 << 53, i64: 1 << 53);

impl<T: FromNode> ReadNode for Option<T> {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        if !matches!(node, Node::Null) {
            self.insert(T::default()).read_node(node, at);
        }
    }
}

impl<T: FromNode> FromNode for Option<T> {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: FromNode> ReadNode for Box<T> {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        self.as_mut().read_node(node, at);
    }
}

impl<T: FromNode> FromNode for Box<T> {
    const REQUIRED: bool = T::REQUIRED;

    fn is_absent(&self) -> bool {
        T::is_absent(self)
    }
}

/// Every item is there afterwards, at its own index: also those that could not be read.
impl<T: FromNode> ReadNode for Vec<T> {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        if let Node::List(items) = node {
            self.reserve_exact(items.len());
        }
        each_item(node, at, &mut |item, at| self.push(read(item, at)));
    }
}

/// Hands each item of a list to `read`, at its place.
fn each_item(node: &Node<'_>, at: &mut At, read: &mut dyn FnMut(&Node<'_>, &mut At)) {
    let Node::List(items) = node else {
        return at.refuse(node, "expected a list");
    };
    for (i, item) in items.iter().enumerate() {
        at.index(i, |at| read(item, at));
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// A JSON object used as a map, in document order: `headers: {end-user: {exact: jason}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListMap<T>(pub Vec<(String, T)>);

impl<T> Default for ListMap<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ListMap<T> {
    /// The entries, in document order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<K: Into<String>, T> FromIterator<(K, T)> for ListMap<T> {
    fn from_iter<I: IntoIterator<Item = (K, T)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

impl<T: FromNode> ReadNode for ListMap<T> {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        if let Node::Object(fields) = node {
            self.0.reserve_exact(fields.len());
        }
        each_entry(node, at, &mut |key, value, at| self.0.push((key.to_owned(), read(value, at))));
    }
}

/// Hands each entry of an object to `read`, at its place.
fn each_entry(node: &Node<'_>, at: &mut At, read: &mut dyn FnMut(&str, &Node<'_>, &mut At)) {
    let Node::Object(fields) = node else {
        return at.refuse(node, "expected an object");
    };
    for (key, value) in fields {
        at.key(key, |at| read(key, value, at));
    }
}

impl<T: FromNode> FromNode for ListMap<T> {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

#[cfg(not(target_family = "wasm"))]
impl<T: serde::Serialize> serde::Serialize for ListMap<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}
