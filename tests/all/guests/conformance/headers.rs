//! Header maps.

use super::{EVERY, LATEST, Row, Scenario, Sent, differs, ours, row, scenario};

/// Why request headers can be read when they have gone on: in Envoy a guest of the Rust SDK panics on the answer.
const READABLE: &str = "request headers stay readable: a superset that saves guests from a panic";

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("values", Sent::Get, VALUES),
    Scenario { versions: &["0_1_0"], ..scenario("values of ABI 0.1.0", Sent::Get, ABSENT_IN_0_1_0) },
    scenario("edits", Sent::Get, EDITS),
    scenario("joined", Sent::Get, JOINED),
    Scenario { status: (503, 503), ..scenario("names and values that cannot be written", Sent::Get, UNWRITABLE) },
    Scenario { status: (200, 404), ..scenario("malformed pairs", Sent::Get, MALFORMED) },
    Scenario { versions: EVERY, ..scenario("phases", Sent::Trailers, PHASES) },
    Scenario { versions: LATEST, ..scenario("trailers made by a filter", Sent::Post, MADE_TRAILERS) },
];

const VALUES: &[Row] = &[
    row("configure proxy_get_header_map_value 0 ':path >", "2 untouched"),
    row("configure proxy_get_header_map_pairs 0 >>", "0 null"),
    row("configure proxy_add_header_map_value 0 'x-a '1", "2"),
    row("request_headers proxy_get_header_map_value 0 ':path >", "0 '/p?q%3D1"),
    row("request_headers proxy_get_header_map_value 0 ':PATH >", "0 '/p?q%3D1"),
    row("request_headers proxy_get_header_map_value 0 ':method >", "0 'GET"),
    row("request_headers proxy_get_header_map_value 0 ':authority >", "0 'example.test"),
    row("request_headers proxy_get_header_map_value 0 'host >", "0 'example.test"),
    row("request_headers proxy_get_header_map_value 0 ':scheme >", "0 'http"),
    // The first of several, and an empty one is there.
    row("request_headers proxy_get_header_map_value 0 'X-M >", "0 '1"),
    row("request_headers proxy_get_header_map_value 0 'x-empty >", "0 null"),
    row("request_headers proxy_get_header_map_value 0 'x-none >", "1 untouched"),
    row("request_headers proxy_get_header_map_value 0 ' >", "1 untouched"),
    // Maps that are not there, and none.
    row("request_headers proxy_get_header_map_value 1 'x-sum >", "2 untouched"),
    row("request_headers proxy_get_header_map_value 2 ':status >", "2 untouched"),
    row("request_headers proxy_get_header_map_value 3 'x >", "2 untouched"),
    row("request_headers proxy_get_header_map_value 6 ':status >", "2 untouched"),
    row("request_headers proxy_get_header_map_value 8 ':path >", "2 untouched"),
    row("request_headers proxy_get_header_map_pairs 2 >>", "0 null"),
    row("request_headers proxy_get_header_map_pairs 1 >>", "0 null"),
    row("request_headers proxy_get_header_map_pairs 8 >>", "2 untouched"),
    row("request_headers proxy_get_header_map_size 2 >4", "2 untouched"),
    row("request_headers proxy_get_header_map_size 8 >4", "2 untouched"),
    row("request_headers proxy_add_header_map_value 2 'x-a '1", "2"),
    row("request_headers proxy_replace_header_map_value 1 'x-a '1", "2"),
    row("request_headers proxy_remove_header_map_value 3 'x-a", "2"),
    row("request_headers proxy_set_header_map_pairs 2 {x-a=1}", "2"),
    row("request_headers proxy_set_header_map_pairs 8 {x-a=1}", "2"),
    row("request_headers proxy_add_header_map_value 8 'x-a '1", "2"),
    row("request_headers proxy_remove_header_map_value 8 'x-a", "2"),
];

const ABSENT_IN_0_1_0: &[Row] = &[
    row("request_headers proxy_get_header_map_value 0 'x-none >", "0 null"),
    row("request_headers proxy_get_header_map_value 0 'x-m >", "0 '1"),
    row("request_headers proxy_get_header_map_value 2 ':status >", "2 untouched"),
];

/// From a known list on, so that what the proxy adds does not matter.
const EDITS: &[Row] = &[
    row(
        "request_headers proxy_set_header_map_pairs 0 {:authority=example.test,:path=/e,:method=GET,:scheme=http,\
         x-forwarded-proto=http,x-m=1,x-z=3,x-m=2}",
        "0",
    ),
    row(
        "request_headers proxy_get_header_map_pairs 0 >>",
        "0 {:authority=example.test,:path=/e,:method=GET,:scheme=http,x-forwarded-proto=http,x-m=1,x-z=3,x-m=2}",
    ),
    // Bytes of names and values, not the number of headers.
    row("request_headers proxy_get_header_map_size 0 >4", "0 83"),
    row("request_headers proxy_add_header_map_value 0 'X-A '1", "0"),
    row("request_headers proxy_add_header_map_value 0 'x-a '2", "0"),
    row("request_headers proxy_get_header_map_value 0 'x-a >", "0 '1"),
    row("request_headers proxy_replace_header_map_value 0 'x-m '9", "0"),
    row("request_headers proxy_replace_header_map_value 0 ':path '/f", "0"),
    row("request_headers proxy_replace_header_map_value 0 'x-new '", "0"),
    row("request_headers proxy_remove_header_map_value 0 'X-Z", "0"),
    row("request_headers proxy_remove_header_map_value 0 'x-never", "0"),
    differs(
        "request_headers proxy_get_header_map_pairs 0 >>",
        "0 {:authority=example.test,:path=/f,:method=GET,:scheme=http,x-forwarded-proto=http,x-a=1,x-a=2,x-m=9,x-new=}",
        "0 {:authority=example.test,:method=GET,:scheme=http,:path=/f,x-forwarded-proto=http,x-a=1,x-a=2,x-m=9,x-new=}",
        "the order of pseudo-headers says nothing",
    ),
];

const JOINED: &[Row] = &[
    row("request_headers proxy_add_header_map_value 0 ':path 'x", "0"),
    row("request_headers proxy_get_header_map_value 0 ':path >", "0 '/p?q%3D1%2Cx"),
    row("request_headers proxy_add_header_map_value 0 'host 'via", "0"),
    row("request_headers proxy_get_header_map_value 0 ':authority >", "0 'example.test%2Cvia"),
    row("request_headers proxy_replace_header_map_value 0 'host 'example.test", "0"),
    row("request_headers proxy_get_header_map_value 0 ':authority >", "0 'example.test"),
    row("request_headers proxy_add_header_map_value 0 'user-agent 'more", "0"),
    row("request_headers proxy_get_header_map_value 0 'user-agent >", "0 'agent/1%2Cmore"),
];

const UNWRITABLE: &[Row] = &[
    row("request_headers proxy_add_header_map_value 0 'x-a 'a%0D%0Ab", "0"),
    row("request_headers proxy_get_header_map_value 0 'x-a >", "0 'a%0D%0Ab"),
    row("request_headers proxy_add_header_map_value 0 'x%20b '1", "0"),
];

const MALFORMED: &[Row] = &[
    differs(
        "request_headers proxy_set_header_map_pairs 0 'garbage",
        "2",
        "0",
        "Envoy takes it for an empty map, and wipes every header",
    ),
    differs("request_headers proxy_get_header_map_value 0 ':path >", "0 '/p?q%3D1", "1 untouched", "as above"),
];

const PHASES: &[Row] = &[
    row("request_headers proxy_get_header_map_value 0 'x-m >", "0 '1"),
    differs("request_body#1 proxy_get_header_map_value 0 'x-m >", "0 '1", "2 untouched", READABLE),
    row("request_body#1 proxy_add_header_map_value 0 'x-late '1", "2"),
    // Trailers are to come: they can neither be read nor made yet.
    row("request_body#1 proxy_add_header_map_value 1 'x-t '1", "2"),
    row("request_trailers proxy_get_header_map_value 1 'x-sum >", "0 '1"),
    row("request_trailers proxy_get_header_map_size 1 >4", "0 6"),
    row("request_trailers proxy_add_header_map_value 1 'x-t '2", "0"),
    row("request_trailers proxy_get_header_map_pairs 1 >>", "0 {x-sum=1,x-t=2}"),
    differs("response_headers proxy_get_header_map_value 0 'x-m >", "0 '1", "2 untouched", READABLE),
    row("response_headers proxy_add_header_map_value 0 'x-late '1", "2"),
    row("response_headers proxy_set_header_map_pairs 0 {x-late=1}", "2"),
    row("response_headers proxy_get_header_map_value 2 ':status >", "0 '200"),
    row("response_headers proxy_get_header_map_value 2 'x-from >", "0 'upstream"),
    row("response_headers proxy_add_header_map_value 2 'x-r '1", "0"),
    row("response_body#1 proxy_add_header_map_value 2 'x-late '1", "2"),
    row("log proxy_get_header_map_value 0 'x-m >", "0 '1"),
    row("log proxy_get_header_map_value 2 'x-r >", "0 '1"),
    row("log proxy_add_header_map_value 0 'x-late '1", "2"),
    row("log proxy_add_header_map_value 2 'x-late '1", "2"),
    row("log proxy_set_header_map_pairs 2 {x-late=1}", "2"),
    ours("done proxy_add_header_map_value 0 'x-late '1", "2", "nothing is there in Envoy"),
];

const MADE_TRAILERS: &[Row] = &[
    row("request_body#1 numbers", "[3, 0, 0, 0]"),
    row("request_body#1 proxy_add_header_map_value 1 'x-made '1", "2"),
    row("request_body#2 numbers", "[0, 1, 0, 0]"),
    row("request_body#2 proxy_add_header_map_value 1 'x-made '1", "0"),
];
