//! Our own filters as the build has compiled them.

use wasmtime::{Engine, Module};

include!(concat!(env!("OUT_DIR"), "/precompiled.rs"));

/// A module that the build has compiled; `None` for any other, and where this processor or the engine is not of the
/// kind that it was compiled for.
pub(super) fn find(engine: &Engine, bytes: &[u8]) -> Option<Module> {
    let known = |name: &str| modules::find(name).is_some_and(|module| module.bytes == bytes);
    let (_, code) = ALL.iter().find(|(name, _)| known(name))?;
    // SAFETY: the code is what the build's engine made of these bytes, and part of this program; the engine checks
    // that version, settings and processor agree.
    #[expect(unsafe_code, reason = "compiled code can only be trusted, not checked")]
    unsafe { Module::deserialize(engine, code) }.ok()
}

#[cfg(all(test, feature = "precompiled"))]
mod tests {
    use super::*;
    use crate::wasm::engine::WasmEngine;

    #[test]
    fn the_engine_takes_what_the_build_compiled() {
        let engine = WasmEngine::new(None).unwrap();
        for name in [modules::LINKING, "jwt-authn"] {
            let bytes = modules::find(name).unwrap().bytes;
            assert!(find(engine.engine(), bytes).is_some(), "{name}");
            let mut other = bytes.to_vec();
            other.push(0);
            assert!(find(engine.engine(), &other).is_none(), "{name}");
        }
    }
}
