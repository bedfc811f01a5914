//! Plugin configuration as delivered (JSON: the text of Envoy's `StringValue`, what `WasmPlugin.pluginConfig`
//! is) read into checked values. Every fault is reported, each with its path, its value and the reason.
//!
//! [`object!`] and [`keyword!`] define a configuration type once: the struct, its reader and (natively) its
//! serialiser, so that whoever writes a configuration and whoever reads it cannot disagree.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod duration;
mod fault;
mod index;
mod json;
mod keys;
mod node;
mod number;
mod object;
mod percent;
mod read;

pub use duration::Duration;
pub use fault::{At, Fault, Faults, Quoted, Reason, joined};
pub use index::Index;
pub use json::parse;
pub use keys::Keys;
pub use node::{Fields, Node};
pub use number::Number;
pub use object::{Field, Object, read_fields, read_known, read_object};
pub use percent::Percent;
pub use read::{FromNode, ListMap, ReadNode, read};

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub use object::is_absent;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub use serde;

/// Reads a whole plugin configuration. What cannot be read is recorded in `at`, with a default in its place, so that
/// the rest can be checked all the same: see [`At::start_checks`].
///
/// # Errors
/// As [`parse`].
pub fn read_slice<T: FromNode>(json: &[u8], at: &mut At) -> Result<T, Faults> {
    Ok(read(&json::parse(json)?, at))
}

/// Reads a whole plugin configuration that needs no further checks.
///
/// # Errors
/// All faults of the document.
pub fn from_slice<T: FromNode>(json: &[u8]) -> Result<T, Faults> {
    let mut at = At::root();
    let value = read_slice(json, &mut at)?;
    if at.is_good() { Ok(value) } else { Err(at.into_faults()) }
}
