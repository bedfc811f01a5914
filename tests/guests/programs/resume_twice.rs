//! Lets its streams go on more often than it held them: twice where the VM configuration names the callback, which
//! pauses or, with ` continue` behind the name, does not.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    let wanted = abi::vm_configuration();
    let (name, pauses) = wanted.strip_suffix(" continue").map_or((&wanted[..], 1), |name| (name, 0));
    if event.name != name {
        return None;
    }
    for stream in [0, 1, 0, 1] {
        abi::proxy_continue_stream(stream);
    }
    Some(pauses)
}
