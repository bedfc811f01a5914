//! What VMs share: data, queues, metrics.

use super::{EVERY, Row, Scenario, Sent, differs, row, scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { versions: EVERY, ..scenario("shared data", Sent::Get, DATA) },
    Scenario { versions: EVERY, ..scenario("queues", Sent::Get, QUEUES) },
    Scenario { versions: EVERY, ..scenario("metrics", Sent::Get, METRICS) },
];

const DATA: &[Row] = &[
    row("request_headers proxy_get_shared_data 'k > >4", "1 untouched untouched"),
    // The number of a key that is not there does not matter.
    row("request_headers proxy_set_shared_data 'k 'one 7777", "0"),
    row("request_headers proxy_get_shared_data 'k > >4=cas", "0 'one *"),
    row("request_headers proxy_set_shared_data 'k 'two 999999", "8"),
    row("request_headers proxy_set_shared_data 'k 'two $cas", "0"),
    row("request_headers proxy_set_shared_data 'k 'three $cas", "8"),
    row("request_headers proxy_get_shared_data 'k > >4", "0 'two *"),
    row("request_headers proxy_set_shared_data 'k 'three 0", "0"),
    row("request_headers proxy_get_shared_data 'k > >4", "0 'three *"),
    // Empty is a value: nothing can be deleted.
    row("request_headers proxy_set_shared_data 'k ' 0", "0"),
    row("request_headers proxy_get_shared_data 'k > >4", "0 null *"),
    row("request_headers proxy_set_shared_data ' 'no%20name 0", "0"),
    row("request_headers proxy_get_shared_data ' > >4", "0 'no%20name *"),
];

const QUEUES: &[Row] = &[
    row("request_headers proxy_resolve_shared_queue ' 'q >4", "1 untouched"),
    row("request_headers proxy_register_shared_queue 'q >4=q", "0 *"),
    row("request_headers proxy_resolve_shared_queue ' 'q >4=again", "0 *"),
    row("request_headers proxy_resolve_shared_queue 'another 'q >4", "1 untouched"),
    row("request_headers proxy_dequeue_shared_queue $q >", "7 untouched"),
    row("request_headers proxy_enqueue_shared_queue $q 'first", "0"),
    row("request_headers proxy_enqueue_shared_queue $again 'second", "0"),
    row("request_headers proxy_enqueue_shared_queue $q '", "0"),
    row("request_headers proxy_dequeue_shared_queue $q >", "0 'first"),
    // The content survives another registration.
    row("request_headers proxy_register_shared_queue 'q >4=q", "0 *"),
    row("request_headers proxy_dequeue_shared_queue $q >", "0 'second"),
    row("request_headers proxy_dequeue_shared_queue $q >", "0 null"),
    row("request_headers proxy_dequeue_shared_queue $q >", "7 untouched"),
    row("request_headers proxy_enqueue_shared_queue 999999 'x", "1"),
    row("request_headers proxy_dequeue_shared_queue 999999 >", "1 untouched"),
    // Once for each item, though all have been taken.
    row("queue_ready#1 context", "1"),
    row("queue_ready#2 proxy_dequeue_shared_queue $q >", "7 untouched"),
    row("queue_ready#3 proxy_dequeue_shared_queue $q >", "7 untouched"),
];

const METRICS: &[Row] = &[
    row("request_headers proxy_define_metric 0 'conformance_counter >4=c", "0 4"),
    row("request_headers proxy_define_metric 0 'conformance_counter >4=again", "0 8"),
    row("request_headers proxy_define_metric 1 'conformance_gauge >4=g", "0 5"),
    row("request_headers proxy_define_metric 2 'conformance_histogram >4=h", "0 6"),
    differs("request_headers proxy_define_metric 0 ' >4", "2 untouched", "0 12", "a metric without a name"),
    differs("request_headers proxy_define_metric 0 'a%20b >4", "2 untouched", "0 16", "no name of a metric"),
    row("request_headers proxy_define_metric 3 'conformance_none >4", "2 untouched"),
    row("request_headers proxy_increment_metric $c 2", "0"),
    row("request_headers proxy_increment_metric $c 0", "2"),
    row("request_headers proxy_increment_metric $c -1", "2"),
    row("request_headers proxy_get_metric $c >8=before", "0 *"),
    // Adds.
    row("request_headers proxy_record_metric $c 5", "0"),
    // Another id of the same metric.
    row("request_headers proxy_get_metric $again >8", "0 *"),
    row("request_headers proxy_increment_metric $g 3", "0"),
    row("request_headers proxy_record_metric $g 7", "0"),
    row("request_headers proxy_get_metric $g >8", "0 7"),
    row("request_headers proxy_increment_metric $g -2", "0"),
    row("request_headers proxy_get_metric $g >8", "0 5"),
    row("request_headers proxy_increment_metric $g -1000", "0"),
    differs(
        "request_headers proxy_get_metric $g >8",
        "0 0",
        "0 18446744073709550621",
        "a gauge that wraps below 0 is of no use to anybody",
    ),
    row("request_headers proxy_increment_metric $h 1", "2"),
    row("request_headers proxy_get_metric $h >8", "2 untouched"),
    row("request_headers proxy_record_metric $h 12", "0"),
    row("request_headers proxy_increment_metric 400 1", "1"),
    row("request_headers proxy_increment_metric 401 1", "1"),
    row("request_headers proxy_increment_metric 402 1", "2"),
    row("request_headers proxy_increment_metric 403 1", "2"),
    row("request_headers proxy_record_metric 400 1", "1"),
    row("request_headers proxy_record_metric 401 1", "1"),
    row("request_headers proxy_record_metric 402 1", "1"),
    row("request_headers proxy_record_metric 403 1", "1"),
    row("request_headers proxy_get_metric 400 >8", "1 untouched"),
    row("request_headers proxy_get_metric 401 >8", "1 untouched"),
    row("request_headers proxy_get_metric 402 >8", "2 untouched"),
    row("request_headers proxy_get_metric 403 >8", "2 untouched"),
    row("request_headers proxy_get_metric 0 >8", "1 untouched"),
    row("request_headers proxy_increment_metric 0 1", "1"),
];
