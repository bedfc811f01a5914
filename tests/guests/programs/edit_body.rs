//! Changes a body and leaves `content-length` as it was. The VM configuration: which callback; start, length and text
//! of the edit; and `hold` where it waits for the whole body first.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    let configuration = abi::vm_configuration();
    let words: Vec<&str> = configuration.split(' ').collect();
    let [name, start, length, text, rest @ ..] = &words[..] else { return None };
    if event.name != *name {
        return None;
    }
    let [_, end, ..] = event.numbers;
    if !rest.is_empty() && end == 0 {
        return Some(1);
    }
    let buffer = u32::from(name.starts_with("response"));
    let (start, length) = (start.parse().unwrap_or(u32::MAX), length.parse().unwrap_or(u32::MAX));
    let (value, size) = abi::at(text.as_bytes());
    let status = abi::proxy_set_buffer_bytes(buffer, start, length, value, size);
    abi::log(&format!("set {status}"));
    None
}
