//! The Proxy-Wasm ABI as the guests see it: imports, every callback as one event, and a few helpers. Nothing checks
//! anything here: what the host makes of it is what the tests are about.

use std::alloc::{Layout, alloc};

/// Declares the imports of a module, and a way to call one by its name with whatever numbers.
macro_rules! imports {
    ($module:literal $names:ident $call:ident;
     $($(#[$version:meta])* $name:ident($($parameter:ident: $kind:ty),*);)*) => {
        #[link(wasm_import_module = $module)]
        unsafe extern "C" {
            $($(#[$version])* pub safe fn $name($($parameter: $kind),*) -> u32;)*
        }

        /// The names of all.
        pub const $names: &[&str] = &[$($(#[$version])* stringify!($name)),*];

        /// Calls one. Missing numbers are 0; `None` where there is no such function in this version.
        pub fn $call(name: &str, numbers: &[u64]) -> Option<u32> {
            let mut numbers = numbers.iter().copied().chain(std::iter::repeat(0));
            let mut next = || numbers.next().unwrap_or_default();
            match name {
                $($(#[$version])* stringify!($name) => Some($name($({ let _: $kind; next() as $kind }),*)),)*
                _ => None,
            }
        }
    };
}

imports! {
    "env" HOSTCALLS call;
    proxy_log(level: u32, message: u32, size: u32);
    #[cfg(abi_0_2_1)]
    proxy_get_log_level(level: u32);
    proxy_get_current_time_nanoseconds(time: u32);
    proxy_set_tick_period_milliseconds(period: u32);
    proxy_set_effective_context(context: u32);
    proxy_done();
    proxy_get_property(path: u32, path_size: u32, value: u32, size: u32);
    proxy_set_property(path: u32, path_size: u32, value: u32, size: u32);
    #[cfg(abi_0_1_0)]
    proxy_get_configuration(value: u32, size: u32);
    proxy_get_buffer_bytes(buffer: u32, start: u32, length: u32, value: u32, size: u32);
    proxy_get_buffer_status(buffer: u32, length: u32, flags: u32);
    proxy_set_buffer_bytes(buffer: u32, start: u32, length: u32, value: u32, size: u32);
    proxy_get_header_map_size(map: u32, out: u32);
    proxy_get_header_map_pairs(map: u32, pairs: u32, size: u32);
    proxy_set_header_map_pairs(map: u32, pairs: u32, size: u32);
    proxy_get_header_map_value(map: u32, name: u32, name_size: u32, value: u32, size: u32);
    proxy_add_header_map_value(map: u32, name: u32, name_size: u32, value: u32, size: u32);
    proxy_replace_header_map_value(map: u32, name: u32, name_size: u32, value: u32, size: u32);
    proxy_remove_header_map_value(map: u32, name: u32, name_size: u32);
    #[cfg(abi_0_1_0)]
    proxy_continue_request();
    #[cfg(abi_0_1_0)]
    proxy_continue_response();
    #[cfg(abi_0_1_0)]
    proxy_clear_route_cache();
    #[cfg(not(abi_0_1_0))]
    proxy_continue_stream(stream: u32);
    #[cfg(not(abi_0_1_0))]
    proxy_close_stream(stream: u32);
    proxy_send_local_response(status: u32, details: u32, details_size: u32, body: u32, body_size: u32, headers: u32,
        headers_size: u32, grpc_status: u32);
    proxy_http_call(cluster: u32, cluster_size: u32, headers: u32, headers_size: u32, body: u32, body_size: u32,
        trailers: u32, trailers_size: u32, timeout: u32, call: u32);
    proxy_grpc_call(service: u32, service_size: u32, name: u32, name_size: u32, method: u32, method_size: u32,
        metadata: u32, metadata_size: u32, message: u32, message_size: u32, timeout: u32, call: u32);
    proxy_grpc_stream(service: u32, service_size: u32, name: u32, name_size: u32, method: u32, method_size: u32,
        metadata: u32, metadata_size: u32, call: u32);
    proxy_grpc_send(call: u32, message: u32, size: u32, end: u32);
    proxy_grpc_cancel(call: u32);
    proxy_grpc_close(call: u32);
    proxy_get_status(code: u32, text: u32, size: u32);
    proxy_get_shared_data(key: u32, key_size: u32, value: u32, size: u32, cas: u32);
    proxy_set_shared_data(key: u32, key_size: u32, value: u32, size: u32, cas: u32);
    proxy_register_shared_queue(name: u32, size: u32, queue: u32);
    proxy_resolve_shared_queue(vm_id: u32, vm_id_size: u32, name: u32, size: u32, queue: u32);
    proxy_enqueue_shared_queue(queue: u32, item: u32, size: u32);
    proxy_dequeue_shared_queue(queue: u32, item: u32, size: u32);
    proxy_define_metric(kind: u32, name: u32, size: u32, metric: u32);
    proxy_increment_metric(metric: u32, delta: i64);
    proxy_record_metric(metric: u32, value: u64);
    proxy_get_metric(metric: u32, value: u32);
    proxy_call_foreign_function(name: u32, name_size: u32, arguments: u32, arguments_size: u32, value: u32, size: u32);
}

imports! {
    "wasi_snapshot_preview1" WASI call_wasi;
    args_get(pointers: u32, texts: u32);
    args_sizes_get(count: u32, size: u32);
    clock_res_get(clock: u32, out: u32);
    clock_time_get(clock: u32, precision: u64, out: u32);
    environ_get(pointers: u32, texts: u32);
    environ_sizes_get(count: u32, size: u32);
    fd_advise(fd: u32, offset: u64, size: u64, advice: u32);
    fd_close(fd: u32);
    fd_fdstat_get(fd: u32, out: u32);
    fd_fdstat_set_flags(fd: u32, flags: u32);
    fd_filestat_get(fd: u32, out: u32);
    fd_prestat_dir_name(fd: u32, path: u32, size: u32);
    fd_prestat_get(fd: u32, out: u32);
    fd_read(fd: u32, vectors: u32, count: u32, out: u32);
    fd_readdir(fd: u32, place: u32, size: u32, cookie: u64, out: u32);
    fd_seek(fd: u32, offset: u64, whence: u32, out: u32);
    fd_tell(fd: u32, out: u32);
    fd_write(fd: u32, vectors: u32, count: u32, out: u32);
    path_filestat_get(fd: u32, flags: u32, path: u32, size: u32, out: u32);
    path_open(fd: u32, dirflags: u32, path: u32, size: u32, flags: u32, rights: u64, inheriting: u64, fdflags: u32,
        out: u32);
    path_unlink_file(fd: u32, path: u32, size: u32);
    poll_oneoff(subscriptions: u32, events: u32, count: u32, out: u32);
    random_get(out: u32, size: u32);
    sched_yield();
    sock_send(fd: u32, vectors: u32, count: u32, flags: u32, out: u32);
}

/// Says which version the module speaks: only the name of the export counts.
#[cfg(abi_0_1_0)]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_1_0() {}
/// As above.
#[cfg(abi_0_2_0)]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_0() {}
/// As above.
#[cfg(abi_0_2_1)]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for what the host hands over.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    // SAFETY: the host asks for no size of 0.
    Layout::from_size_align(size, 1).map_or(std::ptr::null_mut(), |layout| unsafe { alloc(layout) })
}

/// A callback that was called.
pub struct Event {
    /// Without `proxy_on_`.
    pub name: &'static str,
    /// The context.
    pub context: u32,
    /// The other parameters.
    pub numbers: [u32; 4],
}

/// Exports every callback. Each calls the function named here; `None` is what lets things go on.
#[macro_export]
macro_rules! every_callback {
    ($on:path) => {
        $crate::callbacks! {
            $on;
            "context_create" proxy_on_context_create(parent) -> ();
            "vm_start" proxy_on_vm_start(size) -> u32 = 1;
            "configure" proxy_on_configure(size) -> u32 = 1;
            "tick" proxy_on_tick() -> ();
            "queue_ready" proxy_on_queue_ready(queue) -> ();
            "request_body" proxy_on_request_body(size, end) -> u32 = 0;
            "request_trailers" proxy_on_request_trailers(count) -> u32 = 0;
            "response_body" proxy_on_response_body(size, end) -> u32 = 0;
            "response_trailers" proxy_on_response_trailers(count) -> u32 = 0;
            "http_call_response" proxy_on_http_call_response(call, headers, body, trailers) -> ();
            "grpc_receive_initial_metadata" proxy_on_grpc_receive_initial_metadata(call, count) -> ();
            "grpc_receive" proxy_on_grpc_receive(call, size) -> ();
            "grpc_receive_trailing_metadata" proxy_on_grpc_receive_trailing_metadata(call, count) -> ();
            "grpc_close" proxy_on_grpc_close(call, status) -> ();
            "done" proxy_on_done() -> u32 = 1;
            "log" proxy_on_log() -> ();
            "delete" proxy_on_delete() -> ();
        }
        #[cfg(abi_0_1_0)]
        $crate::callbacks! {
            $on;
            "request_headers" proxy_on_request_headers(count) -> u32 = 0;
            "response_headers" proxy_on_response_headers(count) -> u32 = 0;
        }
        #[cfg(not(abi_0_1_0))]
        $crate::callbacks! {
            $on;
            "request_headers" proxy_on_request_headers(count, end) -> u32 = 0;
            "response_headers" proxy_on_response_headers(count, end) -> u32 = 0;
        }
    };
}

/// What [`every_callback`] is made of.
#[macro_export]
macro_rules! callbacks {
    ($on:path; $($name:literal $export:ident($($parameter:ident),*) -> $kind:ty $(= $usual:literal)?;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $export(context: u32 $(, $parameter: u32)*) -> $kind {
            let mut numbers = [0; 4];
            let given: &[u32] = &[$($parameter),*];
            numbers.iter_mut().zip(given).for_each(|(place, number)| *place = *number);
            let action: Option<u32> = $on($crate::Event { name: $name, context, numbers });
            $crate::answer!(action $(, $usual)?)
        }
    )*};
}

/// What a callback returns.
#[macro_export]
macro_rules! answer {
    ($action:ident) => {{
        let _ = $action;
    }};
    ($action:ident, $usual:literal) => {
        $action.unwrap_or($usual)
    };
}

/// A pointer and a length, as hostcalls take them.
pub fn at(bytes: &[u8]) -> (u32, u32) {
    (bytes.as_ptr() as u32, bytes.len() as u32)
}

/// A place that a hostcall writes to.
pub fn out<T>(place: &mut T) -> u32 {
    &raw mut *place as u32
}

/// The bytes that a hostcall has handed over.
pub fn given(pointer: u32, size: u32) -> Vec<u8> {
    match size {
        0 => Vec::new(),
        // SAFETY: the host says that so many bytes are there.
        _ => unsafe { std::slice::from_raw_parts(pointer as *const u8, size as usize) }.to_vec(),
    }
}

/// A buffer from its start, whole.
pub fn buffer(kind: u32) -> Vec<u8> {
    let (mut pointer, mut size) = (0, 0);
    proxy_get_buffer_bytes(kind, 0, u32::MAX, out(&mut pointer), out(&mut size));
    given(pointer, size)
}

/// The VM configuration, which can be read in every callback: what the guest is to do.
pub fn vm_configuration() -> String {
    String::from_utf8(buffer(6)).unwrap_or_default()
}

/// Logs a line.
pub fn log(line: &str) {
    let (message, size) = at(line.as_bytes());
    proxy_log(4, message, size);
}

/// The value of a header.
pub fn header(map: u32, name: &str) -> Option<Vec<u8>> {
    let (name, name_size) = at(name.as_bytes());
    let (mut pointer, mut size) = (0, 0);
    let status = proxy_get_header_map_value(map, name, name_size, out(&mut pointer), out(&mut size));
    (status == 0).then(|| given(pointer, size))
}

/// Adds a header: the status.
pub fn add_header(map: u32, name: &[u8], value: &[u8]) -> u32 {
    let ((name, name_size), (value, size)) = (at(name), at(value));
    proxy_add_header_map_value(map, name, name_size, value, size)
}

/// Answers the stream: the status.
pub fn reply(status: u32, body: &str) -> u32 {
    let (body, size) = at(body.as_bytes());
    proxy_send_local_response(status, 0, 0, body, size, 0, 0, u32::MAX)
}

/// Pairs in the form of the ABI.
pub fn pairs(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut encoded = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        encoded.extend((name.len() as u32).to_le_bytes());
        encoded.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        encoded.extend([name, &[0][..], value, &[0]].concat());
    }
    encoded
}

/// Sends a request to the cluster `other`: status and id.
pub fn http_call(timeout: u32) -> (u32, u32) {
    let headers = pairs(&[(b":method", b"GET"), (b":path", b"/"), (b":authority", b"other.test")]);
    let ((cluster, cluster_size), (headers, size), mut call) = (at(b"other"), at(&headers), 0);
    let status = proxy_http_call(cluster, cluster_size, headers, size, 0, 0, 0, 0, timeout, out(&mut call));
    (status, call)
}

/// Whether this is the callback of a name; `stream_create` is `context_create` for a stream.
pub fn is(event: &Event, wanted: &str) -> bool {
    let of_stream = event.name == "context_create" && event.numbers[0] != 0;
    wanted == if of_stream { "stream_create" } else { event.name }
}

/// Does what has to be done for a callback to be called at all: `Some` is the action to return now.
pub fn provoke(wanted: &str, event: &Event) -> Option<u32> {
    match (wanted, event.name) {
        ("tick", "configure") => proxy_set_tick_period_milliseconds(10),
        ("queue_ready", "configure") => queue(),
        ("queue_ready", "request_headers") => proxy_enqueue_shared_queue(queue(), 0, 0),
        ("http_call_response", "request_headers") => {
            http_call(1000);
            return Some(1);
        }
        _ => 0,
    };
    None
}

/// The id of a queue that this plugin listens to.
fn queue() -> u32 {
    let ((name, size), mut id) = (at(b"queue"), 0);
    proxy_register_shared_queue(name, size, out(&mut id));
    id
}
