//! Properties.

use crate::wasm::abi::memory::{Env, Out, answer, give, slice, split};
use crate::wasm::abi::status::{Answer, Status};
use crate::wasm::properties::{self, Found};
use crate::wasm::vm_state::VmState;
use wasmtime::Linker;

/// Bounds on what a stream's properties hold.
const MAX_PROPERTIES: usize = 100;
const MAX_SIZE: usize = 64 << 10;

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
        Found::Bytes(bytes) => give(&mut env, out, bytes.len(), |_, place| {
            place.copy_from_slice(&bytes);
            Some(())
        }),
        Found::Missing => Ok(Status::NotFound.into()),
        Found::NotSerializable => Ok(Status::SerializationFailure.into()),
    }
}

/// Other plugins of the stream can read it back by the same path.
fn set_property(mut env: Env<'_>, path: u32, path_size: u32, value: u32, value_size: u32) -> Answer {
    answer(&mut env, |memory, state| {
        let (path, value) = (slice(memory, path, path_size)?, slice(memory, value, value_size)?);
        let set = state.on_stream(|stream, _| {
            if path.len() + value.len() > MAX_SIZE {
                return Status::InternalFailure;
            }
            let full = stream.properties.len() >= MAX_PROPERTIES;
            match stream.properties.iter_mut().find(|(known, _)| known == path) {
                Some((_, old)) => {
                    old.clear();
                    old.extend_from_slice(value);
                }
                None if full => return Status::InternalFailure,
                None => stream.properties.push((path.to_vec(), value.to_vec())),
            }
            Status::Ok
        });
        Ok(set.unwrap_or(Status::NotFound))
    })
}
