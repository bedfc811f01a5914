//! Reads every header of the request and writes the values back, byte by byte as they came.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name == "response_headers" {
        let (mut pointer, mut size) = (0, 0);
        abi::proxy_get_header_map_pairs(0, abi::out(&mut pointer), abi::out(&mut size));
        let raw = abi::header(0, "x-raw").unwrap_or_default();
        abi::add_header(2, b"x-raw", &raw);
        abi::log(&format!("{} bytes of headers", abi::given(pointer, size).len()));
    }
    None
}
