//! Logs ten thousand lines for each request, long ones and such that look like the proxy's own.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    if event.name == "request_headers" {
        let long = "x".repeat(100_000);
        (0..10_000).for_each(|i| abi::log(if i == 0 { &long } else { "line\r\u{1b}[31m forged" }));
    }
    None
}
