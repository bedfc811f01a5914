//! WASI preview 1, as far as a plugin needs it: output becomes log lines, time and randomness are real, there are no
//! files and no sockets. Every name is defined, since a missing import keeps a module from loading.

use crate::wasm::abi::hostcalls::system::log_line;
use crate::wasm::abi::memory::{Env, OutOfBounds, place, slice, slice_mut, split_early, write_u32, write_u64};
use crate::wasm::services::LogLevel;
use crate::wasm::vm_state::VmState;
use std::time::UNIX_EPOCH;
use wasmtime::Linker;

/// Error numbers of WASI.
const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
const NOENT: u32 = 44;
const NOSYS: u32 = 52;
const NOTSUP: u32 = 58;

/// The most random bytes in one call.
const MAX_RANDOM: u32 = 64 << 10;

type Errno = wasmtime::Result<u32>;

/// Both names under which toolchains import it.
const MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

pub(crate) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    for module in MODULES {
        linker
            .func_wrap(module, "fd_write", fd_write)?
            .func_wrap(module, "fd_pwrite", |env: Env<'_>, fd: u32, data: u32, count: u32, _: u64, out: u32| {
                fd_write(env, fd, data, count, out)
            })?
            .func_wrap(module, "clock_time_get", clock_time_get)?
            .func_wrap(module, "clock_res_get", clock_res_get)?
            .func_wrap(module, "random_get", random_get)?
            .func_wrap(module, "environ_sizes_get", environ_sizes_get)?
            .func_wrap(module, "environ_get", environ_get)?
            .func_wrap(module, "args_sizes_get", |env: Env<'_>, count: u32, size: u32| {
                looked(env, |memory, _| {
                    place(memory, count, 4)?;
                    write_u32(memory, size, 0)?;
                    write_u32(memory, count, 0)
                })
            })?
            .func_wrap(module, "args_get", |_: u32, _: u32| SUCCESS)?
            .func_wrap(module, "sched_yield", || SUCCESS)?
            .func_wrap(module, "poll_oneoff", |env: Env<'_>, _: u32, _: u32, _: u32, events: u32| {
                looked(env, |memory, _| write_u32(memory, events, 0))
            })?
            .func_wrap(module, "proc_exit", proc_exit)?
            .func_wrap(module, "proc_raise", |_: u32| NOSYS)?;
        files(linker, module)?;
        paths_and_sockets(linker, module)?;
    }
    Ok(())
}

/// Descriptors: 1 and 2 can be written to, no other is there.
fn files(linker: &mut Linker<VmState>, module: &str) -> wasmtime::Result<()> {
    let output = |fd: u32| if fd == 1 || fd == 2 { SUCCESS } else { BADF };
    linker
        .func_wrap(module, "fd_read", |_: u32, _: u32, _: u32, _: u32| NOSYS)?
        .func_wrap(module, "fd_pread", |_: u32, _: u32, _: u32, _: u64, _: u32| NOSYS)?
        .func_wrap(module, "fd_seek", |env: Env<'_>, _: u32, _: u64, _: u32, out: u32| {
            looked(env, |memory, _| write_u64(memory, out, 0))
        })?
        .func_wrap(module, "fd_tell", |env: Env<'_>, _: u32, out: u32| {
            looked(env, |memory, _| write_u64(memory, out, 0))
        })?
        .func_wrap(module, "fd_close", |_: u32| SUCCESS)?
        .func_wrap(module, "fd_fdstat_get", fd_fdstat_get)?
        .func_wrap(module, "fd_fdstat_set_flags", |_: u32, _: u32| NOSYS)?
        .func_wrap(module, "fd_fdstat_set_rights", move |fd: u32, _: u64, _: u64| output(fd))?
        .func_wrap(module, "fd_prestat_get", |_: u32, _: u32| BADF)?
        .func_wrap(module, "fd_prestat_dir_name", |_: u32, _: u32, _: u32| NOSYS)?
        .func_wrap(module, "fd_filestat_get", |_: u32, _: u32| BADF)?
        .func_wrap(module, "fd_filestat_set_size", move |fd: u32, _: u64| output(fd))?
        .func_wrap(module, "fd_filestat_set_times", move |fd: u32, _: u64, _: u64, _: u32| output(fd))?
        .func_wrap(module, "fd_advise", |_: u32, _: u64, _: u64, _: u32| SUCCESS)?
        .func_wrap(module, "fd_allocate", move |fd: u32, _: u64, _: u64| output(fd))?
        .func_wrap(module, "fd_datasync", move |fd: u32| output(fd))?
        .func_wrap(module, "fd_sync", move |fd: u32| output(fd))?
        .func_wrap(module, "fd_readdir", |env: Env<'_>, _: u32, _: u32, _: u32, _: u64, out: u32| {
            looked(env, |memory, _| write_u32(memory, out, 0)).map(|_| 20u32)
        })?
        .func_wrap(module, "fd_renumber", |_: u32, _: u32| BADF)?;
    Ok(())
}

fn paths_and_sockets(linker: &mut Linker<VmState>, module: &str) -> wasmtime::Result<()> {
    linker
        .func_wrap(module, "path_open", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32, _: u32| NOENT)?
        .func_wrap(module, "path_filestat_get", |_: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?
        .func_wrap(module, "path_filestat_set_times", |_: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32| NOTSUP)?
        .func_wrap(module, "path_create_directory", |_: u32, _: u32, _: u32| NOTSUP)?
        .func_wrap(module, "path_remove_directory", |_: u32, _: u32, _: u32| NOTSUP)?
        .func_wrap(module, "path_unlink_file", |_: u32, _: u32, _: u32| NOTSUP)?
        .func_wrap(module, "path_link", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?
        .func_wrap(module, "path_rename", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?
        .func_wrap(module, "path_symlink", |_: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?
        .func_wrap(module, "path_readlink", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?
        .func_wrap(module, "sock_accept", |_: u32, _: u32, _: u32| NOTSUP)?
        .func_wrap(module, "sock_recv", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?
        .func_wrap(module, "sock_send", |_: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?
        .func_wrap(module, "sock_shutdown", |_: u32, _: u32| NOTSUP)?;
    Ok(())
}

/// Runs a function that looks at memory; a pointer outside of it is EFAULT.
fn looked(mut env: Env<'_>, call: impl FnOnce(&mut [u8], &mut VmState) -> Result<(), OutOfBounds>) -> Errno {
    let (memory, state) = split_early(&mut env)?;
    Ok(call(memory, state).map_or(FAULT, |()| SUCCESS))
}

/// Standard output is a log line at info, standard error one at error.
fn fd_write(mut env: Env<'_>, fd: u32, vectors: u32, count: u32, out: u32) -> Errno {
    let (memory, state) = split_early(&mut env)?;
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Ok(BADF),
    };
    let Ok((line, written)) = gather(memory, vectors, count, state.limits.log_line) else {
        return Ok(FAULT);
    };
    log_line(state, level, line.strip_suffix(b"\n").unwrap_or(&line));
    Ok(write_u32(memory, out, written).map_or(FAULT, |()| SUCCESS))
}

/// What the vectors hold, up to a little more than a line may have, and how much it is in all.
fn gather(memory: &[u8], vectors: u32, count: u32, limit: usize) -> Result<(Vec<u8>, u32), OutOfBounds> {
    let size = count.checked_mul(8).ok_or(OutOfBounds)?;
    let (mut line, mut written) = (Vec::new(), 0u32);
    for vector in slice(memory, vectors, size)?.chunks_exact(8) {
        let number = |at: usize| vector.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let (Some(start), Some(length)) = (number(0), number(4)) else { return Err(OutOfBounds) };
        let bytes = slice(memory, u32::from_le_bytes(start), u32::from_le_bytes(length))?;
        let room = (limit + 1).saturating_sub(line.len()).min(bytes.len());
        line.extend_from_slice(bytes.get(..room).unwrap_or_default());
        written = written.saturating_add(u32::from_le_bytes(length));
    }
    Ok((line, written))
}

/// Clock 0 is the wall clock, 1 a monotonic one; guests' runtimes do not start with a clock that stands at 0.
fn clock_time_get(env: Env<'_>, clock: u32, _precision: u64, out: u32) -> Errno {
    if clock > 1 {
        return Ok(NOTSUP);
    }
    looked(env, |memory, state| {
        let time = match clock {
            0 => state.services.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos(),
            _ => state.services.monotonic().into(),
        };
        write_u64(memory, out, u64::try_from(time).unwrap_or(u64::MAX))
    })
}

fn clock_res_get(env: Env<'_>, clock: u32, out: u32) -> Errno {
    if clock > 1 {
        return Ok(NOTSUP);
    }
    looked(env, |memory, _| write_u64(memory, out, 1))
}

fn random_get(env: Env<'_>, out: u32, size: u32) -> Errno {
    if size > MAX_RANDOM {
        return Ok(INVAL);
    }
    looked(env, |memory, state| slice_mut(memory, out, size).map(|place| state.services.random(place)))
}

fn environ_sizes_get(env: Env<'_>, count: u32, size: u32) -> Errno {
    looked(env, |memory, state| {
        let variables = &state.settings.environment;
        let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        place(memory, count, 4)?;
        write_u32(memory, size, u32::try_from(bytes).unwrap_or(0))?;
        write_u32(memory, count, u32::try_from(variables.len()).unwrap_or(0))
    })
}

fn environ_get(env: Env<'_>, mut pointers: u32, mut texts: u32) -> Errno {
    looked(env, |memory, state| {
        for (name, value) in &state.settings.environment {
            let text = [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat();
            let size = u32::try_from(text.len()).map_err(|_| OutOfBounds)?;
            place(memory, pointers, 4)?;
            slice_mut(memory, texts, size)?.copy_from_slice(&text);
            write_u32(memory, pointers, texts)?;
            pointers = pointers.checked_add(4).ok_or(OutOfBounds)?;
            texts = texts.checked_add(size).ok_or(OutOfBounds)?;
        }
        Ok(())
    })
}

/// A character device that can be written to, for 1 and 2.
fn fd_fdstat_get(env: Env<'_>, fd: u32, out: u32) -> Errno {
    const CHARACTER_DEVICE: u8 = 2;
    const MAY_WRITE: u64 = 1 << 6;
    if fd != 1 && fd != 2 {
        return Ok(BADF);
    }
    looked(env, |memory, _| {
        let place = slice_mut(memory, out, 24)?;
        place.fill(0);
        if let Some(kind) = place.first_mut() {
            *kind = CHARACTER_DEVICE;
        }
        let rights = out.checked_add(8).ok_or(OutOfBounds)?;
        write_u64(memory, rights, MAY_WRITE)
    })
}

/// Ends the VM: a guest that leaves does not come back (in Envoy it does).
fn proc_exit(mut env: Env<'_>, code: u32) -> wasmtime::Result<()> {
    env.data_mut().exit = Some(format!("the guest called proc_exit({code})"));
    Err(wasmtime::Error::msg("proc_exit"))
}
