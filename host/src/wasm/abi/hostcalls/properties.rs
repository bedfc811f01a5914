//! Properties.

use crate::wasm::abi::memory::{Env, Out, answer, give_bytes, slice, split};
use crate::wasm::abi::status::{Answer, Status};
use crate::wasm::properties::{self, Found};
use crate::wasm::vm_state::VmState;
use wasmtime::Linker;

/// How many properties guests may set on a stream; in bytes they may be what a body may.
const MAX_PROPERTIES: usize = 100;

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_get_property", get_property)?.func_wrap(
        "env",
        "proxy_set_property",
        set_property,
    )?;
    Ok(())
}

fn get_property(mut env: Env<'_>, path: u32, path_size: u32, value: u32, value_size: u32) -> Answer {
    let (memory, state) = split(&mut env)?;
    let Ok(path) = slice(memory, path, path_size) else {
        return Ok(Status::InvalidMemoryAccess.into());
    };
    let found = properties::find(state, path);
    let out = Out { pointer: value, length: value_size };
    match found {
        Found::Bytes(bytes) => give_bytes(&mut env, out, &bytes),
        Found::Missing => Ok(Status::NotFound.into()),
        Found::NotSerializable => Ok(Status::SerializationFailure.into()),
    }
}

/// Other plugins of the stream can read it back by the same path.
fn set_property(mut env: Env<'_>, path: u32, path_size: u32, value: u32, value_size: u32) -> Answer {
    answer(&mut env, |memory, state| {
        let (path, value) = (slice(memory, path, path_size)?, slice(memory, value, value_size)?);
        Ok(set(state, path, value))
    })
}

/// Sets a property of the effective stream.
pub(super) fn set(state: &VmState, path: &[u8], value: &[u8]) -> Status {
    let limit = state.limits.body;
    let set = state.on_stream(|stream, _| {
        let others = stream.properties.iter().filter(|(known, _)| known != path);
        let size = others.fold(0, |size: usize, (path, value)| size.saturating_add(path.len() + value.len()));
        if size.saturating_add(path.len()).saturating_add(value.len()) > limit {
            return Status::InternalFailure;
        }
        let full = stream.properties.len() >= MAX_PROPERTIES;
        match stream.properties.iter_mut().find(|(known, _)| known == path) {
            Some((_, old)) => *old = value.to_vec(),
            None if full => return Status::InternalFailure,
            None => stream.properties.push((path.to_vec(), value.to_vec())),
        }
        Status::Ok
    });
    set.unwrap_or(Status::NotFound)
}
