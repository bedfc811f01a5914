//! Header maps.

use crate::wasm::abi::header_pairs;
use crate::wasm::abi::memory::{Env, Looked, Out, answer, copy, give, give_some, slice, split, write_u32};
use crate::wasm::abi::status::{AbiVersion, Answer, Map, Status};
use crate::wasm::limits::Limits;
use crate::wasm::stream_context::{Access, StreamState};
use crate::wasm::vm_state::{Received, VmState};
use http_match::HeaderList;
use wasmtime::Linker;

/// Fields of which a message has one: adding to them appends to the value, with a comma.
const SINGLE: [&[u8]; 12] = [
    b"host",
    b"content-length",
    b"content-type",
    b"transfer-encoding",
    b"connection",
    b"upgrade",
    b"te",
    b"expect",
    b"user-agent",
    b"x-request-id",
    b"x-forwarded-for",
    b"x-forwarded-proto",
];

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker
        .func_wrap("env", "proxy_get_header_map_value", get_value)?
        .func_wrap("env", "proxy_get_header_map_pairs", get_pairs)?
        .func_wrap("env", "proxy_get_header_map_size", get_size)?
        .func_wrap("env", "proxy_set_header_map_pairs", set_pairs)?
        .func_wrap("env", "proxy_add_header_map_value", add)?
        .func_wrap("env", "proxy_replace_header_map_value", replace)?
        .func_wrap("env", "proxy_remove_header_map_value", remove)?;
    Ok(())
}

/// Looks at a map, if it is there.
///
/// Request headers can be read as long as the stream lives: Envoy answers BAD_ARGUMENT in response callbacks, which
/// ends a guest of the Rust SDK.
pub(super) fn read<R>(state: &VmState, map: Map, look: impl FnOnce(&HeaderList) -> R) -> Option<R> {
    match (map, &state.received) {
        (Map::HttpCallHeaders, Some(Received::Http(response))) => return Some(look(&response.headers)),
        (Map::HttpCallTrailers, Some(Received::Http(response))) => return Some(look(&response.trailers)),
        (_, Some(Received::GrpcMetadata(which, metadata))) if map == *which => return Some(look(metadata)),
        _ => {}
    }
    state.on_stream(|stream, _| list(stream, map).map(look)).flatten()
}

fn list(stream: &StreamState, map: Map) -> Option<&HeaderList> {
    match map {
        Map::RequestHeaders => Some(&stream.request),
        Map::RequestTrailers => Some(&stream.request_trailers).filter(|list| !list.is_empty()),
        Map::ResponseHeaders => Some(&stream.response).filter(|list| !list.is_empty()),
        Map::ResponseTrailers => Some(&stream.response_trailers).filter(|list| !list.is_empty()),
        _ => None,
    }
}

/// How many fields and bytes a list has, or will have.
#[derive(Clone, Copy)]
struct Size {
    fields: usize,
    bytes: usize,
}

impl Size {
    fn of(list: &HeaderList) -> Self {
        Self { fields: list.len(), bytes: list.size() }
    }

    /// Of all headers but those of a name.
    fn without(list: &HeaderList, name: &[u8]) -> Self {
        let others = list.iter().filter(|(other, _)| !other.eq_ignore_ascii_case(name));
        others.fold(Self { fields: 0, bytes: 0 }, |size, (name, value)| size.and(name, value))
    }

    fn and(self, name: &[u8], value: &[u8]) -> Self {
        let bytes = self.bytes.saturating_add(name.len()).saturating_add(value.len());
        Self { fields: self.fields + 1, bytes }
    }

    /// Whether a list of another size may become one of this: what is too large already may at least shrink.
    fn is_allowed(self, before: Self, limits: &Limits) -> bool {
        (self.fields <= limits.header_fields.max(before.fields)) && self.bytes <= limits.header_bytes.max(before.bytes)
    }
}

/// Edits a map that is in the filter's hands, if it is not too large then. At most one field and `added` bytes come to
/// it; a whole new list is always counted.
fn edit(
    state: &VmState,
    map: Map,
    added: usize,
    after: impl FnOnce(&HeaderList) -> Size,
    edit: impl FnOnce(&mut HeaderList),
) -> Status {
    let needed = match map {
        Map::RequestHeaders => Access::REQUEST_HEADERS,
        Map::RequestTrailers => Access::REQUEST_TRAILERS,
        Map::ResponseHeaders => Access::RESPONSE_HEADERS,
        Map::ResponseTrailers => Access::RESPONSE_TRAILERS,
        _ => return Status::BadArgument,
    };
    let edited = state.on_stream(|stream, slot| {
        if !stream.slots.get(slot).is_some_and(|slot| slot.access.has(needed)) {
            return Status::BadArgument;
        }
        let list = match map {
            Map::RequestHeaders => &mut stream.request,
            Map::RequestTrailers => &mut stream.request_trailers,
            Map::ResponseHeaders => &mut stream.response,
            _ => &mut stream.response_trailers,
        };
        // What the list holds is never less than what its headers are: far from the bounds they need not be counted.
        let far =
            list.len() < state.limits.header_fields && list.held().saturating_add(added) <= state.limits.header_bytes;
        if !far && !after(list).is_allowed(Size::of(list), &state.limits) {
            return Status::InternalFailure;
        }
        edit(list);
        // What was replaced and removed stays in the list's buffer.
        if list.held() > state.limits.header_bytes.saturating_mul(4) {
            *list = compact(list);
        }
        stream.reroute |= map == Map::RequestHeaders;
        Status::Ok
    });
    edited.unwrap_or(Status::BadArgument)
}

fn compact(list: &HeaderList) -> HeaderList {
    let mut compact = HeaderList::with_capacity(list.len(), list.size());
    list.iter().for_each(|(name, value)| compact.append(name, value));
    compact
}

/// `host` is another name of `:authority`.
fn canonical(name: &[u8]) -> &[u8] {
    if name.eq_ignore_ascii_case(b"host") { b":authority" } else { name }
}

fn get_value(mut env: Env<'_>, map: u32, name: u32, name_size: u32, value: u32, value_size: u32) -> Answer {
    let (memory, state) = split(&mut env)?;
    let Some(map) = Map::from_number(map) else {
        return Ok(Status::BadArgument.into());
    };
    let Ok(name) = slice(memory, name, name_size) else {
        return Ok(Status::InvalidMemoryAccess.into());
    };
    let found = read(state, map, |list| {
        let index = list.position(canonical(name))?;
        Some((index, list.value_at(index)?.len()))
    });
    let out = Out { pointer: value, length: value_size };
    match found {
        Some(Some((index, size))) if size > 0 && out.check(memory).is_ok() => {
            give_some(&mut env, out, size, |state, place| {
                read(state, map, |list| list.value_at(index).and_then(|value| copy(value, place))).flatten()
            })
        }
        // Nothing to give, or no place to say where it is.
        Some(Some(_)) => give(&mut env, out, 0, |_, _| Some(())),
        // 0.1.0 has no "not found".
        Some(None) if state.abi == AbiVersion::V0_1_0 => give(&mut env, out, 0, |_, _| Some(())),
        Some(None) => Ok(Status::NotFound.into()),
        None if state.access().has(Access::LOG) => Ok(Status::NotFound.into()),
        None => Ok(Status::BadArgument.into()),
    }
}

fn get_pairs(mut env: Env<'_>, map: u32, pairs: u32, size: u32) -> Answer {
    let (_, state) = split(&mut env)?;
    let Some(map) = Map::from_number(map) else {
        return Ok(Status::BadArgument.into());
    };
    let encoded = read(state, map, |list| if list.is_empty() { 0 } else { header_pairs::encoded_size(list.iter()) });
    give(&mut env, Out { pointer: pairs, length: size }, encoded.unwrap_or(0), |state, place| {
        read(state, map, |list| header_pairs::encode(list.len(), list.iter(), place)).flatten()
    })
}

/// The bytes of names and values, not the number of headers: what Envoy answers.
fn get_size(mut env: Env<'_>, map: u32, out: u32) -> Answer {
    answer(&mut env, |memory, state| {
        let size = Map::from_number(map).and_then(|map| read(state, map, HeaderList::size));
        let Some(size) = size.and_then(|size| u32::try_from(size).ok()) else {
            return Ok(Status::BadArgument);
        };
        write_u32(memory, out, size)?;
        Ok(Status::Ok)
    })
}

/// Replaces a whole map. A malformed list changes nothing, where Envoy wipes the map and says OK.
fn set_pairs(mut env: Env<'_>, map: u32, pairs: u32, size: u32) -> Answer {
    answer(&mut env, |memory, state| {
        let Some(map) = Map::from_number(map) else {
            return Ok(Status::BadArgument);
        };
        let Some(new) = header_pairs::decode(slice(memory, pairs, size)?) else {
            return Ok(Status::BadArgument);
        };
        Ok(edit(
            state,
            map,
            usize::MAX,
            |_| Size::of(&new),
            |list| {
                list.clear();
                new.iter().for_each(|(name, value)| list.append(canonical(name), value));
            },
        ))
    })
}

fn add(mut env: Env<'_>, map: u32, name: u32, name_size: u32, value: u32, value_size: u32) -> Answer {
    let before = |list: &HeaderList, _: &[u8]| Size::of(list);
    write(&mut env, map, (name, name_size), (value, value_size), before, |list, name, value| {
        let single = name.starts_with(b":") || SINGLE.iter().any(|single| name.eq_ignore_ascii_case(single));
        match list.position(name).filter(|_| single) {
            Some(index) => {
                let old = list.at(index).map(|(_, old)| old).unwrap_or_default();
                let joined = [old, b",", value].concat();
                list.replace_at(index, &joined);
            }
            None => list.append(name, value),
        }
    })
}

/// Removes every header of the name and appends one; pseudo-headers stay where they are.
fn replace(mut env: Env<'_>, map: u32, name: u32, name_size: u32, value: u32, value_size: u32) -> Answer {
    write(&mut env, map, (name, name_size), (value, value_size), Size::without, |list, name, value| {
        match name.starts_with(b":").then(|| list.position(name)).flatten() {
            Some(index) => list.replace_at(index, value),
            None => {
                list.remove(name);
                list.append(name, value);
            }
        }
    })
}

fn remove(mut env: Env<'_>, map: u32, name: u32, name_size: u32) -> Answer {
    answer(&mut env, |memory, state| {
        let Some(map) = Map::from_number(map) else {
            return Ok(Status::BadArgument);
        };
        let name = canonical(slice(memory, name, name_size)?);
        Ok(edit(state, map, 0, Size::of, |list| list.remove(name)))
    })
}

fn write(
    env: &mut Env<'_>,
    map: u32,
    name: (u32, u32),
    value: (u32, u32),
    kept: impl FnOnce(&HeaderList, &[u8]) -> Size,
    write: impl FnOnce(&mut HeaderList, &[u8], &[u8]),
) -> Answer {
    answer(env, |memory, state| -> Looked {
        let Some(map) = Map::from_number(map) else {
            return Ok(Status::BadArgument);
        };
        let name = canonical(slice(memory, name.0, name.1)?);
        let value = slice(memory, value.0, value.1)?;
        let added = name.len().saturating_add(value.len());
        Ok(edit(state, map, added, |list| kept(list, name).and(name, value), |list| write(list, name, value)))
    })
}
