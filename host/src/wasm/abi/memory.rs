//! Guest memory as hostcalls use it: every pointer is checked, and nothing is held across a call into the guest.

use crate::wasm::abi::status::{Answer, Status};
use crate::wasm::vm_state::{Stage, VmState};
use wasmtime::Caller;

/// What a hostcall gets of its VM.
pub(crate) type Env<'a> = Caller<'a, VmState>;

/// A pointer or length of the guest lies outside its memory.
pub(crate) struct OutOfBounds;

/// What a hostcall that looks at memory results in.
pub(crate) type Looked = Result<Status, OutOfBounds>;

/// The guest's memory, and the state behind the hostcalls.
///
/// # Errors
/// Ends a guest that makes hostcalls before it is initialised, or while it is asked for memory: what the memory is for
/// would be another thing then.
pub(crate) fn split<'e>(env: &'e mut Env<'_>) -> wasmtime::Result<(&'e mut [u8], &'e mut VmState)> {
    match env.data().allocate {
        Some(_) => split_early(env),
        None => Err(not_now(env.data())),
    }
}

#[cold]
fn not_now(state: &VmState) -> wasmtime::Error {
    wasmtime::Error::msg(match state.stage {
        Stage::Initialize => "a hostcall other than proxy_log before the VM was started",
        _ => "the allocator makes hostcalls other than proxy_log",
    })
}

/// As [`split`], for what may be called at any time.
pub(crate) fn split_early<'e>(env: &'e mut Env<'_>) -> wasmtime::Result<(&'e mut [u8], &'e mut VmState)> {
    let memory = env.data().memory.ok_or_else(|| wasmtime::Error::msg("a hostcall before memory was there"))?;
    Ok(memory.data_and_store_mut(env))
}

/// Runs a hostcall that does not call back into the guest.
pub(crate) fn answer(env: &mut Env<'_>, call: impl FnOnce(&mut [u8], &mut VmState) -> Looked) -> Answer {
    let (memory, state) = split(env)?;
    Ok(call(memory, state).unwrap_or(Status::InvalidMemoryAccess).into())
}

/// Bytes of guest memory.
pub(crate) fn slice(memory: &[u8], start: u32, length: u32) -> Result<&[u8], OutOfBounds> {
    let (start, length) = (start as usize, length as usize);
    start.checked_add(length).and_then(|end| memory.get(start..end)).ok_or(OutOfBounds)
}

/// Bytes of guest memory, to write.
pub(crate) fn slice_mut(memory: &mut [u8], start: u32, length: u32) -> Result<&mut [u8], OutOfBounds> {
    let (start, length) = (start as usize, length as usize);
    start.checked_add(length).and_then(|end| memory.get_mut(start..end)).ok_or(OutOfBounds)
}

/// Whether there is a place for a number of four bytes (or eight): looked at before anything is done whose result goes
/// there.
pub(crate) fn place(memory: &[u8], at: u32, size: u32) -> Result<(), OutOfBounds> {
    slice(memory, at, size).map(|_| ())
}

/// Writes a number at a place the guest named.
pub(crate) fn write_u32(memory: &mut [u8], at: u32, number: u32) -> Result<(), OutOfBounds> {
    slice_mut(memory, at, 4).map(|place| place.copy_from_slice(&number.to_le_bytes()))
}

/// As [`write_u32`].
pub(crate) fn write_u64(memory: &mut [u8], at: u32, number: u64) -> Result<(), OutOfBounds> {
    slice_mut(memory, at, 8).map(|place| place.copy_from_slice(&number.to_le_bytes()))
}

/// Where a guest wants to be told of a value: a place for the pointer, one for the length.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    pub(crate) pointer: u32,
    pub(crate) length: u32,
}

impl Out {
    /// Tells of a value that is there already.
    pub(crate) fn write(self, memory: &mut [u8], pointer: u32, length: u32) -> Result<(), OutOfBounds> {
        write_u32(memory, self.pointer, pointer)?;
        write_u32(memory, self.length, length)
    }

    /// Whether both places are in memory: known before anything is allocated, or taken out of a queue.
    pub(crate) fn check(self, memory: &[u8]) -> Result<(), OutOfBounds> {
        place(memory, self.pointer, 4)?;
        place(memory, self.length, 4)
    }
}

/// Gives the guest `size` bytes that `fill` writes straight into its memory, in a place that the guest's allocator
/// chose. No bytes are pointer 0 and length 0, without asking the allocator.
pub(crate) fn give(
    env: &mut Env<'_>,
    out: Out,
    size: usize,
    fill: impl FnOnce(&mut VmState, &mut [u8]) -> Option<()>,
) -> Answer {
    let (memory, _) = split(env)?;
    if out.check(memory).is_err() {
        return Ok(Status::InvalidMemoryAccess.into());
    }
    if size == 0 {
        return Ok(out.write(memory, 0, 0).map_or(Status::InvalidMemoryAccess, |()| Status::Ok).into());
    }
    give_some(env, out, size, fill)
}

/// As [`give`], of at least one byte, where the guest's places are known to be in memory.
pub(crate) fn give_some(
    env: &mut Env<'_>,
    out: Out,
    size: usize,
    fill: impl FnOnce(&mut VmState, &mut [u8]) -> Option<()>,
) -> Answer {
    let Ok(length) = u32::try_from(size) else {
        return Ok(Status::InternalFailure.into());
    };
    let Some(allocate) = env.data_mut().allocate.take() else {
        return Err(not_now(env.data()));
    };
    let allocated = allocate.call(&mut *env, length);
    env.data_mut().allocate = Some(allocate);
    let pointer = allocated?;
    let (memory, state) = split_early(env)?;
    let filled = match slice_mut(memory, pointer, length) {
        Ok(place) if pointer != 0 => fill(state, place),
        _ => return Err(wasmtime::Error::msg(format!("the allocator has no place for {size} bytes: {pointer:#x}"))),
    };
    if filled.is_none() {
        return Ok(Status::InternalFailure.into());
    }
    Ok(out.write(memory, pointer, length).map_or(Status::InvalidMemoryAccess, |()| Status::Ok).into())
}

/// As [`give`], of bytes that are at hand.
pub(crate) fn give_bytes(env: &mut Env<'_>, out: Out, bytes: &[u8]) -> Answer {
    give(env, out, bytes.len(), |_, place| copy(bytes, place))
}

/// Copies what fits exactly.
pub(crate) fn copy(from: &[u8], to: &mut [u8]) -> Option<()> {
    (from.len() == to.len()).then(|| to.copy_from_slice(from))
}
