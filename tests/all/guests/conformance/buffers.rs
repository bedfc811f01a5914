//! Buffers.

use super::{EVERY, Row, Scenario, Sent, ours, row, scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { versions: EVERY, ..scenario("reading buffers", Sent::Post, READING) },
    scenario("editing buffers", Sent::Post, EDITING),
    Scenario { versions: &["0_1_0"], ..scenario("configurations of ABI 0.1.0", Sent::Get, GET_CONFIGURATION) },
];

const READING: &[Row] = &[
    row("vm_start proxy_get_buffer_bytes 6 0 1 >", "0 '0"),
    row("vm_start proxy_get_buffer_bytes 7 0 9 >", "1 untouched"),
    row("configure proxy_get_buffer_bytes 7 0 99 >", "0 'the%20plugin%27s%20configuration"),
    row("configure proxy_get_buffer_bytes 7 4 6 >", "0 'plugin"),
    row("configure proxy_get_buffer_status 7 >4 >4", "0 26 0"),
    row("configure proxy_get_buffer_bytes 0 0 9 >", "0 null"),
    row("request_headers proxy_get_buffer_bytes 0 0 9 >", "0 null"),
    row("request_headers proxy_get_buffer_status 0 >4 >4", "0 0 0"),
    row("request_body#1 proxy_get_buffer_status 0 >4 >4", "0 3 0"),
    row("request_body#1 proxy_get_buffer_bytes 0 0 9 >", "0 'abc"),
    row("request_body#1 proxy_get_buffer_bytes 0 1 1 >", "0 'b"),
    row("request_body#1 proxy_get_buffer_bytes 0 2 0 >", "0 null"),
    row("request_body#1 proxy_get_buffer_bytes 0 3 5 >", "0 null"),
    row("request_body#1 proxy_get_buffer_bytes 0 9 1 >", "0 null"),
    row("request_body#1 proxy_get_buffer_bytes 0 0xffffffff 0xffffffff >", "0 null"),
    row("request_body#1 proxy_get_buffer_bytes 0 1 0xffffffff >", "0 'bc"),
    row("request_body#1 proxy_get_buffer_bytes 1 0 9 >", "0 null"),
    row("request_body#1 proxy_get_buffer_bytes 2 0 9 >", "0 null"),
    row("request_body#1 proxy_get_buffer_bytes 4 0 9 >", "1 untouched"),
    row("request_body#1 proxy_get_buffer_bytes 6 0 1 >", "0 '0"),
    row("request_body#1 proxy_get_buffer_bytes 7 0 9 >", "1 untouched"),
    row("request_body#1 proxy_get_buffer_bytes 9 0 9 >", "2 untouched"),
    row("request_body#1 proxy_get_buffer_status 9 >4 >4", "2 untouched untouched"),
    row("request_body#1 proxy_get_buffer_status 7 >4 >4", "1 untouched untouched"),
    row("response_body#1 proxy_get_buffer_bytes 1 0 9 >", "0 'answer"),
    row("response_body#1 proxy_get_buffer_bytes 0 0 9 >", "0 null"),
    ours("log proxy_get_buffer_bytes 0 0 9 >", "0 null", "not said anywhere"),
];

const EDITING: &[Row] = &[
    row("configure proxy_set_buffer_bytes 7 0 0 'x", "2"),
    row("request_headers proxy_set_buffer_bytes 0 0 0 'x", "2"),
    row("request_body#1 proxy_set_buffer_bytes 0 1 1 'X", "2"),
    row("request_body#1 proxy_set_buffer_bytes 0 2 9 'X", "2"),
    row("request_body#1 proxy_set_buffer_bytes 0 0 0 'pre", "0"),
    row("request_body#1 proxy_get_buffer_bytes 0 0 9 >", "0 'preabc"),
    row("request_body#1 proxy_set_buffer_bytes 0 0 1 'P-", "0"),
    row("request_body#1 proxy_get_buffer_bytes 0 0 9 >", "0 'P-reabc"),
    row("request_body#1 proxy_set_buffer_bytes 0 7 0 'd", "0"),
    row("request_body#1 proxy_set_buffer_bytes 0 99 5 'e", "0"),
    row("request_body#1 proxy_get_buffer_bytes 0 0 9 >", "0 'P-reabcde"),
    // All of it; the length that was promised has to stay in Envoy.
    row("request_body#1 proxy_set_buffer_bytes 0 0 9 'xyz", "0"),
    row("request_body#1 proxy_get_buffer_bytes 0 0 9 >", "0 'xyz"),
    row("request_body#1 proxy_set_buffer_bytes 1 0 0 'x", "2"),
    row("request_body#1 proxy_set_buffer_bytes 6 0 0 'x", "2"),
    row("request_body#1 proxy_set_buffer_bytes 7 0 0 'x", "1"),
    row("request_body#1 proxy_set_buffer_bytes 9 0 0 'x", "2"),
];

const GET_CONFIGURATION: &[Row] = &[row("configure proxy_get_configuration >", "0 'the%20plugin%27s%20configuration")];
