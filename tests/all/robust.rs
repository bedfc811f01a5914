//! No configuration and no sequence of callbacks makes a filter panic: the configurations of all cases, mistyped at
//! random, and requests that no client should send.

use http_match::HeaderList;
use libtest_mimic::{Failed, Trial};
use native_shim::{Message, NativeProxy, RecordedCall, Sent, Settings, Upstreams};
use outrigger_tests::case_file::{self, Plugin};
use outrigger_tests::{native, root};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A test for each module.
pub(crate) fn trials() -> Vec<Trial> {
    let mut by_module: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for located in case_file::all(&root()).unwrap_or_default() {
        for Plugin { module, configuration, .. } in located.plugins {
            by_module.entry(module).or_default().push(configuration);
        }
    }
    let trial = |(module, seeds): (String, Vec<Value>)| {
        Trial::test(format!("robust::{module}"), move || survives(&module, seeds))
    };
    by_module.into_iter().map(trial).collect()
}

fn survives(module: &str, seeds: Vec<Value>) -> Result<(), Failed> {
    let configure = native::configure(module).ok_or("there is no such module")?;
    let strategy = (mistyped(seeds), prop::collection::vec(request(), 0..4), any::<u64>());
    let mut runner = TestRunner::new(Config { cases: 1_500, failure_persistence: None, ..Config::default() });
    let accepted = std::cell::Cell::new(0);
    let outcome = runner.run(&strategy, |(configuration, requests, seed)| {
        let mut settings = Settings::default();
        settings.clusters.extend(native::CLUSTERS.iter().map(|&name| name.to_owned()));
        let mut proxy = NativeProxy::new(settings);
        proxy.with_random(|random| *random = native_shim::ScriptedRandom::seeded(seed));
        if proxy.add_plugin(configure, configuration.to_string().as_bytes()).is_ok() {
            accepted.set(accepted.get() + 1);
            for request in requests {
                disturb(&mut proxy, request);
            }
        }
        Ok(())
    });
    outcome.map_err(|error| error.to_string())?;
    // A check of refused configurations alone would show nothing about requests.
    if accepted.get() < 100 {
        Err(format!("only {} configurations were accepted", accepted.get()).into())
    } else {
        Ok(())
    }
}

/// Sends a request whole, and once more with a client that leaves in between.
fn disturb(proxy: &mut NativeProxy, request: Message) {
    proxy.exchange(request.clone(), &mut Erratic);
    let stream = proxy.open_stream(&request);
    proxy.advance(Duration::from_millis(7));
    proxy.close_stream(stream);
    proxy.close_stream(stream);
    proxy.advance(Duration::from_secs(3600));
}

/// Answers with what no filter expects.
struct Erratic;

impl Upstreams for Erratic {
    fn http(&mut self, sent: &Sent) -> Option<Message> {
        let mut headers = HeaderList::new();
        headers.add(":status", if sent.by_plugin { b"\xff" } else { b"200" });
        headers.add("location", b"\xff\xfe");
        sent.message.body.len().is_multiple_of(2).then_some(Message {
            headers,
            body: vec![0xff; 5],
            ..Message::default()
        })
    }

    fn grpc(&mut self, call: &RecordedCall) -> Result<Vec<u8>, u32> {
        if call.body.len().is_multiple_of(2) { Ok(vec![0xff; 7]) } else { Err(99) }
    }
}

/// A configuration of some case, with some values replaced, dropped or misplaced.
fn mistyped(seeds: Vec<Value>) -> impl Strategy<Value = Value> {
    let change = (any::<prop::sample::Index>(), wrong_value());
    (prop::sample::select(seeds), prop::collection::vec(change, 0..3)).prop_map(|(mut value, changes)| {
        for (place, wrong) in changes {
            let places = count(&value);
            replace(&mut value, &mut place.index(places), &wrong);
        }
        value
    })
}

fn wrong_value() -> impl Strategy<Value = Value> {
    let words = [
        "",
        "*",
        "/",
        "\u{0}",
        "é",
        "{*}",
        "/{**}/",
        "%",
        "%REQ(x)%",
        "5s",
        "999999h",
        "(a|b)*",
        "(",
        "a|b",
        "::1/64",
        "256.0.0.1",
        "spiffe://",
        "*/*",
        ":path",
        "host",
        "GET",
        "ALLOW",
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6f64).prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!({"exact": "a"})),
        Just(json!({"value": 50})),
        Just(json!([{}, [], "a"])),
    ]
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Replaces the `place`th value, counted from outside in.
fn replace(value: &mut Value, place: &mut usize, wrong: &Value) {
    if *place == 0 {
        *value = wrong.clone();
    }
    // Counting below zero: nothing is replaced any more.
    *place = place.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, place, wrong)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, place, wrong)),
        _ => {}
    }
}

fn request() -> impl Strategy<Value = Message> {
    let names = [
        ":path",
        ":method",
        ":authority",
        ":scheme",
        "host",
        "origin",
        "cookie",
        "content-type",
        "x-request-id",
        "x-a",
        "x-m",
        "upgrade",
        "access-control-request-method",
        "end-user",
        "x-outrigger-cluster",
        "x-envoy-original-path",
        "authorization",
        "user-agent",
    ];
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24),
        prop::sample::select(vec![
            "",
            "/",
            "/a/../b",
            "GET",
            "OPTIONS",
            "application/grpc",
            "*",
            "a,b",
            "[::1]:80",
            "h:99999",
            "%",
            "?",
            "#"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let headers = prop::collection::vec((prop::sample::select(names.to_vec()), value), 0..12);
    (headers, 0..3usize, any::<bool>()).prop_map(|(headers, chunks, trailers)| {
        let list: HeaderList = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let trailers: HeaderList = if trailers { [("x-t", "1")].into_iter().collect() } else { HeaderList::new() };
        Message { headers: list, body: vec![b'x'; chunks * 3000], chunks: vec![1000; chunks], trailers }
    })
}
