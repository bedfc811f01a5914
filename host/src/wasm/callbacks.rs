//! The functions a guest exports, resolved once per VM. One that is not exported, or not allowed, acts as "continue".

use crate::wasm::abi::status::AbiVersion;
use std::collections::BTreeSet;
use wasmtime::{AsContextMut, Instance, TypedFunc, WasmParams, WasmResults};

/// `None`: not exported, or not allowed.
type Callback<P, R> = Option<TypedFunc<P, R>>;

/// Callbacks of a guest.
pub(crate) struct Callbacks {
    pub(crate) context_create: Callback<(u32, u32), ()>,
    pub(crate) vm_start: Callback<(u32, u32), u32>,
    pub(crate) configure: Callback<(u32, u32), u32>,
    pub(crate) tick: Callback<u32, ()>,
    pub(crate) queue_ready: Callback<(u32, u32), ()>,
    pub(crate) new_connection: Callback<u32, u32>,
    /// Downstream data, upstream data.
    pub(crate) data: [Callback<(u32, u32, u32), u32>; 2],
    /// Downstream close, upstream close.
    pub(crate) connection_close: [Callback<(u32, u32), ()>; 2],
    /// By direction, as are the next two.
    pub(crate) headers: [Option<HeadersCallback>; 2],
    pub(crate) body: [Callback<(u32, u32, u32), u32>; 2],
    pub(crate) trailers: [Callback<(u32, u32), u32>; 2],
    pub(crate) http_call_response: Callback<(u32, u32, u32, u32, u32), ()>,
    pub(crate) grpc_initial_metadata: Callback<(u32, u32, u32), ()>,
    pub(crate) grpc_receive: Callback<(u32, u32, u32), ()>,
    pub(crate) grpc_trailing_metadata: Callback<(u32, u32, u32), ()>,
    pub(crate) grpc_close: Callback<(u32, u32, u32), ()>,
    pub(crate) done: Callback<u32, u32>,
    pub(crate) log: Callback<u32, ()>,
    pub(crate) delete: Callback<u32, ()>,
}

/// ABI 0.1.0 does not say whether the stream ends with its headers.
pub(crate) enum HeadersCallback {
    WithoutEnd(TypedFunc<(u32, u32), u32>),
    WithEnd(TypedFunc<(u32, u32, u32), u32>),
}

/// Finds exports, and keeps what is wrong with them.
struct Exports<'a, S> {
    instance: &'a Instance,
    store: S,
    allowed: &'a BTreeSet<String>,
    wrong: Vec<String>,
}

impl<S: AsContextMut> Exports<'_, S> {
    fn find<P: WasmParams, R: WasmResults>(&mut self, name: &str) -> Option<TypedFunc<P, R>> {
        if !self.allowed.is_empty() && !self.allowed.contains(name) {
            return None;
        }
        let function = self.instance.get_func(&mut self.store, name)?;
        match function.typed(&self.store) {
            Ok(function) => Some(function),
            Err(error) => {
                self.wrong.push(format!("{name}: {error}"));
                None
            }
        }
    }

    fn headers(&mut self, name: &str, abi: AbiVersion) -> Option<HeadersCallback> {
        match abi {
            AbiVersion::V0_1_0 => self.find(name).map(HeadersCallback::WithoutEnd),
            AbiVersion::V0_2_0 | AbiVersion::V0_2_1 => self.find(name).map(HeadersCallback::WithEnd),
        }
    }
}

impl Callbacks {
    /// Resolves them. A non-empty `allowed` names those that may be called.
    ///
    /// # Errors
    /// When exports have other signatures than the ABI's: all of them.
    pub(crate) fn resolve(
        instance: &Instance,
        store: impl AsContextMut,
        abi: AbiVersion,
        allowed: &BTreeSet<String>,
    ) -> Result<Self, String> {
        let mut exports = Exports { instance, store, allowed, wrong: Vec::new() };
        let callbacks = Self {
            context_create: exports.find("proxy_on_context_create"),
            vm_start: exports.find("proxy_on_vm_start"),
            configure: exports.find("proxy_on_configure"),
            tick: exports.find("proxy_on_tick"),
            queue_ready: exports.find("proxy_on_queue_ready"),
            new_connection: exports.find("proxy_on_new_connection"),
            data: [exports.find("proxy_on_downstream_data"), exports.find("proxy_on_upstream_data")],
            connection_close: [
                exports.find("proxy_on_downstream_connection_close"),
                exports.find("proxy_on_upstream_connection_close"),
            ],
            headers: [
                exports.headers("proxy_on_request_headers", abi),
                exports.headers("proxy_on_response_headers", abi),
            ],
            body: [exports.find("proxy_on_request_body"), exports.find("proxy_on_response_body")],
            trailers: [exports.find("proxy_on_request_trailers"), exports.find("proxy_on_response_trailers")],
            http_call_response: exports.find("proxy_on_http_call_response"),
            grpc_initial_metadata: exports.find("proxy_on_grpc_receive_initial_metadata"),
            grpc_receive: exports.find("proxy_on_grpc_receive"),
            grpc_trailing_metadata: exports.find("proxy_on_grpc_receive_trailing_metadata"),
            grpc_close: exports.find("proxy_on_grpc_close"),
            done: exports.find("proxy_on_done"),
            log: exports.find("proxy_on_log"),
            delete: exports.find("proxy_on_delete"),
        };
        if exports.wrong.is_empty() { Ok(callbacks) } else { Err(exports.wrong.join("; ")) }
    }
}
