//! Start, timer, contexts, end; logs, time; the system interface.

use super::{EVERY, Row, Scenario, Sent, ours, row, scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { versions: EVERY, ..scenario("lifecycle", Sent::Get, LIFECYCLE) },
    Scenario { versions: EVERY, ..scenario("timer", Sent::Get, TIMER) },
    scenario("contexts", Sent::Get, CONTEXTS),
    scenario("logs and time", Sent::Get, SYSTEM),
    Scenario { versions: &["0_1_0", "0_2_0"], ..scenario("no log level", Sent::Get, NO_LOG_LEVEL) },
    scenario("postponed end", Sent::Get, POSTPONED),
    scenario("system interface", Sent::Get, WASI),
];

const LIFECYCLE: &[Row] = &[
    row("context_create#1 context", "1"),
    row("context_create#1 numbers", "[0, 0, 0, 0]"),
    row("vm_start context", "1"),
    row("configure numbers", "[26, 0, 0, 0]"),
    row("configure proxy_done", "1"),
    row("context_create#2 context", "2"),
    row("request_headers context", "2"),
    row("request_headers proxy_done", "1"),
    row("log context", "2"),
];

/// The root context's, whoever sets it.
const TIMER: &[Row] = &[
    row("request_headers proxy_set_tick_period_milliseconds 20", "0"),
    row("tick#1 context", "1"),
    row("tick#2 proxy_set_effective_context 2", "2"),
    row("tick#2 proxy_set_tick_period_milliseconds 0", "0"),
];

/// The effective context lasts until the callback returns.
const CONTEXTS: &[Row] = &[
    row("configure proxy_set_effective_context 2", "2"),
    row("configure proxy_set_effective_context 0", "*"),
    row("request_headers proxy_set_effective_context 999", "2"),
    row("request_headers proxy_set_effective_context @", "0"),
    row("request_headers proxy_get_header_map_value 0 ':path >", "0 '/p?q%3D1"),
    row("request_headers proxy_set_effective_context 1", "0"),
    row("request_headers proxy_get_header_map_value 0 ':path >", "2 untouched"),
    row("request_headers proxy_set_property 'k 'v", "1"),
    row("request_headers proxy_set_effective_context @", "0"),
    row("request_headers proxy_set_property 'k 'v", "0"),
    row("response_headers proxy_get_header_map_value 2 ':status >", "0 '200"),
];

const SYSTEM: &[Row] = &[
    row("request_headers proxy_get_log_level >4", "0 2"),
    row("request_headers proxy_log 6 'x", "2"),
    row("request_headers proxy_log 0 'not%20wanted", "0"),
    row("request_headers proxy_log 2 0xfffffff0 10", "6"),
    row("request_headers proxy_log 0 0xfffffff0 10", "6"),
    row("request_headers proxy_get_current_time_nanoseconds >8", "0 *"),
    row("request_headers proxy_get_status >4 >", "0 0 null"),
    row("request_headers proxy_set_tick_period_milliseconds 0", "0"),
];

const NO_LOG_LEVEL: &[Row] = &[row("request_headers proxy_get_log_level >4", "no such hostcall")];

const POSTPONED: &[Row] = &[
    row("request_headers proxy_set_tick_period_milliseconds 100", "0"),
    ours("done#2 context", "1", "Envoy says so only when it ends"),
    ours("done#2 return 0", "", "as above"),
    ours("done#2 proxy_done", "1", "it is pending when on_done has returned"),
    ours("tick proxy_done", "0", "not pending before"),
    ours("delete#2 context", "1", "once the timer has called proxy_done"),
];

const WASI: &[Row] = &[
    row("request_headers args_sizes_get >4 >4", "0 0 0"),
    row("request_headers args_get 0 0", "0"),
    row("request_headers clock_res_get 0 >8", "0 1"),
    row("request_headers clock_time_get 0 1 >8", "0 *"),
    row("request_headers clock_time_get 1 1 >8", "0 *"),
    row("request_headers clock_time_get 2 1 >8", "58 untouched"),
    row("request_headers environ_sizes_get >4 >4", "0 1 10"),
    row("request_headers random_get >8 4", "0 *"),
    row("request_headers random_get 0 65537", "28"),
    row("request_headers sched_yield", "0"),
    row("request_headers poll_oneoff 0 0 0 >4", "0 0"),
    row("request_headers fd_write 3 0 0 >4", "8 untouched"),
    row("request_headers fd_read 0 0 0 >4", "52 untouched"),
    row("request_headers fd_close 1", "0"),
    row("request_headers fd_fdstat_get 0 >8", "8 untouched"),
    row("request_headers fd_fdstat_set_flags 1 0", "52"),
    row("request_headers fd_prestat_get 3 >8", "8 untouched"),
    row("request_headers fd_prestat_dir_name 3 0 0", "52"),
    row("request_headers fd_filestat_get 1 >8", "8 untouched"),
    row("request_headers fd_advise 1 0 0 0", "0"),
    row("request_headers path_open 3 0 'x 0 0 0 0 >4", "44 untouched"),
    row("request_headers path_filestat_get 3 0 'x >8", "58 untouched"),
    row("request_headers path_unlink_file 3 'x", "58"),
    row("request_headers sock_send 1 0 0 0 >4", "58 *"),
];
