use super::*;
use crate::filter_chain::test_plugin::{GuestText, TestHost, chain_and_stream, run};
use crate::wasm::{HttpCallResponse, Plugin};
use http_match::HeaderList;
use std::time::Duration;

const REQUEST: Direction = Direction::Request;
const RESPONSE: Direction = Direction::Response;

/// Stops in `on_new_connection`.
fn stopping() -> GuestText {
    GuestText::logging().on("new_connection", "(i32.const 1)")
}

/// Ends with a trap.
const TRAP: &str = "unreachable";

fn connection(plugins: Vec<Rc<Plugin>>) -> FilteredConnection {
    let (chain, stream) = chain_and_stream(plugins, HeaderList::new());
    let mut connection = FilteredConnection::new(chain, stream);
    connection.begin();
    connection
}

fn data(connection: &mut FilteredConnection, direction: Direction, text: &'static str, end: bool) {
    connection.data(direction, Bytes::from_static(text.as_bytes()), end);
}

/// All that has come out of a direction; `|` is its end.
fn out(connection: &mut FilteredConnection, direction: Direction) -> String {
    let mut text = String::new();
    while let Some(Passed { bytes, end }) = connection.next(direction) {
        text += str::from_utf8(&bytes).unwrap();
        text += if end { "|" } else { "" };
    }
    text
}

#[test]
fn sizes_accumulate_until_the_guest_continues() {
    run(true, async {
        let host = TestHost::new();
        let until_nine = "(i32.lt_u (local.get $a) (i32.const 9))";
        let guest = GuestText::logging().on("downstream_data", until_nine).on("upstream_data", until_nine);
        let mut connection = connection(vec![host.plugin("p", &guest)]);
        assert!(connection.has_begun());
        for direction in [REQUEST, RESPONSE] {
            host.take_lines();
            for text in ["abc", "def"] {
                data(&mut connection, direction, text, false);
                assert_eq!(out(&mut connection, direction), "");
                assert!(connection.is_held() && connection.wants(direction));
            }
            data(&mut connection, direction, "ghi", false);
            assert_eq!(out(&mut connection, direction), "abcdefghi");
            assert!(!connection.is_held());
            data(&mut connection, direction, "123456789", true);
            assert_eq!(out(&mut connection, direction), "123456789|");
            let name = if direction == REQUEST { "downstream" } else { "upstream" };
            let lines: Vec<_> = host.take_lines();
            let expected = ["3 0", "6 0", "9 0", "9 1"].map(|sizes| format!("p {name}_data {sizes}"));
            assert_eq!(lines[..4], expected);
        }
    });
}

#[test]
fn a_chain_there_back_and_its_end() {
    run(true, async {
        let host = TestHost::new();
        let guest = GuestText::logging();
        let mut connection = connection(vec![host.plugin("a", &guest), host.plugin("b", &guest)]);
        data(&mut connection, REQUEST, "x", true);
        data(&mut connection, RESPONSE, "yz", true);
        connection.finish(ClosedBy::Remote);
        let expected = [
            "a new_connection",
            "b new_connection",
            "a downstream_data 1 1",
            "b downstream_data 1 1",
            "b upstream_data 2 1",
            "b upstream_connection_close 0",
            "a upstream_data 2 1",
            "a upstream_connection_close 0",
            "a downstream_connection_close 2",
            "a done",
            "a log",
            "a delete",
            "b downstream_connection_close 2",
            "b done",
            "b log",
            "b delete",
        ];
        assert_eq!(host.take_lines(), expected);
    });
}

/// Whatever guests hold and for how long, every byte comes out, once and in order.
#[test]
fn nothing_is_lost_or_doubled() {
    run(true, async {
        let host = TestHost::new();
        // Stops by a bit of a number that the size is multiplied to, but never at the end.
        let stops = |factor: u32| {
            format!(
                "(i32.and (i32.eqz (local.get $b)) (i32.and (i32.const 1) (i32.shr_u
                   (i32.mul (local.get $a) (i32.const {factor})) (i32.const 13))))"
            )
        };
        let guest =
            |factor| GuestText::silent().on("downstream_data", &stops(factor)).on("upstream_data", &stops(factor));
        let plugins: Vec<_> =
            [40_503, 30_103, 52_919].map(|factor| host.plugin(&factor.to_string(), &guest(factor))).into();
        let mut random = fastrand::Rng::with_seed(7);
        for direction in [REQUEST, RESPONSE].repeat(20) {
            let mut connection = connection(plugins.clone());
            let (mut sent, mut came) = (Vec::new(), Vec::new());
            for _ in 0..random.usize(..30) {
                let mut chunk = vec![0; random.usize(..40)];
                random.fill(&mut chunk);
                sent.extend_from_slice(&chunk);
                connection.data(direction, chunk.into(), false);
                came.extend(std::iter::from_fn(|| connection.next(direction)).flat_map(|passed| passed.bytes));
            }
            connection.data(direction, Bytes::new(), true);
            let rest: Vec<_> = std::iter::from_fn(|| connection.next(direction)).collect();
            assert_eq!(rest.iter().map(|passed| passed.end).filter(|end| *end).count(), 1);
            assert!(rest.last().is_some_and(|passed| passed.end));
            came.extend(rest.into_iter().flat_map(|passed| passed.bytes));
            assert_eq!(came, sent);
        }
    });
}

#[test]
fn bytes_that_no_guest_looks_at_are_not_copied() {
    run(true, async {
        let host = TestHost::new();
        let mut connection =
            connection(vec![host.plugin("p", &GuestText::silent().on("new_connection", "(i32.const 0)"))]);
        let bytes = Bytes::from_static(b"abc");
        connection.data(REQUEST, bytes.clone(), false);
        let passed = connection.next(REQUEST).unwrap();
        assert_eq!(passed, Passed { bytes: bytes.clone(), end: false });
        assert_eq!(passed.bytes.as_ptr(), bytes.as_ptr());
    });
}

#[test]
fn a_held_connection_is_shown_bytes_which_let_it_pass() {
    run(true, async {
        let host = TestHost::new();
        let second = GuestText::logging().on("downstream_data", "(i32.lt_u (local.get $a) (i32.const 4))");
        let second = second.on("new_connection", "(i32.const 1)");
        let plugins = vec![host.plugin("a", &stopping()), host.plugin("b", &second)];
        let mut connection = connection(plugins);
        assert!(connection.is_held() && !connection.has_begun());
        data(&mut connection, REQUEST, "abc", false);
        assert!(connection.is_held() && !connection.has_begun(), "the second holds it now");
        data(&mut connection, REQUEST, "d", true);
        assert!(connection.has_begun() && !connection.is_held());
        assert_eq!(out(&mut connection, REQUEST), "abcd|");
        let expected = [
            "a new_connection",
            "a downstream_data 3 0",
            "b new_connection",
            "b downstream_data 3 0",
            "a downstream_data 1 1",
            "b downstream_data 4 1",
        ];
        assert_eq!(host.take_lines(), expected);
    });
}

/// Begins a call in `on_new_connection`, stops, and continues the connection when the answer is there.
fn asking() -> GuestText {
    let mut headers = 3u32.to_le_bytes().to_vec();
    let pairs = [(":method", "GET"), (":path", "/"), (":authority", "a")];
    pairs.iter().flat_map(|(name, value)| [name.len(), value.len()]).for_each(|size| {
        headers.extend_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
    });
    pairs.iter().for_each(|(name, value)| headers.extend_from_slice(format!("{name}\0{value}\0").as_bytes()));
    let (place, length) = (8200, headers.len());
    stopping()
        .data(8192, b"cluster")
        .data(place, &headers)
        .on(
            "new_connection",
            &format!(
                "(global.set $seen (local.get $id))
                 (drop (call $proxy_http_call (i32.const 8192) (i32.const 7) (i32.const {place}) (i32.const {length})
                   (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 9000)))
                 (i32.const 1)"
            ),
        )
        .on(
            "http_call_response",
            "(drop (call $proxy_set_effective_context (global.get $seen)))
             (drop (call $proxy_continue_stream (i32.const 2)))",
        )
}

#[test]
fn a_connection_held_for_an_answer_waits_for_it() {
    run(true, async {
        let host = TestHost::new();
        let mut connection = connection(vec![host.plugin("a", &asking())]);
        data(&mut connection, REQUEST, "abc", false);
        data(&mut connection, REQUEST, "d", true);
        assert!(connection.is_held(), "bytes do not let it pass while the call is in flight");
        let call = host.take_calls().pop().unwrap();
        assert_eq!((call.call.cluster.as_str(), call.call.timeout), ("cluster", Some(Duration::from_secs(1))));
        assert!(call.answer.send(HttpCallResponse::default()).is_ok());
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        connection.heed();
        assert!(connection.has_begun() && !connection.is_held());
        assert_eq!(out(&mut connection, REQUEST), "abcd|");
        let expected =
            ["a new_connection", "a downstream_data 3 0", "a downstream_data 4 1", "a http_call_response 4 0 0 0"];
        assert_eq!(host.take_lines(), expected);
    });
}

#[test]
fn a_connection_held_out_of_sight_waits_within_the_limit() {
    run(true, async {
        let host = TestHost::new();
        let guest = stopping().without("downstream_data");
        let plugin = host.plugin_with("p", &guest, |settings| settings.limits.body = 4);
        let mut connection = connection(vec![plugin]);
        data(&mut connection, REQUEST, "abc", false);
        assert!(connection.wants(REQUEST));
        data(&mut connection, REQUEST, "def", false);
        assert!(!connection.wants(REQUEST), "the client is made to wait");
        assert_eq!((connection.fate(), connection.is_held()), (ConnectionFate::Open, true));
    });
}

#[test]
fn a_guest_edits_what_it_is_shown() {
    run(true, async {
        let host = TestHost::new();
        let edit = |buffer: u32, length: u32| {
            format!(
                "(drop (call $proxy_set_buffer_bytes (i32.const {buffer}) (i32.const 0) (i32.const {length})
                   (i32.const 8192) (i32.const 5)))
                 (i32.const 0)"
            )
        };
        let guest = GuestText::logging().data(8192, b"HELLO");
        let guest = guest.on("downstream_data", &edit(2, u32::MAX >> 1)).on("upstream_data", &edit(3, 0));
        let mut connection = connection(vec![host.plugin("p", &guest)]);
        data(&mut connection, REQUEST, "abc", true);
        data(&mut connection, RESPONSE, "def", true);
        assert_eq!(
            (out(&mut connection, REQUEST), out(&mut connection, RESPONSE)),
            ("HELLO|".into(), "HELLOdef|".into())
        );
    });
}

#[test]
fn a_guest_closes_the_connection() {
    run(true, async {
        for stream in [2, 3] {
            let host = TestHost::new();
            let close = format!("(drop (call $proxy_close_stream (i32.const {stream}))) (i32.const 0)");
            let guest = GuestText::logging()
                .on("downstream_data", &close)
                .on("log", "(drop (call $proxy_close_stream (i32.const 2)))");
            let mut connection = connection(vec![host.plugin("p", &guest)]);
            data(&mut connection, RESPONSE, "hi", false);
            data(&mut connection, REQUEST, "abc", false);
            assert_eq!(connection.fate(), ConnectionFate::Closed);
            assert!(!connection.wants(REQUEST) && !connection.wants(RESPONSE));
            assert_eq!((out(&mut connection, REQUEST), out(&mut connection, RESPONSE)), ("".into(), "hi".into()));
            assert_eq!(connection.stream().state.borrow().details, "wasm_close_stream");
            host.take_lines();
            connection.finish(ClosedBy::Local);
            assert_eq!(host.take_lines(), ["p downstream_connection_close 1", "p done", "p log", "p delete"]);
        }
    });
}

#[test]
fn resuming_what_is_not_held_means_nothing() {
    run(true, async {
        let host = TestHost::new();
        // Asks to continue with the first byte, stops with the second.
        let guest = GuestText::logging().on(
            "downstream_data",
            "(if (i32.eqz (global.get $seen)) (then (drop (call $proxy_continue_stream (i32.const 2)))))
             (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
             (i32.eq (global.get $seen) (i32.const 2))",
        );
        let mut connection = connection(vec![host.plugin("p", &guest)]);
        data(&mut connection, REQUEST, "a", false);
        assert_eq!(out(&mut connection, REQUEST), "a");
        data(&mut connection, REQUEST, "b", false);
        connection.heed();
        assert_eq!(out(&mut connection, REQUEST), "", "the first callback's request is spent");
        assert!(connection.is_held());
    });
}

#[test]
fn a_guest_resumes_in_the_callback_that_stops_and_from_the_other_direction() {
    run(true, async {
        let host = TestHost::new();
        let resume = "(drop (call $proxy_continue_stream (i32.const 2))) (i32.const 0)";
        let stop_and_resume = resume.replace("(i32.const 0)", "(i32.const 1)");
        let mut connection =
            connection(vec![host.plugin("p", &GuestText::logging().on("downstream_data", &stop_and_resume))]);
        data(&mut connection, REQUEST, "a", false);
        assert_eq!(out(&mut connection, REQUEST), "a");
        let guest = GuestText::logging().on("downstream_data", "(i32.const 1)").on("upstream_data", resume);
        let mut connection = self::connection(vec![host.plugin("q", &guest)]);
        data(&mut connection, REQUEST, "b", true);
        assert_eq!(out(&mut connection, REQUEST), "");
        data(&mut connection, RESPONSE, "go", false);
        connection.heed();
        assert_eq!(out(&mut connection, REQUEST), "b|");
    });
}

#[test]
fn a_trap_cuts_the_connection() {
    run(true, async {
        for callback in ["new_connection", "downstream_data", "upstream_data", "upstream_connection_close"] {
            let host = TestHost::new();
            let mut connection = connection(vec![host.plugin("p", &GuestText::logging().on(callback, TRAP))]);
            data(&mut connection, REQUEST, "a", false);
            data(&mut connection, RESPONSE, "b", true);
            assert_eq!(connection.fate(), ConnectionFate::Cut, "{callback}");
            assert_eq!(connection.stream().state.borrow().details, "wasm_fail_stream");
            host.take_lines();
            connection.finish(ClosedBy::Local);
            assert_eq!(host.take_lines(), [""; 0], "{callback}: nothing more for a guest that has failed");
        }
    });
}

#[test]
fn a_trap_under_fail_open_lets_everything_pass() {
    run(true, async {
        let host = TestHost::new();
        // Holds the request, traps in the response.
        let guest = stopping().on("downstream_data", "(i32.const 1)").on("upstream_data", TRAP);
        let open = |settings: &mut crate::wasm::PluginSettings| settings.fail_strategy = FailStrategy::Open;
        let mut connection = connection(vec![host.plugin_with("p", &guest, open)]);
        data(&mut connection, REQUEST, "a", true);
        assert_eq!(out(&mut connection, REQUEST), "");
        data(&mut connection, RESPONSE, "b", true);
        connection.heed();
        assert_eq!(out(&mut connection, RESPONSE), "b|");
        assert!(connection.has_begun() && !connection.is_held());
        assert_eq!(out(&mut connection, REQUEST), "a|");
    });
}

#[test]
fn a_plugin_that_cannot_be_had_lets_nothing_pass() {
    run(true, async {
        let host = TestHost::new();
        let plugin = host.plugin(
            "p",
            &GuestText::logging().on("context_create", "(if (i32.eq (local.get $a) (i32.const 1)) (then unreachable))"),
        );
        for _ in 0..2 {
            let mut connection = connection(vec![plugin.clone()]);
            assert_eq!(connection.fate(), ConnectionFate::Cut, "the second waits for the back-off");
            data(&mut connection, REQUEST, "a", false);
            assert_eq!(out(&mut connection, REQUEST), "");
        }
    });
}

/// Two plugins in one VM; the first, under FAIL_OPEN, ends it. The second must not be passed by.
#[test]
fn a_vm_that_ended_under_another_plugin_lets_nothing_pass() {
    run(true, async {
        let host = TestHost::new();
        let guest = GuestText::logging().on("downstream_data", TRAP);
        let open = host.plugin_with("p", &guest, |settings| {
            settings.vm_id = "shared".into();
            settings.fail_strategy = FailStrategy::Open;
        });
        let closed = host.plugin_with("q", &guest, |settings| settings.vm_id = "shared".into());
        let mut connection = connection(vec![open, closed]);
        data(&mut connection, REQUEST, "a", false);
        assert_eq!(out(&mut connection, REQUEST), "");
        assert_eq!(connection.fate(), ConnectionFate::Cut);
    });
}

#[test]
fn more_than_may_be_held_is_the_end() {
    run(true, async {
        for (direction, callback) in [(REQUEST, "downstream_data"), (RESPONSE, "upstream_data")] {
            let host = TestHost::new();
            let guest = GuestText::logging().on(callback, "(i32.const 1)");
            let plugin = host.plugin_with("p", &guest, |settings| settings.limits.body = 4);
            let mut connection = connection(vec![plugin]);
            data(&mut connection, direction, "abcd", false);
            assert!(connection.wants(direction));
            data(&mut connection, direction, "e", false);
            assert_eq!(connection.fate(), ConnectionFate::Cut);
            assert_eq!(connection.stream().state.borrow().details, "filter_held_too_much_data");
        }
    });
}

#[test]
fn what_waits_behind_the_filters_makes_the_other_end_wait() {
    run(true, async {
        let host = TestHost::new();
        let mut connection = connection(vec![host.plugin("p", &GuestText::logging())]);
        connection.data(REQUEST, vec![0; OUT_LIMIT].into(), false);
        assert!(!connection.wants(REQUEST) && connection.wants(RESPONSE));
        assert_eq!(connection.next(REQUEST).map(|passed| passed.bytes.len()), Some(OUT_LIMIT));
        assert!(connection.wants(REQUEST));
    });
}

#[test]
fn the_upstreams_close_is_told_once() {
    run(true, async {
        let host = TestHost::new();
        let guest = GuestText::silent().on("upstream_connection_close", "");
        let mut first = connection(vec![host.plugin("p", &guest), host.plugin("q", &guest)]);
        first.upstream_reset();
        first.upstream_reset();
        assert_eq!(host.take_lines(), ["q upstream_connection_close 2", "p upstream_connection_close 2"]);
        let guest = guest.on("upstream_data", "(i32.const 1)");
        let mut second = connection(vec![host.plugin("r", &guest)]);
        data(&mut second, RESPONSE, "x", true);
        second.upstream_reset();
        assert_eq!(host.take_lines(), ["r upstream_data 1 1", "r upstream_connection_close 0"]);
    });
}
