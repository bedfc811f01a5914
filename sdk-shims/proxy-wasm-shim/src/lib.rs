//! `filter-api` over the Proxy-Wasm ABI 0.2.1: the only place in a module that knows it.
//!
//! Every hostcall returns a `Result`; whatever a host answers, and whenever it calls, nothing here ends the VM. That is
//! why the ABI is bound here and not through an SDK: SDK getters panic on a status they do not expect and on bytes
//! that are not UTF-8, and either kills the VM for every later request. It is also why a module exports only the
//! callbacks its filters use: each one costs a proxy about half a microsecond per request, needed or not.

#![cfg(target_os = "wasi")]
#![deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod callbacks;
mod header_pairs;
mod hostcalls;
mod logger;
mod memory;
mod wasm_host;

#[doc(hidden)]
pub use callbacks::{
    allocate, configure, context_create, delete, grpc_close, grpc_receive, http_call_response, initialize,
    new_connection, request_body, request_headers, request_trailers, response_headers, tick, vm_start,
};

/// Exports a module's Proxy-Wasm callbacks: those every module needs, and of the others those that are named.
///
/// ```ignore
/// proxy_wasm_shim::register! {
///     configure: configure,
///     callbacks: [request_headers, request_body, request_trailers, response_headers, tick, call],
/// }
/// ```
#[macro_export]
macro_rules! register {
    (configure: $configure:path, callbacks: [$($callback:ident),* $(,)?] $(,)?) => {
        const _: () = {
            #[unsafe(no_mangle)]
            extern "C" fn proxy_abi_version_0_2_1() {}

            #[unsafe(no_mangle)]
            extern "C" fn _initialize() {
                $crate::initialize();
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
                $crate::allocate(size)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
                $crate::context_create(context, parent);
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_vm_start(_root: u32, _size: usize) -> u32 {
                $crate::vm_start()
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
                $crate::configure($configure, root, size)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_delete(context: u32) {
                $crate::delete(context);
            }

            $($crate::register!(@export $callback);)*
        };
    };
    (@export new_connection) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_new_connection(context: u32) -> u32 {
            $crate::new_connection(context)
        }
    };
    (@export request_headers) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_request_headers(context: u32, _count: usize, end_of_stream: u32) -> u32 {
            $crate::request_headers(context, end_of_stream)
        }
    };
    (@export request_body) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_request_body(context: u32, size: usize, end_of_stream: u32) -> u32 {
            $crate::request_body(context, size, end_of_stream)
        }
    };
    (@export request_trailers) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_request_trailers(context: u32, _count: usize) -> u32 {
            $crate::request_trailers(context)
        }
    };
    (@export response_headers) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_response_headers(context: u32, _count: usize, end_of_stream: u32) -> u32 {
            $crate::response_headers(context, end_of_stream)
        }
    };
    (@export tick) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_tick(root: u32) {
            $crate::tick(root);
        }
    };
    (@export call) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_http_call_response(root: u32, call: u32, _headers: usize, body: usize, _trailers: usize) {
            $crate::http_call_response(root, call, body);
        }

        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_grpc_receive(root: u32, call: u32, size: usize) {
            $crate::grpc_receive(root, call, size);
        }

        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_grpc_close(root: u32, call: u32, status: u32) {
            $crate::grpc_close(root, call, status);
        }
    };
}
