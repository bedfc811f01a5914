//! Requests that a guest sends by itself.

use crate::wasm::abi::header_pairs;
use crate::wasm::abi::memory::{Env, OutOfBounds, answer, place, slice, write_u32};
use crate::wasm::abi::status::{Answer, Status};
use crate::wasm::root_context::{Call, RootContext};
use crate::wasm::services::{HttpCall, HttpCallResponse};
use crate::wasm::vm::Vm;
use crate::wasm::vm_state::{Received, VmState};
use bytes::Bytes;
use http_match::HeaderList;
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use wasmtime::Linker;

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_http_call", http_call)?;
    Ok(())
}

/// A call is the root context's: it goes on when its stream has ended. A failure comes back as a response.
#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn http_call(
    mut env: Env<'_>,
    cluster: u32,
    cluster_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout: u32,
    out: u32,
) -> Answer {
    answer(&mut env, |memory, state| {
        place(memory, out, 4)?;
        let cluster = str::from_utf8(slice(memory, cluster, cluster_size)?);
        let headers = header_pairs::decode(slice(memory, headers, headers_size)?);
        let body = slice(memory, body, body_size)?;
        let trailers = header_pairs::decode(slice(memory, trailers, trailers_size)?);
        let (Ok(cluster), Some(headers), Some(trailers)) = (cluster, headers, trailers) else {
            return refuse(memory, out, Status::BadArgument);
        };
        let complete = [":method", ":path", ":authority"].iter().all(|name| headers.get(name).is_some());
        if !complete || i32::try_from(timeout).is_err() || !state.services.has_cluster(cluster) {
            return refuse(memory, out, Status::BadArgument);
        }
        if body.len() > state.limits.body {
            return refuse(memory, out, Status::InternalFailure);
        }
        let timeout = Some(Duration::from_millis(timeout.into())).filter(|timeout| !timeout.is_zero());
        let body = Bytes::copy_from_slice(body);
        let call = HttpCall { cluster: cluster.to_owned(), headers: framed(headers, &body), body, trailers, timeout };
        match begin(state, 0, None, |state, id, vm, root| {
            let response = state.services.http_call(call);
            async move { complete_call(&vm, &root, id, response.await) }
        }) {
            Ok(id) => {
                write_u32(memory, out, id)?;
                Ok(Status::Ok)
            }
            Err(status) => refuse(memory, out, status),
        }
    })
}

/// What the body's length is the host says, not the guest.
fn framed(mut headers: HeaderList, body: &Bytes) -> HeaderList {
    headers.retain(|name, _| name != b"content-length" && name != b"transfer-encoding");
    if !body.is_empty() {
        headers.add("content-length", body.len().to_string().as_bytes());
    }
    headers
}

/// A call that is not begun has the id 0.
pub(super) fn refuse(memory: &mut [u8], out: u32, status: Status) -> Result<Status, OutOfBounds> {
    write_u32(memory, out, 0)?;
    Ok(status)
}

/// Begins a call of a class (0 HTTP, 1 gRPC call, 2 gRPC stream): its id. Its task ends with the root context.
pub(super) fn begin<F: Future<Output = ()> + 'static>(
    state: &mut VmState,
    class: u32,
    messages: Option<UnboundedSender<(Bytes, bool)>>,
    task: impl FnOnce(&VmState, u32, Weak<Vm>, Weak<RootContext>) -> F,
) -> Result<u32, Status> {
    let root = state.root.clone().ok_or(Status::InternalFailure)?;
    let limits = &state.limits;
    let of_stream = limits.calls_of_stream;
    let counted = state.on_slot(|slot| {
        let room = slot.calls < of_stream;
        slot.calls += usize::from(room);
        room
    });
    if counted == Some(false) || root.calls.borrow().len() >= limits.calls {
        return Err(Status::InternalFailure);
    }
    let begun = state.begun.get_mut(class as usize).ok_or(Status::InternalFailure)?;
    let number = begun.checked_add(1).ok_or(Status::InternalFailure)?;
    let id = number.checked_mul(4).ok_or(Status::InternalFailure)? | class;
    *begun = number;
    let task = task(state, id, state.vm.clone(), Rc::downgrade(&root));
    let task = tokio::task::spawn_local(task).abort_handle();
    let stream = state.stream.as_ref().map(|context| (Rc::downgrade(&context.stream), context.slot));
    root.calls.borrow_mut().insert(id, Call { task, messages, stream });
    Ok(id)
}

/// Hands the answer to the root context, unless it has ended.
fn complete_call(vm: &Weak<Vm>, root: &Weak<RootContext>, id: u32, response: HttpCallResponse) {
    let (Some(vm), Some(root)) = (vm.upgrade(), root.upgrade()) else { return };
    let ended = root.calls.borrow_mut().remove(&id);
    if ended.is_none() {
        return;
    }
    let count = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let sizes = (count(response.headers.len()), count(response.body.len()), count(response.trailers.len()));
    // A guest that traps here has ended, and its streams have been told.
    let _ = vm.deliver(root.id, Received::Http(response), |store, callbacks| match &callbacks.http_call_response {
        Some(call) => call.call(store, (root.id, id, sizes.0, sizes.1, sizes.2)),
        None => Ok(()),
    });
}
