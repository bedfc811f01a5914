//! Calls that guests make: HTTP, gRPC, foreign functions.

use super::{EVERY, Row, Scenario, Sent, differs, row, scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { versions: &["0_2_0", "0_2_1"], ..scenario("HTTP calls", Sent::Get, HTTP) },
    Scenario { versions: EVERY, ..scenario("gRPC calls", Sent::Get, GRPC) },
    Scenario { versions: &["0_2_0", "0_2_1"], ..scenario("a gRPC call that is answered", Sent::Get, GRPC_ANSWERED) },
    Scenario { versions: &["0_2_0", "0_2_1"], ..scenario("a gRPC call that fails", Sent::Get, GRPC_FAILED) },
    Scenario { versions: &["0_2_0", "0_2_1"], ..scenario("a gRPC stream", Sent::Get, GRPC_STREAM) },
    Scenario { versions: EVERY, ..scenario("foreign functions", Sent::Get, FOREIGN) },
];

const HTTP: &[Row] = &[
    // Not begun: the id is 0.
    row("request_headers proxy_http_call 'nowhere {:method=GET,:path=/,:authority=a} ' ' 1000 >4", "2 0"),
    row("request_headers proxy_http_call 'other {:path=/,:authority=a} ' ' 1000 >4", "2 0"),
    row("request_headers proxy_http_call 'other {:method=GET,:authority=a} ' ' 1000 >4", "2 0"),
    row("request_headers proxy_http_call 'other {:method=GET,:path=/} ' ' 1000 >4", "2 0"),
    row("request_headers proxy_http_call 'other ' ' ' 1000 >4", "2 0"),
    row("request_headers proxy_http_call 'other {:method=GET,:path=/,:authority=a} ' ' -1 >4", "2 0"),
    row("request_headers proxy_http_call 'other {:method=GET,:path=/c,:authority=a} ' ' 5000 >4", "0 4"),
    row("request_headers return 1", ""),
    row("http_call_response#1 context", "1"),
    row("http_call_response#1 numbers", "[4, *, 6, *]"),
    row("http_call_response#1 proxy_get_header_map_value 6 ':status >", "0 '200"),
    row("http_call_response#1 proxy_get_header_map_value 6 'x-from >", "0 '*"),
    row("http_call_response#1 proxy_get_header_map_value 6 'x-none >", "1 untouched"),
    row("http_call_response#1 proxy_add_header_map_value 6 'x-a '1", "2"),
    row("http_call_response#1 proxy_get_buffer_status 4 >4 >4", "0 6 0"),
    row("http_call_response#1 proxy_get_buffer_bytes 4 0 3 >", "0 'ans"),
    differs("http_call_response#1 proxy_get_header_map_size 6 >4", "0 *", "2 untouched", "what can be read has a size"),
    row("http_call_response#1 proxy_get_status >4 >", "0 0 null"),
    row("http_call_response#1 proxy_set_buffer_bytes 4 0 0 'x", "2"),
    // The stream is not the effective context yet.
    row("http_call_response#1 proxy_get_header_map_value 0 ':path >", "2 untouched"),
    row("http_call_response#1 proxy_set_effective_context 999", "2"),
    row("http_call_response#1 proxy_set_effective_context 2", "0"),
    row("http_call_response#1 proxy_get_header_map_value 0 ':path >", "0 '/p?q%3D1"),
    row("http_call_response#1 proxy_add_header_map_value 0 'x-called '1", "0"),
    row("http_call_response#1 proxy_http_call 'other {:method=GET,:path=/d,:authority=a} 'body ' 5000 >4", "0 8"),
    row("http_call_response#1 proxy_grpc_cancel 8", "2"),
    row("http_call_response#1 proxy_continue_stream 0", "0"),
];

const GRPC: &[Row] = &[
    row("request_headers proxy_grpc_call 'nowhere 'a.B 'C ' ' 1000 >4", "4 *"),
    row("request_headers proxy_grpc_stream 'nowhere 'a.B 'C ' >4", "4 *"),
    row("request_headers proxy_grpc_send 4 'x 0", "2"),
    row("request_headers proxy_grpc_send 5 'x 0", "2"),
    row("request_headers proxy_grpc_send 6 'x 0", "1"),
    row("request_headers proxy_grpc_send 7 'x 0", "2"),
    row("request_headers proxy_grpc_cancel 4", "2"),
    row("request_headers proxy_grpc_cancel 5", "1"),
    row("request_headers proxy_grpc_cancel 6", "1"),
    row("request_headers proxy_grpc_cancel 7", "2"),
    row("request_headers proxy_grpc_close 4", "2"),
    row("request_headers proxy_grpc_close 5", "1"),
    row("request_headers proxy_grpc_close 6", "1"),
    row("request_headers proxy_grpc_close 7", "2"),
    row("request_headers proxy_get_status >4 >", "0 0 null"),
    row("request_headers proxy_grpc_call 'other 'a.B 'C ' 'hello 1000 >4=call", "0 5"),
    row("request_headers proxy_grpc_stream 'other 'a.B 'C ' >4=stream", "0 6"),
    row("request_headers proxy_grpc_send $call 'x 0", "2"),
    row("request_headers proxy_grpc_send $stream 'x 0", "0"),
    row("request_headers proxy_grpc_cancel $call", "0"),
    row("request_headers proxy_grpc_cancel $call", "1"),
    row("request_headers proxy_grpc_cancel $stream", "0"),
    row("request_headers proxy_grpc_send $stream 'x 0", "1"),
];

/// Nothing but the message.
const GRPC_ANSWERED: &[Row] = &[
    row("request_headers proxy_grpc_call 'grpc 'a.B 'C {x-meta=1} 'hello 1000 >4", "0 5"),
    row("request_headers return 1", ""),
    row("grpc_receive context", "1"),
    row("grpc_receive numbers", "[5, 2, 0, 0]"),
    row("grpc_receive proxy_get_buffer_bytes 5 0 9 >", "0 '%01%02"),
    row("grpc_receive proxy_get_buffer_status 5 >4 >4", "0 2 0"),
    // It can be cancelled until it has been told of.
    row("grpc_receive proxy_grpc_cancel 5", "0"),
    row("grpc_receive proxy_grpc_cancel 5", "1"),
    row("grpc_receive proxy_set_effective_context 2", "0"),
    row("grpc_receive proxy_continue_stream 0", "0"),
];

/// Nothing but the end.
const GRPC_FAILED: &[Row] = &[
    row("request_headers proxy_grpc_call 'broken 'a.B 'C ' 'hello 1000 >4", "0 5"),
    row("request_headers return 1", ""),
    row("grpc_close numbers", "[5, 5, 0, 0]"),
    row("grpc_close proxy_get_status >4 >", "0 5 *"),
    row("grpc_close proxy_set_effective_context 2", "0"),
    row("grpc_close proxy_continue_stream 0", "0"),
];

const GRPC_STREAM: &[Row] = &[
    row("request_headers proxy_grpc_stream 'grpc 'a.B 'C ' >4", "0 6"),
    row("request_headers proxy_grpc_send 6 'hello 1", "0"),
    row("request_headers return 1", ""),
    row("grpc_receive_initial_metadata numbers", "[6, *, 0, 0]"),
    row("grpc_receive_initial_metadata proxy_get_header_map_value 4 'content-type >", "0 'application/grpc"),
    row("grpc_receive_initial_metadata proxy_get_header_map_value 4 'x-none >", "1 untouched"),
    row("grpc_receive numbers", "[6, 2, 0, 0]"),
    row("grpc_receive_trailing_metadata numbers", "[6, 1, 0, 0]"),
    row("grpc_receive_trailing_metadata proxy_get_header_map_value 5 'grpc-status >", "0 '0"),
    row("grpc_close numbers", "[6, 0, 0, 0]"),
    row("grpc_close proxy_get_status >4 >", "0 0 *"),
    row("grpc_close proxy_set_effective_context 2", "0"),
    row("grpc_close proxy_continue_stream 0", "0"),
];

const FOREIGN: &[Row] = &[
    row("request_headers proxy_call_foreign_function 'nothing ' >", "1 untouched"),
    row("request_headers proxy_call_foreign_function ' ' >", "1 untouched"),
    row("request_headers proxy_call_foreign_function 'clear_route_cache ' >", "0 null"),
    row("request_headers proxy_call_foreign_function 'clear_route_cache ' 0 0", "0"),
    differs(
        "request_headers proxy_call_foreign_function 'uncompress 'x%9C%03%00%00%00%00%01 >",
        "0 null",
        "0 '",
        "no bytes need no memory",
    ),
    row("request_headers proxy_call_foreign_function 'uncompress 'x%9CKLJ%06%00%02M%01' >", "0 'abc"),
    row("request_headers proxy_call_foreign_function 'uncompress 'garbage >", "3 null"),
    row("request_headers proxy_call_foreign_function 'compress 'abc >", "0 'x%9CKLJ%06%00%02M%01%27"),
    row("request_headers proxy_call_foreign_function 'declare_property '%FF%FF >", "2 null"),
    row("request_headers proxy_call_foreign_function 'set_envoy_filter_state '%FF%FF >", "2 null"),
    row("request_headers proxy_call_foreign_function 'verify_signature '%FF%FF >", "2 null"),
    row("request_headers proxy_call_foreign_function 'sign '%FF%FF >", "2 null"),
    differs(
        "request_headers proxy_call_foreign_function 'expr_create 'request.path >",
        "1 untouched",
        "0 '%00%00%00%00",
        "there are no expressions here",
    ),
    differs(
        "request_headers proxy_call_foreign_function 'expr_evaluate '%00%00%00%00 >",
        "1 untouched",
        "0 '/p?q%3D1",
        "as above",
    ),
];
