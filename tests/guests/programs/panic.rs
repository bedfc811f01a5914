//! Panics in the callback that the VM configuration names.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    let wanted = abi::vm_configuration();
    assert!(!abi::is(&event, &wanted), "a callback that was to panic");
    abi::provoke(&wanted, &event)
}
