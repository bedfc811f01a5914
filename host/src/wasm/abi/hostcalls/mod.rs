//! The functions that guests import from `env`, by section of the ABI.
//!
//! None of them waits, and none enters the guest again but to allocate: what a call sets going happens after the
//! guest has returned.

mod buffers;
mod foreign;
mod grpc;
mod headers;
mod http_call;
mod metrics;
mod properties;
mod shared;
mod stream;
pub(crate) mod system;

use crate::wasm::abi::wasi;
use crate::wasm::services::LogLevel;
use crate::wasm::vm_state::VmState;
use std::collections::BTreeSet;
use wasmtime::{ExternType, Linker, Module, Val};

/// Defines every hostcall of every version, and WASI.
pub(crate) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    system::link(linker)?;
    headers::link(linker)?;
    buffers::link(linker)?;
    stream::link(linker)?;
    properties::link(linker)?;
    http_call::link(linker)?;
    grpc::link(linker)?;
    shared::link(linker)?;
    metrics::link(linker)?;
    foreign::link(linker)?;
    wasi::link(linker)
}

/// Replaces what a plugin may not call: `env` functions answer INTERNAL_FAILURE, WASI functions ENOTCAPABLE.
pub(crate) fn restrict(
    linker: &mut Linker<VmState>,
    module: &Module,
    allowed: &BTreeSet<String>,
) -> wasmtime::Result<()> {
    for import in module.imports().filter(|import| !allowed.contains(import.name())) {
        let ExternType::Func(signature) = import.ty() else { continue };
        let name = import.name().to_owned();
        let refusal = if import.module() == "env" { 10 } else { 76 };
        linker.func_new(import.module(), import.name(), signature, move |caller, _, results| {
            let line = format!("{name} is not among the allowed capabilities");
            system::log_line(caller.data(), LogLevel::Error, line.as_bytes());
            results.iter_mut().for_each(|result| *result = Val::I32(refusal));
            Ok(())
        })?;
    }
    Ok(())
}
