//! The functions a host provides, each as a safe function that returns a `Result`.

use crate::callbacks::capacity;
use filter_api::HostError;
use std::ptr::{null, null_mut};

/// Kinds of buffers (`proxy_buffer_type_t`).
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Buffer {
    RequestBody = 0,
    HttpCallBody = 4,
    GrpcMessage = 5,
    PluginConfiguration = 7,
}

mod abi {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
        pub(super) fn proxy_get_log_level(level: *mut u32) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            value: *mut *mut u8,
            value_size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize)
        -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            length: usize,
            bytes: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(map: u32, bytes: *mut *mut u8, size: *mut usize) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *mut *mut u8,
            value_size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_add_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
        pub(super) fn proxy_continue_stream(stream: u32) -> u32;
        pub(super) fn proxy_close_stream(stream: u32) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        pub(super) fn proxy_http_call(
            cluster: *const u8,
            cluster_size: usize,
            headers: *const u8,
            headers_size: usize,
            body: *const u8,
            body_size: usize,
            trailers: *const u8,
            trailers_size: usize,
            timeout: u32,
            call: *mut u32,
        ) -> u32;
        pub(super) fn proxy_grpc_call(
            cluster: *const u8,
            cluster_size: usize,
            service: *const u8,
            service_size: usize,
            method: *const u8,
            method_size: usize,
            metadata: *const u8,
            metadata_size: usize,
            message: *const u8,
            message_size: usize,
            timeout: u32,
            call: *mut u32,
        ) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, metric: *mut u32) -> u32;
        pub(super) fn proxy_increment_metric(metric: u32, by: i64) -> u32;
    }
}

/// Statuses of the ABI.
const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;

fn check(status: u32) -> Result<(), HostError> {
    match status {
        OK => Ok(()),
        BAD_ARGUMENT => Err(HostError::BadArgument),
        other => Err(HostError::Status(other)),
    }
}

/// Bytes that the host put into memory it got from [`crate::allocate`].
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, HostError> {
    let (mut bytes, mut size) = (null_mut::<u8>(), 0usize);
    check(call(&raw mut bytes, &raw mut size))?;
    if bytes.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: by the ABI, a host returns data only in memory that it asked the module's allocator for, with the size
    // it asked for, and hands its ownership over. `allocate` makes it as a `Vec<u8>` of the capacity for that size.
    Ok(unsafe { Vec::from_raw_parts(bytes, size, capacity(size)) })
}

/// The same, where NOT_FOUND is an answer.
fn returned_if_any(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Option<Vec<u8>>, HostError> {
    match returned(call) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(HostError::Status(NOT_FOUND)) => Ok(None),
        Err(error) => Err(error),
    }
}

// SAFETY of every block below: pointers come from live slices with their own sizes, or from locals that outlive the
// call; a host writes only through the out-pointers.

pub(crate) fn log(level: u32, message: &str) {
    let _ = unsafe { abi::proxy_log(level, message.as_ptr(), message.len()) };
}

pub(crate) fn log_level() -> Result<u32, HostError> {
    let mut level = 0;
    check(unsafe { abi::proxy_get_log_level(&raw mut level) })?;
    Ok(level)
}

pub(crate) fn current_time_nanoseconds() -> Result<u64, HostError> {
    let mut time = 0;
    check(unsafe { abi::proxy_get_current_time_nanoseconds(&raw mut time) })?;
    Ok(time)
}

pub(crate) fn set_tick_period_milliseconds(period: u32) -> Result<(), HostError> {
    check(unsafe { abi::proxy_set_tick_period_milliseconds(period) })
}

pub(crate) fn set_effective_context(context: u32) -> Result<(), HostError> {
    check(unsafe { abi::proxy_set_effective_context(context) })
}

/// `path`: segments separated by NUL.
pub(crate) fn property(path: &[u8]) -> Result<Option<Vec<u8>>, HostError> {
    returned_if_any(|bytes, size| unsafe { abi::proxy_get_property(path.as_ptr(), path.len(), bytes, size) })
}

pub(crate) fn set_property(path: &[u8], value: &[u8]) -> Result<(), HostError> {
    check(unsafe { abi::proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn buffer(buffer: Buffer, start: usize, length: usize) -> Result<Vec<u8>, HostError> {
    returned(|bytes, size| unsafe { abi::proxy_get_buffer_bytes(buffer as u32, start, length, bytes, size) })
}

pub(crate) fn header_map(map: u32) -> Result<Vec<u8>, HostError> {
    returned(|bytes, size| unsafe { abi::proxy_get_header_map_pairs(map, bytes, size) })
}

pub(crate) fn header(map: u32, name: &str) -> Result<Option<Vec<u8>>, HostError> {
    returned_if_any(|bytes, size| unsafe {
        abi::proxy_get_header_map_value(map, name.as_ptr(), name.len(), bytes, size)
    })
}

pub(crate) fn add_header(map: u32, name: &str, value: &[u8]) -> Result<(), HostError> {
    check(unsafe { abi::proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn set_header(map: u32, name: &str, value: &[u8]) -> Result<(), HostError> {
    check(unsafe { abi::proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn remove_header(map: u32, name: &str) -> Result<(), HostError> {
    check(unsafe { abi::proxy_remove_header_map_value(map, name.as_ptr(), name.len()) })
}

pub(crate) fn continue_request() -> Result<(), HostError> {
    const REQUEST: u32 = 0;
    check(unsafe { abi::proxy_continue_stream(REQUEST) })
}

pub(crate) fn close_downstream() -> Result<(), HostError> {
    const DOWNSTREAM: u32 = 2;
    check(unsafe { abi::proxy_close_stream(DOWNSTREAM) })
}

/// `headers`: serialised; `grpc_status`: −1 for none.
pub(crate) fn send_local_response(
    status: u16,
    details: &str,
    body: &[u8],
    headers: &[u8],
    grpc_status: i32,
) -> Result<(), HostError> {
    check(unsafe {
        abi::proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

/// `headers`: serialised; `timeout` in milliseconds.
pub(crate) fn http_call(cluster: &str, headers: &[u8], body: &[u8], timeout: u32) -> Result<u32, HostError> {
    let mut call = 0;
    check(unsafe {
        abi::proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            null(),
            0,
            timeout,
            &raw mut call,
        )
    })?;
    Ok(call)
}

/// `metadata`: serialised; `timeout` in milliseconds.
pub(crate) fn grpc_call(
    cluster: &str,
    service: &str,
    method: &str,
    metadata: &[u8],
    message: &[u8],
    timeout: u32,
) -> Result<u32, HostError> {
    let mut call = 0;
    check(unsafe {
        abi::proxy_grpc_call(
            cluster.as_ptr(),
            cluster.len(),
            service.as_ptr(),
            service.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            message.as_ptr(),
            message.len(),
            timeout,
            &raw mut call,
        )
    })?;
    Ok(call)
}

pub(crate) fn define_metric(kind: u32, name: &str) -> Result<u32, HostError> {
    let mut metric = 0;
    check(unsafe { abi::proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut metric) })?;
    Ok(metric)
}

pub(crate) fn increment_metric(metric: u32, by: i64) -> Result<(), HostError> {
    check(unsafe { abi::proxy_increment_metric(metric, by) })
}
