//! Pointers and lengths that lead outside of memory, for every hostcall: an answer that says so, nothing done, nothing
//! written, and no VM that ends.

use super::{Envoy, Row, Scenario, Sent, ours, row};

/// A call that is right but for the pointer that is put in the place of each of its own in turn.
const CALLS: [&str; 41] = [
    "request_headers proxy_log 2 'text",
    "request_headers proxy_get_log_level >4",
    "request_headers proxy_get_current_time_nanoseconds >8",
    "request_headers proxy_get_property 'plugin_root_id >",
    "request_headers proxy_set_property 'k 'v",
    "request_headers proxy_get_buffer_bytes 6 0 9 >",
    "request_headers proxy_get_buffer_status 6 >4 >4",
    "request_body#1 proxy_set_buffer_bytes 0 0 0 'x",
    "request_headers proxy_get_header_map_size 0 >4",
    "request_headers proxy_get_header_map_pairs 0 >>",
    "request_headers proxy_set_header_map_pairs 0 {x-a=1}",
    "request_headers proxy_get_header_map_value 0 ':path >",
    "request_headers proxy_add_header_map_value 0 'x-a '1",
    "request_headers proxy_replace_header_map_value 0 'x-a '1",
    "request_headers proxy_remove_header_map_value 0 'x-a",
    "request_headers proxy_send_local_response 403 'd 'b {x-a=1} -1",
    "request_headers proxy_http_call 'other {:method=GET,:path=/,:authority=a} 'b {x-t=1} 1000 >4",
    "request_headers proxy_grpc_call 'grpc 'a.B 'C {x-m=1} 'hello 1000 >4",
    "request_headers proxy_grpc_stream 'grpc 'a.B 'C {x-m=1} >4",
    "request_headers proxy_grpc_send 6 'x 0",
    "request_headers proxy_get_status >4 >",
    "request_headers proxy_set_shared_data 'k 'v 0",
    "request_body#1 proxy_get_shared_data 'k > >4",
    "request_headers proxy_register_shared_queue 'q >4",
    "request_body#1 proxy_resolve_shared_queue ' 'own >4",
    "request_body#1 proxy_enqueue_shared_queue $q 'x",
    "request_body#1 proxy_dequeue_shared_queue $q >",
    "request_headers proxy_define_metric 0 'bad_pointers >4",
    "request_body#1 proxy_get_metric 4 >8",
    "request_headers proxy_call_foreign_function 'compress 'abc >",
    "request_headers args_sizes_get >4 >4",
    "request_headers clock_res_get 0 >8",
    "request_headers clock_time_get 0 1 >8",
    "request_headers environ_get >4 >4",
    "request_headers environ_sizes_get >4 >4",
    "request_headers fd_fdstat_get 1 >8",
    "request_headers fd_seek 1 0 0 >8",
    "request_headers fd_tell 1 >8",
    "request_headers fd_write 1 0 1 >4",
    "request_headers poll_oneoff 0 0 0 >4",
    "request_headers random_get >4 4",
];

/// Places of bytes, by pointer and length, of which some or all lie outside.
const BYTES: [&str; 5] =
    ["0xffffffff 1", "0xfffffff0 0x20", "0x7fffffff 0x7fffffff", "0 0xffffffff", "0xffffffff 0xffffffff"];

/// Places for a number, that are none.
const NUMBERS: [&str; 2] = ["0xffffffff", "0xfffffffc"];

/// Why Envoy is not asked whether nothing was done.
const DONE: &str = "Envoy does some of it first";

/// What has to be there for the calls to be right.
const BEFORE: &[Row] = &[
    row("request_headers proxy_set_shared_data 'k 'kept 0", "0"),
    row("request_headers proxy_register_shared_queue 'own >4=q", "0 *"),
    row("request_headers proxy_enqueue_shared_queue $q 'kept", "0"),
    row("request_headers proxy_define_metric 0 'before >4", "0 4"),
];

/// Nothing of it has been done. Envoy looks at some places only when it has the answer.
const AFTER: &[Row] = &[
    ours("response_headers proxy_get_shared_data 'k > >4", "0 'kept *", DONE),
    ours("response_headers proxy_get_property 'k >", "1 untouched", DONE),
    ours("response_headers proxy_resolve_shared_queue ' 'q >4", "1 untouched", DONE),
    ours("response_headers proxy_dequeue_shared_queue $q >", "0 'kept", DONE),
    ours("response_headers proxy_dequeue_shared_queue $q >", "7 untouched", DONE),
    ours("response_headers proxy_get_header_map_value 2 ':status >", "0 '200", DONE),
    ours("response_headers proxy_define_metric 0 'after >4", "0 8", DONE),
    ours("response_headers proxy_http_call 'other {:method=GET,:path=/,:authority=a} ' ' 1000 >4", "0 4", DONE),
    ours("log proxy_get_header_map_value 0 'x-a >", "1 untouched", DONE),
];

/// Every call with every pointer, one after the other; those of one callback together, as they happen.
pub(super) fn scenario() -> Scenario {
    let mut rows = BEFORE.to_vec();
    for callback in ["request_headers", "request_body#1"] {
        let calls = CALLS.iter().filter(|call| call.starts_with(callback));
        rows.extend(calls.flat_map(|call| variants(call)));
    }
    rows.extend_from_slice(AFTER);
    Scenario { rows: rows.leak(), ..super::scenario("bad pointers", Sent::Post, &[]) }
}

/// A call with each of its pointers bad in turn.
fn variants(call: &str) -> Vec<Row> {
    let words: Vec<&str> = call.split(' ').collect();
    let mut rows = Vec::new();
    for (place, word) in words.iter().enumerate().skip(2) {
        for bad in replacements(word) {
            let mut words = words.clone();
            words[place] = &bad;
            rows.push(refused(words.join(" ")));
        }
    }
    rows
}

fn replacements(word: &str) -> Vec<String> {
    match word.as_bytes() {
        [b'\'' | b'{', ..] => BYTES.map(str::to_owned).to_vec(),
        [b'>', b'4' | b'8', ..] => NUMBERS.map(str::to_owned).to_vec(),
        [b'>', ..] => NUMBERS.iter().flat_map(|bad| [format!("{bad} >4"), format!(">4 {bad}")]).collect(),
        _ => Vec::new(),
    }
}

/// INVALID_MEMORY_ACCESS, of WASI functions EFAULT; and places that are fine stay as they were.
fn refused(call: String) -> Row {
    let status = if call.contains(" proxy_") { "6" } else { "21" };
    let places = call.split(' ').filter(|word| word.starts_with('>')).count();
    let answer = [status.to_owned(), " untouched".repeat(places)].concat();
    let in_envoy = [status.to_owned(), " *".repeat(places)].concat();
    // Envoy loses the items of queues, and does not look at all at some places.
    let not_so = ["proxy_dequeue_shared_queue", "fd_fdstat_get", "fd_seek"].iter().any(|name| call.contains(name));
    let envoy = if not_so { Envoy::NotAsked } else { Envoy::Differs(in_envoy.leak()) };
    Row { call: call.leak(), answer: answer.leak(), envoy }
}
