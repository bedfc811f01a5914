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

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// The module of a filter.
pub fn find(name: &str) -> Option<&'static Module> {
    ALL.iter().find(|module| module.name == name)
}
