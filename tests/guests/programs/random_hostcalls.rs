//! Takes its plugin configuration for hostcalls, whatever bytes it has: two bytes choose a callback and a hostcall, then
//! each parameter is a byte that says how, and up to eight bytes that say what.

use abi::Event;
use std::sync::OnceLock;

static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
const CALLBACKS: [&str; 8] = [
    "configure",
    "request_headers",
    "request_body",
    "request_trailers",
    "response_headers",
    "http_call_response",
    "log",
    "tick",
];
/// What hostcalls may be asked for.
const TEXTS: [&[u8]; 8] = [b":path", b"x-a", b"other", b"grpc", b"request\0path", b"compress", b"queue", b""];

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name == "configure" {
        BYTES.get_or_init(|| abi::buffer(7));
    }
    let mut bytes = BYTES.get()?.iter().copied();
    let mut action = None;
    let request = abi::pairs(&[(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a")]);
    // A place that hostcalls may write to.
    let mut ground = [0u8; 64];
    while let (Some(at), Some(which)) = (bytes.next(), bytes.next()) {
        let name = abi::HOSTCALLS[usize::from(which) % abi::HOSTCALLS.len()];
        let mut numbers = Vec::new();
        (0..at >> 4).for_each(|_| parameter(&mut bytes, &request, &mut ground, &mut numbers));
        if CALLBACKS[usize::from(at) % CALLBACKS.len()] == event.name {
            let status = abi::call(name, &numbers);
            action = status.map(|status| (status ^ u32::from(which)) & 7);
            if status == Some(0) {
                abi::log(&format!("ok {name}"));
            }
        }
    }
    action.filter(|_| event.name.starts_with("re"))
}

fn parameter(bytes: &mut impl Iterator<Item = u8>, request: &[u8], ground: &mut [u8], numbers: &mut Vec<u64>) {
    let how = bytes.next().unwrap_or(0);
    let mut number = |size: usize| (0..size).fold(0u64, |sum, _| sum << 8 | u64::from(bytes.next().unwrap_or(0)));
    let text = |text: &[u8]| [text.as_ptr() as u64, text.len() as u64];
    match how % 10 {
        0 | 1 => numbers.extend(text(TEXTS[number(1) as usize % TEXTS.len()])),
        2 => numbers.extend(text(request)),
        3 => numbers.push(ground.as_mut_ptr() as u64 + number(1) % ground.len() as u64),
        4 => numbers.push(number(1) % 12),
        5 => numbers.push(number(1)),
        6 => numbers.push(number(4)),
        7 => numbers.push(number(8)),
        // The end of memory, and of the address space, and what lies just beyond.
        8 => numbers.push((core::arch::wasm32::memory_size(0) as u64 * 65536).wrapping_sub(number(1) % 16)),
        _ => numbers.push(u64::from(u32::MAX) - number(1) % 16),
    }
}
