//! Values out of nodes: scalars, lists, maps.

use crate::{At, Node};

/// A value that a plugin configuration can hold.
pub trait FromNode: Sized {
    /// Reads the value; `None` after at least one fault was recorded in `at`.
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self>;

    /// The value of a field that is not there; `None` makes the field required.
    fn absent() -> Option<Self> {
        None
    }

    /// Whether a serialiser may leave the field out because [`FromNode::absent`] restores it.
    fn is_absent(&self) -> bool {
        false
    }
}

impl FromNode for String {
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
        match node {
            Node::String(value) => Some(value.clone().into_owned()),
            other => at.fault(other, "expected a string"),
        }
    }
}

impl FromNode for bool {
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
        match node {
            Node::Bool(value) => Some(*value),
            other => at.fault(other, "expected true or false"),
        }
    }

    fn absent() -> Option<Self> {
        Some(false)
    }

    fn is_absent(&self) -> bool {
        !self
    }
}

impl FromNode for f64 {
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
        match node {
            Node::Number(value) if value.is_finite() => Some(*value),
            other => at.fault(other, "expected a number"),
        }
    }
}

/// A whole number from `least` to `most`; a fraction, or a size that does not fit, is a fault, never rounded or cut.
#[inline(never)]
fn whole(node: &Node<'_>, least: i64, most: i64, at: &mut At) -> Option<i64> {
    // 2^53: beyond it a double no longer tells neighbouring whole numbers apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match node {
        Node::Number(value) if value.fract() == 0.0 && value.abs() <= EXACT => {
            // Exact by the guard.
            let value = *value as i64;
            if (least..=most).contains(&value) {
                return Some(value);
            }
            at.fault(node, format!("expected a whole number from {least} to {most}"))
        }
        other => at.fault(other, "expected a whole number"),
    }
}

macro_rules! whole_number {
    ($($type:ty: $most:expr),*) => {$(
        impl FromNode for $type {
            fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
                let least = if <$type>::MIN == 0 { 0 } else { -$most - 1 };
                whole(node, least, $most, at).and_then(|value| <$type>::try_from(value).ok())
            }
        }
    )*};
}

whole_number!(u8: 0xFF, u16: 0xFFFF, u32: 0xFFFF_FFFF, usize: 0xFFFF_FFFF, i32: 0x7FFF_FFFF);
whole_number!(u64: 1 << 53, i64: 1 << 53);

impl<T: FromNode> FromNode for Option<T> {
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
        match node {
            Node::Null => Some(None),
            node => T::from_node(node, at).map(Some),
        }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: FromNode> FromNode for Box<T> {
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
        T::from_node(node, at).map(Box::new)
    }

    fn absent() -> Option<Self> {
        T::absent().map(Box::new)
    }

    fn is_absent(&self) -> bool {
        T::is_absent(self)
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
        let Node::List(items) = node else {
            return at.fault(node, "expected a list");
        };
        // Every item is read even after a bad one, so that all faults are known at once.
        let mut values = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            values.extend(at.index(i, |at| T::from_node(item, at)));
        }
        (values.len() == items.len()).then_some(values)
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }

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

impl<T: FromNode> FromNode for ListMap<T> {
    fn from_node(node: &Node<'_>, at: &mut At) -> Option<Self> {
        let Node::Object(fields) = node else {
            return at.fault(node, "expected an object");
        };
        let mut values = Vec::with_capacity(fields.len());
        for (key, value) in fields {
            let value = at.key(key, |at| T::from_node(value, at));
            values.extend(value.map(|value| (key.clone().into_owned(), value)));
        }
        (values.len() == fields.len()).then_some(Self(values))
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }

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
