//! [`Host`] by hostcalls.

use crate::header_pairs;
use crate::hostcalls::{self, Buffer};
use filter_api::{
    CallId, GrpcCall, HeaderEdit, HeaderMap, Host, HostError, HttpCall, LocalReply, MetricId, MetricKind, StreamId,
};
use http_match::HeaderList;
use std::borrow::Cow;
use std::cell::RefCell;
use std::time::Duration;

thread_local! {
    /// Draws decide about shares of traffic, not about secrets: one seed from the host serves a VM, and a draw costs no
    /// hostcall.
    static GENERATOR: RefCell<Option<fastrand::Rng>> = const { RefCell::new(None) };
}

fn seeded() -> Result<fastrand::Rng, HostError> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|_| HostError::BadArgument)?;
    Ok(fastrand::Rng::with_seed(u64::from_le_bytes(seed)))
}

/// The host this module runs in.
pub(crate) struct WasmHost;

/// `proxy_header_map_type_t`
fn map_type(map: HeaderMap) -> u32 {
    match map {
        HeaderMap::Request => 0,
        HeaderMap::RequestTrailers => 1,
        HeaderMap::Response => 2,
        HeaderMap::HttpCallResponse => 6,
    }
}

/// Milliseconds for the ABI: at least one, since zero means none or never, and at most what it can say.
fn millis(duration: Duration) -> u32 {
    const MOST: u32 = i32::MAX as u32;
    u32::try_from(duration.as_millis()).map_or(MOST, |millis| millis.clamp(1, MOST))
}

/// A property's path, as the ABI has it.
fn joined<'p>(path: &[&'p str]) -> Cow<'p, [u8]> {
    if let [name] = path {
        return Cow::Borrowed(name.as_bytes());
    }
    let mut out = Vec::with_capacity(64);
    for (i, segment) in path.iter().enumerate() {
        if i > 0 {
            out.push(0);
        }
        out.extend_from_slice(segment.as_bytes());
    }
    Cow::Owned(out)
}

impl Host for WasmHost {
    fn select_stream(&mut self, stream: StreamId) -> Result<(), HostError> {
        hostcalls::set_effective_context(stream.0)
    }

    fn header_list(&mut self, map: HeaderMap) -> Result<HeaderList, HostError> {
        header_pairs::read(hostcalls::header_map(map_type(map))?)
    }

    fn header(&mut self, map: HeaderMap, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        hostcalls::header(map_type(map), name)
    }

    fn edit_header(&mut self, map: HeaderMap, edit: &HeaderEdit) -> Result<(), HostError> {
        match edit {
            HeaderEdit::Set(name, value) => hostcalls::set_header(map_type(map), name, value),
            HeaderEdit::Add(name, value) => hostcalls::add_header(map_type(map), name, value),
            HeaderEdit::Remove(name) => hostcalls::remove_header(map_type(map), name),
        }
    }

    fn request_body(&mut self, start: usize, length: usize) -> Result<Vec<u8>, HostError> {
        hostcalls::buffer(Buffer::RequestBody, start, length)
    }

    fn call_body(&mut self, call: CallId, length: usize) -> Result<Vec<u8>, HostError> {
        let buffer = match call {
            CallId::Http(_) => Buffer::HttpCallBody,
            CallId::Grpc(_) => Buffer::GrpcMessage,
        };
        hostcalls::buffer(buffer, 0, length)
    }

    fn property(&mut self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
        hostcalls::property(&joined(path))
    }

    fn set_property(&mut self, path: &[&str], value: &[u8]) -> Result<(), HostError> {
        hostcalls::set_property(&joined(path), value)
    }

    fn send_local_reply(&mut self, reply: &LocalReply) -> Result<(), HostError> {
        let headers =
            header_pairs::write(reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))?;
        let grpc_status = reply.grpc_status.map_or(-1, i32::from);
        hostcalls::send_local_response(reply.status, &reply.details, &reply.body, &headers, grpc_status)
    }

    fn close_connection(&mut self) -> Result<(), HostError> {
        hostcalls::close_downstream()
    }

    fn resume_request(&mut self) -> Result<(), HostError> {
        hostcalls::continue_request()
    }

    fn http_call(&mut self, call: &HttpCall<'_>) -> Result<CallId, HostError> {
        let headers = header_pairs::write(call.headers.iter())?;
        hostcalls::http_call(call.cluster, &headers, call.body, millis(call.timeout)).map(CallId::Http)
    }

    fn grpc_call(&mut self, call: &GrpcCall<'_>) -> Result<CallId, HostError> {
        let metadata = header_pairs::write(call.metadata.iter())?;
        let timeout = millis(call.timeout);
        hostcalls::grpc_call(call.cluster, call.service, call.method, &metadata, call.message, timeout)
            .map(CallId::Grpc)
    }

    fn now(&mut self) -> Result<Duration, HostError> {
        hostcalls::current_time_nanoseconds().map(Duration::from_nanos)
    }

    fn random(&mut self) -> Result<u64, HostError> {
        GENERATOR.with_borrow_mut(|generator| match generator {
            Some(generator) => Ok(generator.u64(..)),
            None => Ok(generator.insert(seeded()?).u64(..)),
        })
    }

    fn set_tick_period(&mut self, period: Duration) -> Result<(), HostError> {
        hostcalls::set_tick_period_milliseconds(if period.is_zero() { 0 } else { millis(period) })
    }

    fn define_metric(&mut self, kind: MetricKind, name: &str) -> Result<MetricId, HostError> {
        let kind = match kind {
            MetricKind::Counter => 0,
            MetricKind::Gauge => 1,
        };
        hostcalls::define_metric(kind, name).map(MetricId)
    }

    fn increment_metric(&mut self, metric: MetricId, by: i64) -> Result<(), HostError> {
        hostcalls::increment_metric(metric.0, by)
    }
}
