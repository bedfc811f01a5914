//! Serves well, and traps on as many requests as the VM configuration says.

use abi::Event;
use std::sync::atomic::{AtomicU32, Ordering};

static SERVED: AtomicU32 = AtomicU32::new(0);

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name == "request_headers" {
        let number = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
        if abi::vm_configuration() == number.to_string() {
            core::arch::wasm32::unreachable();
        }
        abi::add_header(0, b"x-served", number.to_string().as_bytes());
    }
    None
}
