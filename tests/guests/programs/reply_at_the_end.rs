//! Answers, resets and resumes its stream when it has ended: in the callback that the VM configuration names.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name == abi::vm_configuration() {
        let replied = abi::reply(500, "too late");
        let others = [abi::proxy_close_stream(0), abi::proxy_continue_stream(0), abi::proxy_continue_stream(1)];
        abi::log(&format!("{replied} {others:?}"));
    }
    None
}
