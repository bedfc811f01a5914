//! Answers a stream whose response headers are on their way: from the body or the trailers, as the VM configuration
//! says.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name == abi::vm_configuration() {
        abi::reply(500, "instead");
    }
    None
}
