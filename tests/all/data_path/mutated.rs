//! Requests with bytes changed at random: whatever the proxy makes of one, nothing odd reaches the upstream.

use crate::data_path::requests::samples;
use crate::data_path::{OK, equal, trial};
use libtest_mimic::Trial;
use outrigger_tests::raw::{After, Served, Socket, Upstream, cluster};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::json;

pub(super) fn trials() -> Vec<Trial> {
    vec![trial("requests::mutated", mutated)]
}

/// Follows each of them, and ends the connection.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";

/// How many are sent.
const CASES: u32 = 2_000;

/// Bytes that parsers disagree on, and any other.
fn odd_bytes() -> impl Strategy<Value = Vec<u8>> {
    let known: [&[u8]; 22] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"\x0b",
        b"\xff",
        b"0",
        b"5\r\n",
        b"0\r\n\r\n",
        b"\r\n\r\n",
        b"chunked",
        b"content-length: 3\r\n",
        b"transfer-encoding: chunked\r\n",
        b"host: b.test\r\n",
        b"HTTP/1.1",
        b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n",
        b"connection: close, host\r\n",
    ];
    prop_oneof![
        3 => prop::sample::select(known.to_vec()).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

#[derive(Clone, Debug)]
enum Change {
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        3 => (place(), odd_bytes()).prop_map(|(place, bytes)| Change::Insert(place, bytes)),
        1 => (place(), 1..8usize).prop_map(|(place, size)| Change::Remove(place, size)),
        1 => (place(), 1..30usize).prop_map(|(place, size)| Change::Repeat(place, size)),
    ]
}

fn change_bytes(mut bytes: Vec<u8>, change: &Change) -> Vec<u8> {
    match change {
        Change::Insert(place, odd) => {
            let at = place.index(bytes.len() + 1);
            bytes.splice(at..at, odd.iter().copied());
        }
        Change::Remove(place, size) => {
            let at = place.index(bytes.len() + 1);
            bytes.drain(at..(at + size).min(bytes.len()));
        }
        Change::Repeat(place, size) => {
            let at = place.index(bytes.len() + 1);
            let part = bytes[at..(at + size).min(bytes.len())].to_vec();
            bytes.splice(at..at, part);
        }
    }
    bytes
}

/// The upstream reads strictly: a message that it would read otherwise than the proxy is a fault there, and what was no
/// request of the client's is one too many.
fn mutated() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    // Some wait for more: not for long.
    let manager = json!({"timeouts": {"head": "0.1s", "streamIdle": "0.1s", "connectionIdle": "0.1s"}});
    let served = Served::start(manager, vec![cluster("up", &[upstream.port], json!({}))])?;
    let mutation = (prop::sample::select(samples()), prop::collection::vec(change(), 1..4));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let passed = std::cell::Cell::new(0);
    let outcome = runner.run(&mutation, |(bytes, changes)| {
        let bytes = changes.iter().fold(bytes, change_bytes);
        let sent = || {
            let mut client = Socket::connect(served.port)?;
            // The proxy may have had enough before all of it is sent.
            let _ = client.send([&bytes[..], LAST].concat());
            client.ended()?;
            let seen = upstream.take();
            let possible = bytes.windows(5).filter(|window| window == b"HTTP/").count() + 1;

            let whole = seen.iter().filter(|request| request.whole).count();
            passed.set(passed.get() + whole);
            equal("more requests than were sent", whole > possible, false)?;
            for request in &seen {
                equal("a Host of its own", request.header("host").is_some_and(|host| !host.contains(',')), true)?;
                let own = [("x-envoy-attempt-count".to_owned(), b"1".to_vec())];
                let mut of_envoys = request.headers.iter().filter(|(name, _)| name.starts_with("x-envoy-"));
                let control = of_envoys.any(|header| !own.contains(header));
                equal("control headers", control, false)?;
            }
            equal("faults", upstream.faults(), Vec::new())
        };
        sent().map_err(|fault| TestCaseError::fail(format!("{fault}\n{:?}", String::from_utf8_lossy(&bytes))))
    });
    outcome.map_err(|error| error.to_string())?;
    equal("panics", served.metric("outrigger_task_panics"), 0.0)?;
    // Refusals alone would show nothing of what passes.
    equal("some pass", passed.get() > 50, true)
}
