//! The filters as `.wasm` modules, built with this crate and embedded in it, as the compiler left them: what ships is
//! optimised once more for size.

/// A module.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// The filter's name: `header-rules`; `traffic` is all of them in one.
    pub name: &'static str,
    /// The module.
    pub bytes: &'static [u8],
}

/// The module that links other filters.
pub const LINKING: &str = "traffic";

/// The filters that it links, in the order in which it runs them, each with the field of its configuration that has
/// theirs.
pub const LINKED: [(&str, &str); 6] = [
    ("authz", "authz"),
    ("header-rules", "headerRules"),
    ("fault-injection", "faultInjection"),
    ("cors", "cors"),
    ("weighted-shifting", "weightedShifting"),
    ("mirroring", "mirroring"),
];

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// The module of a filter.
pub fn find(name: &str) -> Option<&'static Module> {
    ALL.iter().find(|module| module.name == name)
}
