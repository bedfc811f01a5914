//! Makes one hostcall without end, the dearest way there is: which one, the VM configuration says.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name != "request_headers" {
        return None;
    }
    let name = abi::vm_configuration();
    let text = vec![b'x'; 64 << 10];
    let many: Vec<(&[u8], &[u8])> = vec![(b"x-name", &text[..500]); 1000];
    let list = abi::pairs(&many);
    let ((name_at, name_size), (text, size), (list, list_size)) = (abi::at(b"x-storm"), abi::at(&text), abi::at(&list));
    let (zlib, zlib_size) = abi::at(b"compress");
    let mut place = [0u64; 2];
    let out = abi::out(&mut place);
    loop {
        let numbers: &[u32] = match &name[..] {
            "proxy_log" => &[4, text, size],
            "proxy_set_header_map_pairs" => &[0, list, list_size],
            "proxy_get_header_map_pairs" => &[0, out, out + 8],
            "proxy_add_header_map_value" | "proxy_replace_header_map_value" => &[0, name_at, name_size, text, size],
            "proxy_set_property" => &[name_at, name_size, text, size],
            "proxy_get_property" => &[name_at, name_size, out, out + 8],
            "proxy_set_buffer_bytes" => &[0, 0, u32::MAX, text, size],
            "proxy_set_shared_data" => &[name_at, name_size, text, size, 0],
            "proxy_send_local_response" => &[403, text, size, text, size, list, list_size],
            "proxy_call_foreign_function" => &[zlib, zlib_size, text, size, 0, 0],
            "proxy_define_metric" => &[0, name_at, name_size, out],
            _ => &[0, 0, 0, 0, 0, 0, 0, 0],
        };
        let numbers: Vec<u64> = numbers.iter().map(|number| u64::from(*number)).collect();
        abi::call(&name, &numbers);
    }
}
