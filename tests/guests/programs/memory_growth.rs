//! Takes memory and keeps it: as many MiB for each request as the VM configuration says.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name == "request_headers" {
        let megabytes: usize = abi::vm_configuration().parse().unwrap_or(1);
        std::hint::black_box(Box::leak(vec![1u8; megabytes << 20].into_boxed_slice()));
    }
    None
}
