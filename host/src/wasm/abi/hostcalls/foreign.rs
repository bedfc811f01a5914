//! Foreign functions: what Envoy offers beside the ABI, by name. Its expressions (`expr_create` and the like) are not
//! here: a guest is told so, and the Common Expression Language would be as large as all the rest.

mod signatures;

use crate::wasm::abi::hostcalls::properties;
use crate::wasm::abi::memory::{Env, Out, give_bytes, slice, split};
use crate::wasm::abi::status::{Answer, Status};
use crate::wasm::vm_state::VmState;
use flate2::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};
use prost::Message;
use std::io::Read;
use wasmtime::Linker;

/// Declared properties of a VM, and the longest of their names.
const MAX_DECLARED: usize = 1000;
const LONGEST_NAME: usize = 256;

/// What a declared property looks like (`envoy.source.extensions.common.wasm.DeclarePropertyArguments`).
#[derive(Clone, PartialEq, Message)]
struct DeclareProperty {
    #[prost(string, tag = "1")]
    name: String,
}

/// `envoy.source.extensions.common.wasm.SetEnvoyFilterStateArguments`.
#[derive(Clone, PartialEq, Message)]
struct SetFilterState {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_call_foreign_function", call)?;
    Ok(())
}

fn call(mut env: Env<'_>, name: u32, name_size: u32, arguments: u32, size: u32, out: u32, out_size: u32) -> Answer {
    let (memory, state) = split(&mut env)?;
    let (Ok(name), Ok(arguments)) = (slice(memory, name, name_size), slice(memory, arguments, size)) else {
        return Ok(Status::InvalidMemoryAccess.into());
    };
    let result = match name {
        b"compress" => compress(arguments, state.limits.body),
        b"uncompress" => uncompress(arguments, state.limits.body),
        b"clear_route_cache" => {
            state.on_stream(|stream, _| stream.reroute = true);
            Ok(Vec::new())
        }
        b"declare_property" => declare_property(state, arguments),
        b"set_envoy_filter_state" => set_filter_state(state, arguments),
        b"verify_signature" => signatures::verify(arguments),
        b"sign" => signatures::sign(arguments),
        _ => return Ok(Status::NotFound.into()),
    };
    let (status, value) = match result {
        Ok(value) => (Status::Ok, value),
        Err(status) => (status, Vec::new()),
    };
    // Both places may be null: then the guest does not want the value.
    if out == 0 || out_size == 0 {
        return Ok(status.into());
    }
    let given = give_bytes(&mut env, Out { pointer: out, length: out_size }, &value)?;
    Ok(if status == Status::Ok { given } else { status.into() })
}

fn compress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Status> {
    read(ZlibEncoder::new(bytes, Compression::default()), limit)
}

fn uncompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Status> {
    read(ZlibDecoder::new(bytes), limit)
}

/// Reads to the end, but not beyond a bound: a few bytes can uncompress to gigabytes.
fn read(from: impl Read, limit: usize) -> Result<Vec<u8>, Status> {
    let mut out = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    from.take(bound).read_to_end(&mut out).map_err(|_| Status::SerializationFailure)?;
    if out.len() > limit { Err(Status::SerializationFailure) } else { Ok(out) }
}

/// Properties need no declaration here; twice the same name is an error, as in Envoy.
fn declare_property(state: &mut VmState, arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let arguments = DeclareProperty::decode(arguments).map_err(|_| Status::BadArgument)?;
    let known = &mut state.declared_properties;
    let named = (1..=LONGEST_NAME).contains(&arguments.name.len());
    if !named || known.len() >= MAX_DECLARED || !known.insert(arguments.name) {
        return Err(Status::BadArgument);
    }
    Ok(Vec::new())
}

/// Filter state is what properties are kept in: another plugin reads it as a property of that path.
fn set_filter_state(state: &VmState, arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let SetFilterState { path, value } = SetFilterState::decode(arguments).map_err(|_| Status::BadArgument)?;
    if path.is_empty() {
        return Err(Status::BadArgument);
    }
    match properties::set(state, path.as_bytes(), &value) {
        Status::Ok => Ok(Vec::new()),
        status => Err(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_bytes_come_back() {
        let text = b"outrigger".repeat(100);
        let small = compress(&text, 1 << 20).unwrap();
        assert!(small.len() < 100);
        assert_eq!(uncompress(&small, 1 << 20).unwrap(), text);
        assert_eq!(uncompress(b"no zlib", 1 << 20), Err(Status::SerializationFailure));
        assert_eq!(uncompress(&small, text.len() - 1), Err(Status::SerializationFailure), "a bound on what it makes");
    }
}
