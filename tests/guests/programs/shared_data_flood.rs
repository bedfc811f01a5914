//! Fills what plugins share: values, or items in a queue, or queues, as the VM configuration says.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name != "request_headers" {
        return None;
    }
    let what = abi::vm_configuration();
    let text = vec![b'x'; 1 << 20];
    let (text, size) = abi::at(&text);
    let mut queue = 0;
    let mut statuses = std::collections::BTreeMap::new();
    for i in 0..20_000 {
        let name = i.to_string();
        let (name, name_size) = abi::at(name.as_bytes());
        let status = match &what[..] {
            "values" => abi::proxy_set_shared_data(name, name_size, text, size, 0),
            "keys" => abi::proxy_set_shared_data(name, name_size, 0, 0, 0),
            "queues" => abi::proxy_register_shared_queue(name, name_size, abi::out(&mut queue)),
            _ => {
                abi::proxy_register_shared_queue(0, 0, abi::out(&mut queue));
                abi::proxy_enqueue_shared_queue(queue, text, if what == "items" { 1 } else { size })
            }
        };
        *statuses.entry(status).or_insert(0) += 1;
    }
    abi::log(&format!("{statuses:?}"));
    None
}
