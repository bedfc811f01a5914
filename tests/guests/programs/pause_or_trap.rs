//! Holds every stream in the phase that its `x-hold` names, and traps on requests for `/trap`: what it holds then has
//! nobody left to let it go.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name == "request_headers" && abi::header(0, ":path").as_deref() == Some(b"/trap") {
        core::arch::wasm32::unreachable();
    }
    let hold = abi::header(0, "x-hold").unwrap_or_default();
    (event.name.as_bytes() == hold).then_some(1)
}
