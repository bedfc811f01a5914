//! The Proxy-Wasm ABI: numbers, encodings, and the functions guests import.

pub mod header_pairs;
pub(crate) mod hostcalls;
pub(crate) mod memory;
pub(crate) mod status;
pub(crate) mod wasi;
