//! Sends a thousand requests for each that it serves, none with a timeout.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name == "request_headers" || event.name == "tick" {
        let mut statuses = std::collections::BTreeMap::new();
        for _ in 0..1000 {
            *statuses.entry(abi::http_call(0).0).or_insert(0) += 1;
        }
        abi::log(&format!("{}: {statuses:?}", event.name));
        abi::proxy_set_tick_period_milliseconds(0);
    }
    if event.name == "configure" && abi::vm_configuration() == "tick" {
        abi::proxy_set_tick_period_milliseconds(10);
    }
    None
}
