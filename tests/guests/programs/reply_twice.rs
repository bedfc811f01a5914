//! Answers 403 from the request headers and 402 at once behind it, lets the request go on all the same, and replaces
//! the answer by a 401 from its response headers where the VM configuration says `again`.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    match event.name {
        "request_headers" => {
            abi::reply(403, "forbidden");
            abi::reply(402, "never seen");
            Some(0)
        }
        "response_headers" if abi::vm_configuration() == "again" => {
            abi::reply(401, "again");
            None
        }
        _ => None,
    }
}
