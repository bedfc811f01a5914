//! Buffers: bodies, data of TCP connections, configurations, what calls brought.

use crate::wasm::abi::memory::{Env, Out, answer, copy, give, place, slice, split, write_u32};
use crate::wasm::abi::status::{Answer, Buffer, Status};
use crate::wasm::body_buffer::BodyBuffer;
use crate::wasm::stream_context::{Access, Direction, Slot};
use crate::wasm::vm_state::{Received, Stage, VmState};
use wasmtime::Linker;

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker
        .func_wrap("env", "proxy_get_buffer_bytes", get_bytes)?
        .func_wrap("env", "proxy_get_buffer_status", get_status)?
        .func_wrap("env", "proxy_set_buffer_bytes", set_bytes)?
        .func_wrap("env", "proxy_get_configuration", get_configuration)?;
    Ok(())
}

/// Which body of a stream a buffer is, if it is one.
fn direction(buffer: Buffer) -> Option<Direction> {
    match buffer {
        Buffer::RequestBody | Buffer::DownstreamData => Some(Direction::Request),
        Buffer::ResponseBody | Buffer::UpstreamData => Some(Direction::Response),
        _ => None,
    }
}

/// The body that a buffer is, in the hands of the effective stream: HTTP streams have no data of TCP connections, nor
/// the other way round.
fn on_body<R>(state: &VmState, buffer: Buffer, look: impl FnOnce(&mut Slot, usize) -> R) -> Option<R> {
    let tcp = matches!(buffer, Buffer::DownstreamData | Buffer::UpstreamData);
    let direction = direction(buffer)?;
    let of_stream = state.on_stream(|stream, slot| {
        let slot = stream.slots.get_mut(slot).filter(|_| stream.protocol.is_empty() == tcp)?;
        Some(look(slot, direction as usize))
    });
    of_stream.flatten()
}

/// The size of a buffer. Bodies that are not there are empty.
fn size(state: &VmState, buffer: Buffer) -> Result<usize, Status> {
    if direction(buffer).is_none() {
        return bytes(state, buffer).map(<[u8]>::len);
    }
    let size = on_body(state, buffer, |slot, direction| slot.bodies.get(direction).map_or(0, BodyBuffer::len));
    Ok(size.unwrap_or(0))
}

/// A buffer that is one piece.
fn bytes(state: &VmState, buffer: Buffer) -> Result<&[u8], Status> {
    let settings = state.root.as_ref().map_or(&state.settings, |root| &root.settings);
    match (buffer, &state.received) {
        (Buffer::VmConfiguration, _) => Ok(&settings.vm_configuration),
        (Buffer::PluginConfiguration, _) if state.stage == Stage::Configure => Ok(&settings.configuration),
        (Buffer::HttpCallBody, Some(Received::Http(response))) => Ok(&response.body),
        (Buffer::GrpcMessage, Some(Received::GrpcMessage(message))) => Ok(message),
        (Buffer::GrpcMessage | Buffer::ForeignArguments, _) => Ok(&[]),
        _ => Err(Status::NotFound),
    }
}

fn get_bytes(mut env: Env<'_>, buffer: u32, start: u32, length: u32, out: u32, out_size: u32) -> Answer {
    let (_, state) = split(&mut env)?;
    let Some(buffer) = Buffer::from_number(buffer) else {
        return Ok(Status::BadArgument.into());
    };
    let whole = match size(state, buffer) {
        Ok(size) => size,
        Err(status) => return Ok(status.into()),
    };
    let start = start as usize;
    let given = whole.saturating_sub(start).min(length as usize);
    give(&mut env, Out { pointer: out, length: out_size }, given, |state, place| {
        if direction(buffer).is_some() {
            let read =
                |slot: &mut Slot, direction: usize| slot.bodies.get(direction).map(|body| body.read(start, place));
            return on_body(state, buffer, read).flatten().map(|_| ());
        }
        copy(bytes(state, buffer).ok()?.get(start..)?.get(..place.len())?, place)
    })
}

fn get_status(mut env: Env<'_>, buffer: u32, length: u32, flags: u32) -> Answer {
    answer(&mut env, |memory, state| {
        let Some(buffer) = Buffer::from_number(buffer) else {
            return Ok(Status::BadArgument);
        };
        let size = match size(state, buffer) {
            Ok(size) => size,
            Err(status) => return Ok(status),
        };
        place(memory, length, 4)?;
        write_u32(memory, flags, 0)?;
        write_u32(memory, length, u32::try_from(size).unwrap_or(u32::MAX))?;
        Ok(Status::Ok)
    })
}

/// Prepends (0, 0), replaces a prefix or all (0, n), or appends (at the end or beyond): as Envoy. Nothing is inserted
/// in the middle.
fn set_bytes(mut env: Env<'_>, buffer: u32, start: u32, length: u32, data: u32, data_size: u32) -> Answer {
    answer(&mut env, |memory, state| {
        let Some(buffer) = Buffer::from_number(buffer) else {
            return Ok(Status::BadArgument);
        };
        let data = slice(memory, data, data_size)?;
        let Some(direction) = direction(buffer) else {
            let missing = buffer == Buffer::PluginConfiguration && state.stage != Stage::Configure;
            return Ok(if missing { Status::NotFound } else { Status::BadArgument });
        };
        let limit = state.limits.body;
        let needed = if direction == Direction::Request { Access::REQUEST_BODY } else { Access::RESPONSE_BODY };
        let edited = on_body(state, buffer, |slot, direction| {
            let allowed = slot.access.has(needed);
            let Some(body) = slot.bodies.get_mut(direction).filter(|_| allowed) else {
                return Status::BadArgument;
            };
            let (start, length) = (start as usize, length as usize);
            if start > 0 && start < body.len() {
                return Status::BadArgument;
            }
            let kept = if start == 0 { body.len().saturating_sub(length) } else { body.len() };
            if kept.saturating_add(data.len()) > limit.max(body.len()) {
                return Status::InternalFailure;
            }
            match start {
                0 => body.replace_prefix(length.min(body.len()), data),
                _ => body.push(bytes::Bytes::copy_from_slice(data)),
            }
            if let Some(edited) = slot.body_edited.get_mut(direction) {
                *edited = true;
            }
            Status::Ok
        });
        Ok(edited.unwrap_or(Status::BadArgument))
    })
}

/// ABI 0.1.0: the configuration of the VM in `on_vm_start`, of the plugin after.
fn get_configuration(mut env: Env<'_>, out: u32, out_size: u32) -> Answer {
    let (_, state) = split(&mut env)?;
    let settings = state.root.as_ref().map_or(&state.settings, |root| &root.settings).clone();
    let bytes = if state.stage == Stage::Start { &settings.vm_configuration } else { &settings.configuration };
    crate::wasm::abi::memory::give_bytes(&mut env, Out { pointer: out, length: out_size }, bytes)
}
