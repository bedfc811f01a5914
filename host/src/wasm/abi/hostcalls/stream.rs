//! What a guest does with its stream: lets it go on, ends it, answers it.

use crate::wasm::abi::header_pairs;
use crate::wasm::abi::memory::{Env, answer, slice};
use crate::wasm::abi::status::{Answer, Status};
use crate::wasm::stream_context::{Access, Direction, LocalReply, Slot};
use crate::wasm::vm_state::VmState;
use wasmtime::Linker;

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker
        .func_wrap("env", "proxy_continue_stream", continue_stream)?
        .func_wrap("env", "proxy_continue_request", |env: Env<'_>| continue_stream(env, 0))?
        .func_wrap("env", "proxy_continue_response", |env: Env<'_>| continue_stream(env, 1))?
        .func_wrap("env", "proxy_close_stream", close_stream)?
        .func_wrap("env", "proxy_send_local_response", send_local_response)?
        .func_wrap("env", "proxy_clear_route_cache", clear_route_cache)?;
    Ok(())
}

/// Asks something of the stream, which happens after the guest has returned. In a root context, and once the stream
/// has ended, it means nothing (Envoy crashes on a reply in `on_log`).
fn ask(state: &VmState, ask: impl FnOnce(&mut Slot)) -> Status {
    state.on_slot(|slot| {
        if !slot.access.has(Access::LOG) {
            ask(slot);
        }
    });
    // The stream may be another than the one being served.
    if let Some(context) = &state.stream {
        context.stream.wake();
    }
    Status::Ok
}

/// Streams: 0 request, 1 response, 2 downstream, 3 upstream.
fn continue_stream(mut env: Env<'_>, stream: u32) -> Answer {
    answer(&mut env, |_, state| {
        let direction = match stream {
            0 | 2 => Direction::Request,
            1 => Direction::Response,
            3 => return Ok(Status::Unimplemented),
            _ => return Ok(Status::BadArgument),
        };
        Ok(ask(state, |slot| {
            if let Some(resume) = slot.resume.get_mut(direction as usize) {
                *resume = true;
            }
        }))
    })
}

fn close_stream(mut env: Env<'_>, stream: u32) -> Answer {
    answer(&mut env, |_, state| {
        if stream > 3 {
            return Ok(Status::BadArgument);
        }
        Ok(ask(state, |slot| slot.close = true))
    })
}

fn clear_route_cache(mut env: Env<'_>) -> Answer {
    answer(&mut env, |_, state| {
        state.on_stream(|stream, _| stream.reroute = true);
        Ok(Status::Ok)
    })
}

/// The first reply that a callback asks for counts.
#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn send_local_response(
    mut env: Env<'_>,
    status: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc_status: i32,
) -> Answer {
    answer(&mut env, |memory, state| {
        let details = slice(memory, details, details_size)?;
        let body = slice(memory, body, body_size)?;
        let headers = header_pairs::decode(slice(memory, headers, headers_size)?);
        let status = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
        let (Some(status), Some(headers)) = (status, headers) else {
            return Ok(Status::BadArgument);
        };
        if body.len() > state.limits.body {
            return Ok(Status::InternalFailure);
        }
        let details = String::from_utf8_lossy(details);
        let details = details.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect();
        let grpc_status = u32::try_from(grpc_status).ok().filter(|status| *status <= 16);
        let reply = LocalReply { status, details, body: body.to_vec(), headers, grpc_status };
        Ok(ask(state, |slot| {
            slot.reply.get_or_insert_with(|| Box::new(reply));
        }))
    })
}
