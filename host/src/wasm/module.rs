//! A module: compiled once for the process, checked, linked to the hostcalls, ready to be instantiated by workers.

use crate::wasm::abi::hostcalls;
use crate::wasm::abi::status::AbiVersion;
use crate::wasm::engine::WasmEngine;
use crate::wasm::precompiled;
use crate::wasm::vm_state::VmState;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::PathBuf;
use wasmtime::{Caller, Engine, ExternType, InstancePre, Linker, Module, UnknownImportError, Val};

/// The largest module that is compiled, in bytes.
const MAX_SIZE: usize = 64 << 20;

/// A compiled module.
pub struct WasmModule {
    module: Module,
    engine: Engine,
    pub(crate) abi: AbiVersion,
    /// Whether it imports what edits bodies.
    pub(crate) edits_bodies: bool,
    /// SHA-256 of the module's bytes.
    pub digest: [u8; 32],
}

/// Why a module cannot be loaded.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum LoadError {
    /// Larger than a module may be.
    #[error("the module has {0} bytes, more than {MAX_SIZE}")]
    TooLarge(usize),
    /// No WebAssembly, or what the engine does not run.
    #[error("not a module that can be compiled: {0}")]
    NotCompiled(String),
    /// No export says which ABI it speaks.
    #[error("the module exports no proxy_abi_version_0_1_0, _0_2_0 or _0_2_1: it is no Proxy-Wasm module of these")]
    NoVersion,
    /// No memory is exported, or no allocator.
    #[error("the module does not export {0}")]
    MissingExport(&'static str),
    /// It wants functions that no host of the ABI has.
    #[error("the module imports what this host does not provide: {0}")]
    UnknownImports(String),
    /// An import has a signature of its own.
    #[error("the module cannot be linked: {0}")]
    NotLinked(String),
}

impl WasmModule {
    /// Compiles a module, or loads what an earlier process compiled.
    ///
    /// # Errors
    /// When it is no Proxy-Wasm module, does not compile, or imports unknown functions (all are named).
    pub fn load(engine: &WasmEngine, bytes: &[u8]) -> Result<Self, LoadError> {
        if bytes.len() > MAX_SIZE {
            return Err(LoadError::TooLarge(bytes.len()));
        }
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let module = compiled(engine, bytes, &digest)?;
        let abi = module.exports().find_map(|export| AbiVersion::of_export(export.name()));
        let abi = abi.ok_or(LoadError::NoVersion)?;
        if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
            return Err(LoadError::MissingExport("memory"));
        }
        let allocates = |name| matches!(module.get_export(name), Some(ExternType::Func(_)));
        if !allocates("malloc") && !allocates("proxy_on_memory_allocate") {
            return Err(LoadError::MissingExport("malloc or proxy_on_memory_allocate"));
        }
        let edits_bodies = module.imports().any(|import| import.name() == "proxy_set_buffer_bytes");
        let loaded = Self { module, engine: engine.engine().clone(), abi, edits_bodies, digest };
        loaded.link(&BTreeSet::new())?;
        Ok(loaded)
    }

    /// Links the imports. A non-empty `allowed` restricts the guest to those hostcalls: the others answer
    /// INTERNAL_FAILURE (WASI: ENOTCAPABLE).
    pub(crate) fn link(&self, allowed: &BTreeSet<String>) -> Result<InstancePre<VmState>, LoadError> {
        let mut linker = Linker::new(&self.engine);
        let linked = hostcalls::link(&mut linker);
        linked.map_err(|error| LoadError::NotLinked(error.to_string()))?;
        if !allowed.is_empty() {
            hostcalls::restrict(&mut linker, &self.module, allowed)
                .map_err(|error| LoadError::NotLinked(error.to_string()))?;
        }
        let mut unknown = Vec::new();
        loop {
            let error = match linker.instantiate_pre(&self.module) {
                Ok(instance) if unknown.is_empty() => return Ok(instance),
                Ok(_) => return Err(LoadError::UnknownImports(unknown.join(", "))),
                Err(error) => error,
            };
            let Some(import) = error.downcast_ref::<UnknownImportError>() else {
                return Err(LoadError::NotLinked(format!("{error:#}")));
            };
            unknown.push(format!("{}.{}", import.module(), import.name()));
            // Only to find the next: what has such an import is not run.
            let ExternType::Func(signature) = import.ty() else {
                return Err(LoadError::UnknownImports(unknown.join(", ")));
            };
            let refusal = |_: Caller<'_, VmState>, _: &[Val], _: &mut [Val]| Err(wasmtime::Error::msg("not linked"));
            linker
                .func_new(import.module(), import.name(), signature, refusal)
                .map_err(|error| LoadError::NotLinked(format!("{error:#}")))?;
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// The module as the build compiled it, from the cache, or compiled and put there.
fn compiled(engine: &WasmEngine, bytes: &[u8], digest: &[u8; 32]) -> Result<Module, LoadError> {
    if let Some(module) = precompiled::find(engine.engine(), bytes) {
        return Ok(module);
    }
    let path = cache_path(engine, digest);
    if let Some(path) = path.as_ref().filter(|path| path.is_file()) {
        // SAFETY: the folder belongs to this user alone, and only what this function compiled is written there; the
        // engine checks that version and settings agree.
        #[expect(unsafe_code, reason = "compiled code can only be trusted, not checked")]
        if let Ok(module) = unsafe { Module::deserialize_file(engine.engine(), path) } {
            return Ok(module);
        }
    }
    let module = Module::new(engine.engine(), bytes).map_err(|error| LoadError::NotCompiled(format!("{error:#}")))?;
    if let (Some(path), Ok(code)) = (path, module.serialize()) {
        // A cache that cannot be written only costs time at the next start.
        let _ = store(&path, &code);
    }
    Ok(module)
}

fn cache_path(engine: &WasmEngine, digest: &[u8; 32]) -> Option<PathBuf> {
    let mut hasher = DefaultHasher::new();
    engine.engine().precompile_compatibility_hash().hash(&mut hasher);
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(engine.cache()?.join(format!("{name}-{:016x}.cwasm", hasher.finish())))
}

/// Writes a file whole or not at all: other processes may be reading or writing the same.
fn store(path: &std::path::Path, code: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(code)?;
    fs::rename(&draft, path)
}
