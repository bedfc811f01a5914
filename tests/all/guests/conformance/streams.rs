//! What a guest does with its stream, and when it is told what.

use super::{LATEST, Row, Scenario, Sent, differs, ours, row, scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { versions: &["0_2_0", "0_2_1"], ..scenario("end of stream", Sent::Get, HEADERS_ALONE) },
    Scenario { versions: LATEST, ..scenario("end of stream with a body", Sent::Post, WITH_BODY) },
    scenario("end of stream with trailers", Sent::Trailers, WITH_TRAILERS),
    scenario("body held to its end", Sent::Post, HELD_BODY),
    scenario("body held before its trailers", Sent::Trailers, HELD_BEFORE_TRAILERS),
    scenario("stream arguments", Sent::Get, ARGUMENTS),
    scenario("resumed in the callback that pauses", Sent::Get, RESUMED),
    Scenario { status: (200, 0), ..scenario("resumed in the response headers", Sent::Get, RESUMED_RESPONSE) },
    Scenario {
        status: (504, 0),
        not_in_envoy: Some("it crashes"),
        ..scenario("resumed before it is held", Sent::Get, RESUMED_TOO_EARLY)
    },
    Scenario { status: (403, 403), ..scenario("local reply", Sent::Get, REPLY) },
    Scenario { status: (402, 402), ..scenario("local reply replaced by its own filter", Sent::Get, REPLACED) },
    Scenario { status: (200, 0), ..scenario("local reply with no status", Sent::Get, BAD_STATUS) },
    Scenario { status: (0, 0), ..scenario("close", Sent::Get, CLOSED) },
    Scenario { versions: &["0_1_0"], ..scenario("streams of ABI 0.1.0", Sent::Get, OLD_NAMES) },
];

const HEADERS_ALONE: &[Row] = &[
    row("context_create#2 numbers", "[1, 0, 0, 0]"),
    row("request_headers numbers", "[*, 1, 0, 0]"),
    row("response_headers numbers", "[*, 0, 0, 0]"),
    row("response_body#1 numbers", "[6, 0, 0, 0]"),
    row("response_body#2 numbers", "[0, 1, 0, 0]"),
    row("log#1 context", "2"),
    row("done#1 context", "2"),
    row("delete#1 context", "2"),
];

const WITH_BODY: &[Row] = &[
    row("request_headers numbers", "[*, 0, 0, 0]"),
    row("request_body#1 numbers", "[3, 0, 0, 0]"),
    row("request_body#2 numbers", "[0, 1, 0, 0]"),
];

/// The body callback is never told of the end then.
const WITH_TRAILERS: &[Row] = &[
    row("request_headers numbers", "[*, 0, 0, 0]"),
    row("request_body#1 numbers", "[3, 0, 0, 0]"),
    row("request_trailers numbers", "[1, 0, 0, 0]"),
];

const HELD_BODY: &[Row] = &[
    row("request_body#1 numbers", "[3, 0, 0, 0]"),
    row("request_body#1 return 1", ""),
    row("request_body#2 numbers", "[3, 1, 0, 0]"),
    row("request_body#2 proxy_get_buffer_bytes 0 0 9 >", "0 'abc"),
];

const HELD_BEFORE_TRAILERS: &[Row] = &[
    row("request_body return 1", ""),
    row("request_trailers proxy_get_buffer_bytes 0 0 9 >", "0 'abc"),
    row("request_trailers proxy_set_buffer_bytes 0 0 9 'xyz", "0"),
];

const ARGUMENTS: &[Row] = &[
    row("configure proxy_continue_stream 0", "0"),
    row("configure proxy_close_stream 0", "0"),
    row("request_headers proxy_continue_stream 3", "12"),
    row("request_headers proxy_continue_stream 4", "2"),
    row("request_headers proxy_close_stream 4", "2"),
    row("request_headers proxy_continue_request", "no such hostcall"),
    row("request_headers proxy_continue_response", "no such hostcall"),
    row("request_headers proxy_clear_route_cache", "no such hostcall"),
    row("request_headers proxy_get_configuration >", "no such hostcall"),
];

const RESUMED: &[Row] = &[
    row("request_headers proxy_continue_stream 0", "0"),
    row("request_headers return 1", ""),
    row("response_headers numbers", "[*, 0, 0, 0]"),
];

/// Envoy does send the headers, and then nothing.
const RESUMED_RESPONSE: &[Row] = &[
    row("response_headers proxy_continue_stream 1", "0"),
    row("response_headers return 1", ""),
    ours("response_body#2 numbers", "[0, 1, 0, 0]", "as above"),
];

/// What is asked for before anything is held does not let go what is held later.
const RESUMED_TOO_EARLY: &[Row] =
    &[row("request_headers proxy_continue_stream 1", "0"), row("response_headers return 1", "")];

const REPLY: &[Row] = &[
    row("request_headers proxy_send_local_response 403 'my%20det%20ails 'no {x-l=1} -1", "0"),
    row("request_headers proxy_send_local_response 401 ' ' ' -1", "0"),
    // Its own response callbacks see it.
    row("response_headers proxy_get_header_map_value 2 ':status >", "0 '403"),
    row("response_headers proxy_get_header_map_value 2 'x-l >", "0 '1"),
    row("response_headers proxy_get_header_map_value 2 'content-length >", "0 '2"),
    row("response_headers proxy_get_header_map_value 2 'content-type >", "0 'text/plain"),
    differs(
        "response_headers proxy_get_property 'response%00code_details >",
        "0 'my_det_ails",
        "0 null",
        "it is known already",
    ),
    row("response_body numbers", "[2, 1, 0, 0]"),
    row("response_body proxy_get_buffer_bytes 1 0 9 >", "0 'no"),
    differs("log proxy_get_property 'response%00code_details >", "0 'my_det_ails", "0 null", "as above"),
    row("log proxy_get_property 'response%00code >", "0 '%93%01%00%00%00%00%00%00"),
];

const REPLACED: &[Row] = &[
    row("request_headers proxy_send_local_response 401 ' 'first ' -1", "0"),
    row("response_headers proxy_send_local_response 402 ' 'second ' -1", "0"),
    row("log proxy_get_header_map_value 2 ':status >", "0 '402"),
];

const BAD_STATUS: &[Row] = &[
    differs(
        "request_headers proxy_send_local_response 1000 ' ' ' -1",
        "2",
        "0",
        "no client takes it for a status: Envoy sends it",
    ),
    ours("request_headers proxy_send_local_response 99 ' ' ' -1", "2", "as above"),
    ours("request_headers proxy_send_local_response 199 ' ' ' -1", "2", "a final response has no interim status"),
    ours("request_headers proxy_send_local_response 600 ' ' ' -1", "2", "as above"),
    ours("request_headers proxy_send_local_response 403 ' ' 'garbage -1", "2", "Envoy takes it for no headers"),
];

const CLOSED: &[Row] = &[
    row("request_headers proxy_close_stream 0", "0"),
    row("log#1 context", "2"),
    row("done#1 context", "2"),
    row("delete#1 context", "2"),
];

const OLD_NAMES: &[Row] = &[
    row("request_headers numbers", "[*, 0, 0, 0]"),
    row("request_headers proxy_clear_route_cache", "0"),
    row("request_headers proxy_continue_request", "0"),
    row("request_headers return 1", ""),
    row("request_headers proxy_continue_stream 0", "no such hostcall"),
    row("response_headers numbers", "[*, 0, 0, 0]"),
    row("response_headers proxy_continue_response", "0"),
];
