//! The trivial filter that a proxy's Wasm cost is usually measured with: five header reads (one of them absent), two
//! properties, one header set; written with the Rust SDK.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_http_context(|_, _| -> Box<dyn HttpContext> { Box::new(Trivial) });
}}

struct Trivial;

impl Context for Trivial {}

impl HttpContext for Trivial {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let mut length = 0;
        for name in [":path", ":method", ":authority", "user-agent", "x-absent"] {
            length += self.get_http_request_header(name).map_or(0, |value| value.len());
        }
        length += self.get_property(vec!["source", "address"]).map_or(0, |value| value.len());
        length += self.get_property(vec!["destination", "port"]).map_or(0, |value| value.len());
        if length > 0 {
            self.set_http_request_header("x-trivial", Some("1"));
        }
        Action::Continue
    }
}
