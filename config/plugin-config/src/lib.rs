//! Plugin configuration as delivered (JSON: the text of Envoy's `StringValue`, what `WasmPlugin.pluginConfig`
//! is) read into checked values. Every fault is reported, each with its path, its value and the reason.
//!
//! [`object!`] and [`keyword!`] define a configuration type once: the struct, its reader and (natively) its
//! serialiser, so that whoever writes a configuration and whoever reads it cannot disagree.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod duration;
mod fault;
mod node;
mod object;
mod percent;
mod read;

pub use duration::Duration;
pub use fault::{At, Fault, Faults, Quoted};
pub use node::Node;
pub use percent::Percent;
pub use read::{FromNode, ListMap};

#[doc(hidden)]
pub use object::{FieldReader, is_absent};
#[doc(hidden)]
pub use serde;

/// Reads a whole plugin configuration.
///
/// An empty configuration reads as `{}`: Istio delivers nothing at all for an empty `pluginConfig`.
///
/// # Errors
/// All faults of the document, in document order; a document that is not JSON is one fault at path `$`.
pub fn from_slice<T: FromNode>(json: &[u8]) -> Result<T, Faults> {
    let node = node::parse(json)?;
    let mut at = At::root();
    let value = T::from_node(&node, &mut at);
    drop(node);
    match (value, at.into_faults()) {
        (Some(value), faults) if faults.is_empty() => Ok(value),
        (_, faults) => Err(faults),
    }
}
