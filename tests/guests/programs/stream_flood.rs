//! Makes its stream grow as far as it goes: headers, properties, or the body, as the VM configuration says.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    let what = abi::vm_configuration();
    let at = if what == "body" { "request_body" } else { "request_headers" };
    if event.name != at {
        return None;
    }
    let text = vec![b'x'; 64 << 10];
    let (text, size) = abi::at(&text);
    let mut statuses = std::collections::BTreeMap::new();
    for i in 0..2_000 {
        let name = format!("x-{i}");
        let (name, name_size) = abi::at(name.as_bytes());
        let status = match &what[..] {
            "many headers" => abi::proxy_add_header_map_value(0, name, name_size, text, 1),
            "long headers" => abi::proxy_add_header_map_value(0, name, name_size, text, size),
            "one header" => abi::proxy_replace_header_map_value(0, b"x-one".as_ptr() as u32, 5, text, size),
            "properties" => abi::proxy_set_property(name, name_size, text, size / 2),
            _ => abi::proxy_set_buffer_bytes(0, u32::MAX, 0, text, size),
        };
        *statuses.entry(status).or_insert(0) += 1;
    }
    abi::log(&format!("{statuses:?}"));
    None
}
