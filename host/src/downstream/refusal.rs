//! Requests that are answered before any filter sees them: the reply, and its line in the access log.

use crate::downstream::HttpManager;
use crate::downstream::tcp_manager::direction_number;
use crate::filter_chain::{Event, to_events};
use crate::http::refused::Refused;
use crate::telemetry::ResponseFlags;
use crate::wasm::{ConnectionProperties, LocalReply, Stream, StreamState};
use crate::worker::Worker;
use bytes::Bytes;
use http_match::HeaderList;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

/// The reply to a request that is not taken.
pub(super) struct Refusal {
    pub(super) headers: HeaderList,
    /// Empty where the request's method or the client's protocol has no use for one.
    pub(super) body: Bytes,
    refused: Refused,
}

impl Refusal {
    /// `request`: its headers, if they could be read.
    pub(super) fn new(worker: &Worker, request: Option<&HeaderList>, refused: Refused) -> Self {
        let Refused { status, details, body } = refused;
        let reply = LocalReply { status, body: body.into(), details: details.into(), ..LocalReply::default() };
        let header = |name| request.and_then(|request| request.get(name));
        let grpc = header("content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
        let (mut headers, events) = to_events(reply, grpc, header(":method") == Some(b"HEAD"));
        worker.sign(&mut headers, true);
        let body = events.into_iter().find_map(|event| match event {
            Event::Data { bytes, .. } => Some(bytes),
            _ => None,
        });
        Self { headers, body: body.unwrap_or_default(), refused }
    }

    /// Counts the request, and writes its line to the access log.
    pub(super) fn log(
        self,
        manager: &HttpManager,
        connection: &Rc<ConnectionProperties>,
        request: Option<HeaderList>,
        protocol: &'static str,
    ) {
        let flags = flags(self.refused, request.is_some());
        let mut state = StreamState::new(request.unwrap_or_default(), 0, connection.clone(), SystemTime::now());
        state.protocol = protocol;
        state.direction = direction_number(manager.direction);
        state.response = self.headers;
        state.body_bytes[1] = u64::try_from(self.body.len()).unwrap_or(u64::MAX);
        state.details = self.refused.details.into();
        let _counted = manager.stream(protocol == "HTTP/2");
        manager.log(&Stream::new(state), flags, Duration::ZERO);
    }
}

/// As Envoy has them: what cannot be read is the client's fault, what can be and is not taken has no flag.
fn flags(refused: Refused, was_read: bool) -> ResponseFlags {
    match refused {
        Refused::OVERLOADED => ResponseFlags::OVERLOAD_MANAGER,
        Refused::MISSING_HOST => ResponseFlags::NONE,
        _ if was_read => ResponseFlags::NONE,
        _ => ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_what_the_client_speaks() {
        let worker = Worker::new(1);
        let cases = [
            (&[(":method", "GET")][..], "503", "10", 10),
            (&[(":method", "HEAD")], "503", "10", 0),
            (&[(":method", "POST"), ("content-type", "application/grpc+proto")], "200", "", 0),
        ];
        for (request, status, length, body) in cases {
            let request = request.iter().copied().collect();
            let refusal = Refusal::new(&worker, Some(&request), Refused::OVERLOADED);
            let text = |name| String::from_utf8_lossy(refusal.headers.get(name).unwrap_or_default()).into_owned();
            assert_eq!((text(":status").as_str(), text("content-length").as_str()), (status, length), "{request:?}");
            assert_eq!((refusal.body.len(), text("server").as_str()), (body, "outrigger"), "{request:?}");
        }
    }

    #[test]
    fn flags_as_envoy_has_them() {
        for (refused, was_read, expected) in [
            (Refused::CODEC_ERROR, false, "DPE"),
            (Refused::LOW_VERSION, false, "DPE"),
            (Refused::MISSING_HOST, false, "-"),
            (Refused::PATH_NORMALIZATION, true, "-"),
            (Refused::UPGRADE_FAILED, true, "-"),
            (Refused::OVERLOADED, true, "OM"),
        ] {
            assert_eq!(flags(refused, was_read).to_string(), expected, "{refused:?}");
        }
    }
}
