//! Computes for ever in the callback that the VM configuration names.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    let wanted = abi::vm_configuration();
    while abi::is(&event, &wanted) {
        std::hint::black_box(&event);
    }
    abi::provoke(&wanted, &event)
}
