//! Makes one hostcall a thousand times for each request, or none: what the plugin configuration says (`hit`, `miss`,
//! `set`, anything else).

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root(nothing)) });
}}

/// One round of what is measured.
type Call = fn(&Loop);

const ROUNDS: usize = 1000;

struct Root(Call);

struct Loop(Call);

fn nothing(_: &Loop) {}

fn hit(filter: &Loop) {
    std::hint::black_box(filter.get_http_request_header("user-agent"));
}

fn miss(filter: &Loop) {
    std::hint::black_box(filter.get_http_request_header("x-absent"));
}

fn set(filter: &Loop) {
    filter.set_http_request_header("x-trivial", Some("1"));
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        self.0 = match self.get_plugin_configuration().as_deref() {
            Some(b"hit") => hit,
            Some(b"miss") => miss,
            Some(b"set") => set,
            _ => nothing,
        };
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Loop(self.0)))
    }
}

impl Context for Loop {}

impl HttpContext for Loop {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        for _ in 0..ROUNDS {
            (self.0)(self);
        }
        Action::Continue
    }
}
