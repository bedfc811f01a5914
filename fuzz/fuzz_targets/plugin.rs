//! Any configuration and any request, through any module: the first byte chooses the module, a NUL ends the
//! configuration, and NULs part the headers that follow.

#![no_main]

use filter_api::Configure;
use http_match::HeaderList;
use libfuzzer_sys::fuzz_target;
use native_shim::{Message, NativeProxy, RecordedCall, Sent, Settings, Upstreams};
use std::time::Duration;

const MODULES: [Configure; 8] = [
    authz::configure,
    cors::configure,
    fault_injection::configure,
    header_rules::configure,
    jwt_authn::configure,
    mirroring::configure,
    traffic::configure,
    weighted_shifting::configure,
];

const NAMES: [&str; 9] =
    [":path", ":method", ":authority", ":scheme", "origin", "cookie", "content-type", "x-a", "authorization"];

struct Echo;

impl Upstreams for Echo {
    fn http(&mut self, sent: &Sent) -> Option<Message> {
        Some(Message { body: sent.message.body.clone(), ..Message::default() })
    }

    fn grpc(&mut self, call: &RecordedCall) -> Result<Vec<u8>, u32> {
        Ok(call.body.clone())
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((module, rest)) = data.split_first() else {
        return;
    };
    let mut parts = rest.split(|&byte| byte == 0);
    let configuration = parts.next().unwrap_or_default();
    let mut proxy = NativeProxy::new(Settings::default());
    let configure = MODULES[usize::from(*module) % MODULES.len()];
    if proxy.add_plugin(configure, configuration).is_err() {
        return;
    }
    let headers: HeaderList = NAMES.into_iter().cycle().zip(parts.take(32)).collect();
    let request = Message { headers, body: rest.to_vec(), ..Message::default() };
    proxy.exchange(request.clone(), &mut Echo);
    let stream = proxy.open_stream(&request);
    proxy.advance(Duration::from_millis(7));
    proxy.close_stream(stream);
});
