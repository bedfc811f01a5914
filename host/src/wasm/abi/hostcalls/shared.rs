//! Shared data and queues.

use crate::wasm::abi::memory::{Env, Out, answer, give_bytes, place, slice, split, write_u32};
use crate::wasm::abi::status::{Answer, Status};
use crate::wasm::shared_state::QueueReady;
use crate::wasm::vm_state::VmState;
use wasmtime::Linker;

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker
        .func_wrap("env", "proxy_get_shared_data", get_shared_data)?
        .func_wrap("env", "proxy_set_shared_data", set_shared_data)?
        .func_wrap("env", "proxy_register_shared_queue", register)?
        .func_wrap("env", "proxy_resolve_shared_queue", resolve)?
        .func_wrap("env", "proxy_enqueue_shared_queue", enqueue)?
        .func_wrap("env", "proxy_dequeue_shared_queue", dequeue)?;
    Ok(())
}

fn get_shared_data(mut env: Env<'_>, key: u32, key_size: u32, value: u32, value_size: u32, cas: u32) -> Answer {
    let (memory, state) = split(&mut env)?;
    let Ok(key) = slice(memory, key, key_size) else {
        return Ok(Status::InvalidMemoryAccess.into());
    };
    let Some((found, number)) = state.shared.get(state.settings.vm_id.as_bytes(), key) else {
        return Ok(Status::NotFound.into());
    };
    let out = Out { pointer: value, length: value_size };
    if out.check(memory).is_err() || write_u32(memory, cas, number).is_err() {
        return Ok(Status::InvalidMemoryAccess.into());
    }
    give_bytes(&mut env, out, &found)
}

fn set_shared_data(mut env: Env<'_>, key: u32, key_size: u32, value: u32, value_size: u32, cas: u32) -> Answer {
    answer(&mut env, |memory, state| {
        let (key, value) = (slice(memory, key, key_size)?, slice(memory, value, value_size)?);
        Ok(state.shared.set(state.settings.vm_id.as_bytes(), key, value, cas, &state.limits))
    })
}

fn register(mut env: Env<'_>, name: u32, name_size: u32, out: u32) -> Answer {
    answer(&mut env, |memory, state| {
        place(memory, out, 4)?;
        let name = slice(memory, name, name_size)?;
        let root = state.root.as_ref().map_or(0, |root| root.id);
        let owner = QueueReady { vm: state.number, root, queue: 0 };
        let vm_id = state.settings.vm_id.as_bytes();
        let Some(id) = state.shared.register(vm_id, name, owner, state.services.mailbox(), &state.limits) else {
            return Ok(Status::InternalFailure);
        };
        write_u32(memory, out, id)?;
        Ok(Status::Ok)
    })
}

/// An empty `vm_id` is the guest's own.
fn resolve(mut env: Env<'_>, vm_id: u32, vm_id_size: u32, name: u32, name_size: u32, out: u32) -> Answer {
    answer(&mut env, |memory, state| {
        let (vm_id, name) = (slice(memory, vm_id, vm_id_size)?, slice(memory, name, name_size)?);
        let vm_id = if vm_id.is_empty() { state.settings.vm_id.as_bytes() } else { vm_id };
        let Some(id) = state.shared.resolve(vm_id, name) else {
            return Ok(Status::NotFound);
        };
        write_u32(memory, out, id)?;
        Ok(Status::Ok)
    })
}

fn enqueue(mut env: Env<'_>, id: u32, item: u32, item_size: u32) -> Answer {
    answer(&mut env, |memory, state| Ok(state.shared.enqueue(id, slice(memory, item, item_size)?, &state.limits)))
}

fn dequeue(mut env: Env<'_>, id: u32, item: u32, item_size: u32) -> Answer {
    let (memory, state) = split(&mut env)?;
    let out = Out { pointer: item, length: item_size };
    if out.check(memory).is_err() {
        return Ok(Status::InvalidMemoryAccess.into());
    }
    match state.shared.dequeue(id) {
        Ok(bytes) => give_bytes(&mut env, out, &bytes),
        Err(status) => Ok(status.into()),
    }
}
