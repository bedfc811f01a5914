//! gRPC calls and streams that a guest begins. An id's two low bits: 1 a call, 2 a stream.

use crate::wasm::abi::header_pairs;
use crate::wasm::abi::hostcalls::http_call::{begin, refuse};
use crate::wasm::abi::memory::{Env, Looked, answer, place, slice, write_u32};
use crate::wasm::abi::status::{Answer, Map, Status};
use crate::wasm::root_context::RootContext;
use crate::wasm::services::{GrpcCall, GrpcEvent};
use crate::wasm::vm::Vm;
use crate::wasm::vm_state::{Received, VmState};
use bytes::Bytes;
use prost::Message;
use std::rc::Weak;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use wasmtime::Linker;

const CALL: u32 = 1;
const STREAM: u32 = 2;

/// The gRPC status of a call that ends well and brings nothing.
const INTERNAL: u32 = 13;

/// `envoy.config.core.v3.GrpcService`, as far as it names a cluster: what guests may hand over instead of a name.
#[derive(Clone, PartialEq, Message)]
struct GrpcService {
    #[prost(message, optional, tag = "1")]
    envoy_grpc: Option<EnvoyGrpc>,
}

#[derive(Clone, PartialEq, Message)]
struct EnvoyGrpc {
    #[prost(string, tag = "1")]
    cluster_name: String,
}

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker
        .func_wrap("env", "proxy_grpc_call", grpc_call)?
        .func_wrap("env", "proxy_grpc_stream", grpc_stream)?
        .func_wrap("env", "proxy_grpc_send", grpc_send)?
        .func_wrap("env", "proxy_grpc_cancel", |env: Env<'_>, id: u32| end(env, id, true))?
        .func_wrap("env", "proxy_grpc_close", |env: Env<'_>, id: u32| end(env, id, false))?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn grpc_call(
    mut env: Env<'_>,
    cluster: u32,
    cluster_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    message: u32,
    message_size: u32,
    timeout: u32,
    out: u32,
) -> Answer {
    answer(&mut env, |memory, state| {
        let message = Bytes::copy_from_slice(slice(memory, message, message_size)?);
        let timeout = Some(Duration::from_millis(timeout.into())).filter(|timeout| !timeout.is_zero());
        let texts = [(cluster, cluster_size), (service, service_size), (method, method_size)];
        start(memory, state, texts, (metadata, metadata_size), timeout, Some(message), out)
    })
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn grpc_stream(
    mut env: Env<'_>,
    cluster: u32,
    cluster_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    out: u32,
) -> Answer {
    answer(&mut env, |memory, state| {
        let texts = [(cluster, cluster_size), (service, service_size), (method, method_size)];
        start(memory, state, texts, (metadata, metadata_size), None, None, out)
    })
}

/// Begins a call (with its message) or a stream.
fn start(
    memory: &mut [u8],
    state: &mut VmState,
    texts: [(u32, u32); 3],
    metadata: (u32, u32),
    timeout: Option<Duration>,
    message: Option<Bytes>,
    out: u32,
) -> Looked {
    place(memory, out, 4)?;
    let [cluster, service, method] = texts.map(|(start, size)| slice(memory, start, size));
    let (cluster, service, method) = (cluster?, str::from_utf8(service?), str::from_utf8(method?));
    let metadata = header_pairs::decode(slice(memory, metadata.0, metadata.1)?);
    let (Ok(service), Ok(method), Some(metadata)) = (service, method, metadata) else {
        return refuse(memory, out, Status::BadArgument);
    };
    let Some(cluster) = cluster_name(state, cluster) else {
        return refuse(memory, out, Status::ParseFailure);
    };
    if message.as_ref().is_some_and(|message| message.len() > state.limits.body) {
        return refuse(memory, out, Status::InternalFailure);
    }
    let (service, method) = (service.to_owned(), method.to_owned());
    let call = GrpcCall { cluster, service, method, metadata, timeout };
    let class = if message.is_some() { CALL } else { STREAM };
    let (messages, queued) = unbounded_channel();
    if let Some(message) = message {
        // Its receiver is right here.
        let _ = messages.send((message, true));
    }
    let begun = begin(state, class, Some(messages), |state, id, vm, root| {
        let events = state.services.grpc_call(call, queued);
        tell(vm, root, id, events)
    });
    match begun {
        Ok(id) => {
            write_u32(memory, out, id)?;
            Ok(Status::Ok)
        }
        Err(status) => refuse(memory, out, status),
    }
}

/// The cluster that a guest names, or describes as a serialised GrpcService.
fn cluster_name(state: &VmState, bytes: &[u8]) -> Option<String> {
    let plain = str::from_utf8(bytes).ok().filter(|name| state.services.has_cluster(name)).map(str::to_owned);
    plain.or_else(|| {
        let name = GrpcService::decode(bytes).ok()?.envoy_grpc?.cluster_name;
        state.services.has_cluster(&name).then_some(name)
    })
}

/// Tells the root context what comes back. Of a stream everything; of a call its message once it has ended well, or
/// else its end alone: a message with an error behind it is none.
async fn tell(vm: Weak<Vm>, root: Weak<RootContext>, id: u32, mut events: UnboundedReceiver<GrpcEvent>) {
    let streaming = id & 3 == STREAM;
    let mut message = None;
    while let Some(event) = events.recv().await {
        let (Some(vm), Some(context)) = (vm.upgrade(), root.upgrade()) else { return };
        let last = matches!(event, GrpcEvent::Closed(..));
        let Some(event) = (if streaming { Some(event) } else { of_call(event, &mut message) }) else { continue };
        let delivered = deliver(&vm, &context, id, event);
        if delivered.is_err() || last {
            // Known to the guest until it has been told of its end.
            let ended = context.calls.borrow_mut().remove(&id);
            return drop(ended);
        }
    }
}

/// What a guest is told of a call (not a stream), and when.
fn of_call(event: GrpcEvent, message: &mut Option<Bytes>) -> Option<GrpcEvent> {
    match event {
        GrpcEvent::InitialMetadata(_) | GrpcEvent::TrailingMetadata(_) => None,
        GrpcEvent::Message(bytes) => {
            *message = Some(bytes);
            None
        }
        GrpcEvent::Closed(0, _) => {
            Some(message.take().map_or(GrpcEvent::Closed(INTERNAL, Vec::new()), GrpcEvent::Message))
        }
        failed @ GrpcEvent::Closed(..) => Some(failed),
    }
}

fn deliver(vm: &Vm, root: &RootContext, id: u32, event: GrpcEvent) -> Result<(), crate::wasm::Trapped> {
    let count = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    match event {
        GrpcEvent::InitialMetadata(metadata) => {
            let size = count(metadata.len());
            let received = Received::GrpcMetadata(Map::GrpcInitialMetadata, metadata);
            vm.deliver(root.id, received, |store, callbacks| match &callbacks.grpc_initial_metadata {
                Some(call) => call.call(store, (root.id, id, size)),
                None => Ok(()),
            })
        }
        GrpcEvent::Message(message) => {
            let size = count(message.len());
            vm.deliver(root.id, Received::GrpcMessage(message), |store, callbacks| match &callbacks.grpc_receive {
                Some(call) => call.call(store, (root.id, id, size)),
                None => Ok(()),
            })
        }
        GrpcEvent::TrailingMetadata(metadata) => {
            let size = count(metadata.len());
            let received = Received::GrpcMetadata(Map::GrpcTrailingMetadata, metadata);
            vm.deliver(root.id, received, |store, callbacks| match &callbacks.grpc_trailing_metadata {
                Some(call) => call.call(store, (root.id, id, size)),
                None => Ok(()),
            })
        }
        GrpcEvent::Closed(status, text) => {
            *root.last_status.borrow_mut() = (status, text);
            vm.enter(root.id, |store, callbacks| match &callbacks.grpc_close {
                Some(call) => call.call(store, (root.id, id, status)),
                None => Ok(()),
            })
        }
    }
}

fn grpc_send(mut env: Env<'_>, id: u32, message: u32, size: u32, end: u32) -> Answer {
    answer(&mut env, |memory, state| {
        let message = slice(memory, message, size)?;
        if id & 3 != STREAM {
            return Ok(Status::BadArgument);
        }
        if message.len() > state.limits.body {
            return Ok(Status::InternalFailure);
        }
        let sent = state.root.as_ref().and_then(|root| {
            let calls = root.calls.borrow();
            calls.get(&id)?.messages.as_ref()?.send((Bytes::copy_from_slice(message), end != 0)).ok()
        });
        Ok(sent.map_or(Status::NotFound, |()| Status::Ok))
    })
}

/// Cancels a call or stream, or half-closes a stream. No callback comes after a cancel.
fn end(mut env: Env<'_>, id: u32, cancel: bool) -> Answer {
    answer(&mut env, |_, state| {
        if id & 3 != CALL && id & 3 != STREAM {
            return Ok(Status::BadArgument);
        }
        let Some(root) = &state.root else { return Ok(Status::NotFound) };
        if !cancel && id & 3 == STREAM {
            let mut calls = root.calls.borrow_mut();
            let Some(call) = calls.get_mut(&id) else { return Ok(Status::NotFound) };
            call.messages = None;
            return Ok(Status::Ok);
        }
        let call = root.calls.borrow_mut().remove(&id);
        Ok(call.map_or(Status::NotFound, |_| Status::Ok))
    })
}
