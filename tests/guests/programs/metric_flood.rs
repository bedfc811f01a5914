//! Defines ten thousand metrics for each request, each of a name of its own.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name == "request_headers" {
        let mut statuses = std::collections::BTreeMap::new();
        for i in 0..10_000 {
            let name = format!("flood.{i}");
            let ((name, size), mut id) = (abi::at(name.as_bytes()), 0);
            *statuses.entry(abi::proxy_define_metric(i % 3, name, size, abi::out(&mut id))).or_insert(0) += 1;
        }
        abi::log(&format!("{statuses:?}"));
    }
    None
}
