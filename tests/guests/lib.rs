//! Plugins that misbehave, each in one way, and one that asks the host whatever a test wants: built with this crate
//! and embedded in it. `programs/*.rs` speak the raw ABI through `abi/lib.rs`; `programs/*.wat` say what no compiler
//! would.

/// A guest.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// The name of its file, and with an ABI version where it is built for each.
    pub name: &'static str,
    /// The module.
    pub bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The guest of a name.
pub fn find(name: &str) -> Option<&'static Guest> {
    ALL.iter().find(|guest| guest.name == name)
}
