//! Calls itself without end in the callback that the VM configuration names.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    let wanted = abi::vm_configuration();
    if abi::is(&event, &wanted) {
        std::hint::black_box(deeper(1));
    }
    abi::provoke(&wanted, &event)
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == 0 { 0 } else { deeper(std::hint::black_box(depth + 1)) + depth }
}
