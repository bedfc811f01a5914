//! Logs, time, the timer, the effective context, the end of a root context, the last call's status.

use crate::wasm::abi::memory::{Env, Out, answer, copy, give, slice, split, split_early, write_u32, write_u64};
use crate::wasm::abi::status::{Answer, Status};
use crate::wasm::root_context::Line;
use crate::wasm::services::LogLevel;
use crate::wasm::vm_state::VmState;
use std::time::{Duration, UNIX_EPOCH};
use wasmtime::Linker;

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker
        .func_wrap("env", "proxy_log", proxy_log)?
        .func_wrap("env", "proxy_get_log_level", proxy_get_log_level)?
        .func_wrap("env", "proxy_get_current_time_nanoseconds", proxy_get_current_time_nanoseconds)?
        .func_wrap("env", "proxy_set_tick_period_milliseconds", proxy_set_tick_period_milliseconds)?
        .func_wrap("env", "proxy_set_effective_context", proxy_set_effective_context)?
        .func_wrap("env", "proxy_done", proxy_done)?
        .func_wrap("env", "proxy_get_status", proxy_get_status)?
        .func_wrap("env", "pthread_equal", |left: u32, right: u32| u32::from(left == right))?
        .func_wrap("env", "emscripten_notify_memory_growth", |_: u32| {})?;
    Ok(())
}

fn proxy_log(mut env: Env<'_>, level: u32, message: u32, size: u32) -> Answer {
    let (memory, state) = split_early(&mut env)?;
    let Some(level) = LogLevel::from_number(level) else {
        return Ok(Status::BadArgument.into());
    };
    if level < state.services.log_level() {
        return Ok(slice(memory, message, size).map_or(Status::InvalidMemoryAccess, |_| Status::Ok).into());
    }
    let Ok(line) = slice(memory, message, size) else {
        return Ok(Status::InvalidMemoryAccess.into());
    };
    log_line(state, level, line);
    Ok(Status::Ok.into())
}

/// Writes a guest's line: cut, counted against the plugin's budget, control bytes escaped so that no guest forges a
/// line of the proxy's own.
pub(crate) fn log_line(state: &VmState, level: LogLevel, line: &[u8]) {
    let second = state.services.monotonic() / 1_000_000_000;
    let budget = state.root.as_ref().map_or(&state.early_log, |root| &root.log);
    let Line::Write { suppressed } = budget.take(second, state.limits.log_lines) else { return };
    if suppressed > 0 {
        state.log(LogLevel::Warn, &format!("{suppressed} more lines in one second were suppressed"));
    }
    let cut = line.get(..state.limits.log_line);
    let mut text = String::from_utf8_lossy(cut.unwrap_or(line)).into_owned();
    if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        text = text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    }
    if cut.is_some() && line.len() > state.limits.log_line {
        text.push('…');
    }
    state.log(level, &text);
}

fn proxy_get_log_level(mut env: Env<'_>, out: u32) -> Answer {
    answer(&mut env, |memory, state| {
        write_u32(memory, out, state.services.log_level() as u32)?;
        Ok(Status::Ok)
    })
}

fn proxy_get_current_time_nanoseconds(mut env: Env<'_>, out: u32) -> Answer {
    let (memory, state) = split_early(&mut env)?;
    let time = state.services.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let written = write_u64(memory, out, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    Ok(written.map_or(Status::InvalidMemoryAccess, |()| Status::Ok).into())
}

/// Always the root context's timer, also when a stream asks; 0 stops it.
fn proxy_set_tick_period_milliseconds(mut env: Env<'_>, milliseconds: u32) -> Answer {
    answer(&mut env, |_, state| {
        if let Some(root) = &state.root {
            root.set_period(&state.vm, Duration::from_millis(milliseconds.into()));
        }
        Ok(Status::Ok)
    })
}

/// Lasts until the guest returns. A stream that has ended is no context any more: BAD_ARGUMENT.
fn proxy_set_effective_context(mut env: Env<'_>, context: u32) -> Answer {
    answer(&mut env, |_, state| Ok(if state.select(context) { Status::Ok } else { Status::BadArgument }))
}

fn proxy_done(mut env: Env<'_>) -> Answer {
    let (_, state) = split(&mut env)?;
    let pending = state.root.as_ref().filter(|root| root.id == state.current && root.done_pending.replace(false));
    let Some(root) = pending else {
        return Ok(Status::NotFound.into());
    };
    // Deleted after the guest has returned.
    root.done.notify_one();
    Ok(Status::Ok.into())
}

/// The status of the last call's end, and its text; 0 and nothing before there is one.
fn proxy_get_status(mut env: Env<'_>, code: u32, text: u32, size: u32) -> Answer {
    let (memory, state) = split(&mut env)?;
    let root = state.root.clone();
    let (number, length) = root.as_ref().map_or((0, 0), |root| {
        let status = root.last_status.borrow();
        (status.0, status.1.len())
    });
    let out = Out { pointer: text, length: size };
    if out.check(memory).is_err() || write_u32(memory, code, number).is_err() {
        return Ok(Status::InvalidMemoryAccess.into());
    }
    give(&mut env, out, length, |_, place| copy(&root?.last_status.borrow().1, place))
}
