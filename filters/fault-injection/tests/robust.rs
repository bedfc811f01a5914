//! No configuration and no sequence of callbacks makes the filter panic, leak or hold for ever; what is written reads
//! back.

#![cfg(not(target_family = "wasm"))]

use fault_injection::Config;
use filter_api::StreamId;
use http_match::HeaderList;
use native_shim::{Message, NativeProxy, ScriptedRandom, Settings};
use proptest::prelude::*;
use std::time::Duration;

/// Everything a configuration can have, to mutate.
const FULL: &str = concat!(
    r#"{"seed":"s","maxActiveFaults":3,"routes":{"shop/a":{"delay":{"fixedDelay":"1h30m","percentage":{"value":50}},"#,
    r#""abort":{"httpStatus":503,"percentage":{"value":0.0001}}}},"rules":[{"match":[{"uri":{"prefix":"/a"},"#,
    r#""headers":{"x-a":{"exact":"1"}}}],"abort":{"grpcStatus":"UNAVAILABLE","percent":50}},"#,
    r#"{"delay":{"fixedDelay":"20ms","percent":60},"abort":{"httpStatus":500,"percentage":{"value":33.3333}}}]}"#
);

fn proxy(configuration: &str) -> Option<NativeProxy> {
    let mut proxy = NativeProxy::new(Settings::default());
    proxy.add_plugin(fault_injection::configure, configuration.as_bytes()).ok().map(|()| proxy)
}

fn message(headers: &[(String, Vec<u8>)]) -> Message {
    let mut list: HeaderList = [(":method", "GET"), (":path", "/"), (":authority", "a.test")].into_iter().collect();
    headers.iter().for_each(|(name, value)| list.add(name, value));
    Message { headers: list, ..Message::default() }
}

#[test]
fn what_is_written_reads_back() {
    for json in [FULL, r#"{"seed":9007199254740992}"#, "{}"] {
        let config = plugin_config::from_slice::<Config>(json.as_bytes()).unwrap();
        let written = serde_json::to_vec(&config).unwrap();
        assert_eq!(plugin_config::from_slice::<Config>(&written).unwrap(), config, "{json}");
    }
    assert_eq!(plugin_config::from_slice::<Config>(b"").unwrap(), Config::default());
    assert_eq!(serde_json::to_string(&Config::default()).unwrap(), "{}");
}

/// One step of a proxy's life.
#[derive(Clone, Debug)]
enum Step {
    Open(Vec<(String, Vec<u8>)>),
    Close(prop::sample::Index),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop::collection::vec(any::<u8>(), 0..12);
    let name = prop::sample::select(vec!["x-request-id", "x-a", "content-type", ":path"]).prop_map(str::to_owned);
    prop_oneof![
        3 => prop::collection::vec((name, value), 0..4).prop_map(Step::Open),
        2 => any::<prop::sample::Index>().prop_map(Step::Close),
        2 => (0..40u64).prop_map(Step::Advance),
    ]
}

/// A stream under way: when it came, and whether it was held.
struct Open {
    id: StreamId,
    since: Duration,
    held: bool,
}

/// Runs the steps under a delay for some; checks after each one who waits.
fn live(steps: &[Step], seed: u64) -> Result<(), TestCaseError> {
    const DELAY: Duration = Duration::from_millis(20);
    // The most that a tick may come late.
    const LATE: Duration = Duration::from_millis(5);
    let rules =
        r#"{"rules": [{"delay": {"fixedDelay": "20ms", "percent": 50}, "abort": {"httpStatus": 500, "percent": 50}}]}"#;
    let mut proxy = proxy(rules).unwrap();
    proxy.with_random(|random| *random = ScriptedRandom::seeded(seed));
    let (mut now, mut open) = (Duration::ZERO, Vec::<Open>::new());
    for step in steps {
        match step {
            Step::Open(headers) => {
                let before = proxy.metric("outrigger.fault_injection.delays");
                let id = proxy.open_stream(&message(headers));
                open.push(Open { id, since: now, held: proxy.metric("outrigger.fault_injection.delays") > before });
            }
            Step::Close(which) if !open.is_empty() => {
                let place = which.index(open.len());
                proxy.close_stream(open.swap_remove(place).id);
            }
            Step::Close(_) => {}
            Step::Advance(millis) => {
                now += Duration::from_millis(*millis);
                proxy.advance(Duration::from_millis(*millis));
            }
        }
        for stream in &open {
            let went_on = proxy.resumed(stream.id) || proxy.replied(stream.id);
            if stream.held && now < stream.since + DELAY {
                prop_assert!(!went_on, "stream {:?} was let go early", stream.id);
            } else if stream.held && now >= stream.since + DELAY + LATE {
                prop_assert!(went_on, "stream {:?} still waits", stream.id);
            }
        }
        let waiting =
            open.iter().filter(|stream| stream.held && !proxy.resumed(stream.id) && !proxy.replied(stream.id));
        prop_assert_eq!(proxy.metric("outrigger.fault_injection.active"), waiting.count() as i64);
    }
    open.iter().for_each(|stream| proxy.close_stream(stream.id));
    prop_assert_eq!(proxy.metric("outrigger.fault_injection.active"), 0);
    proxy.take_recorded();
    proxy.advance(Duration::from_secs(3_600));
    prop_assert_eq!(proxy.take_recorded(), [], "something still ticks");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_configuring_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut proxy = NativeProxy::new(Settings::default());
        let _ = proxy.add_plugin(fault_injection::configure, &bytes);
    }

    #[test]
    fn no_mutation_of_a_configuration_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}\",:.a0-9ms]"), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = FULL.to_owned();
        for (index, replacement) in changes {
            let at = index.index(text.len());
            text.replace_range(at..at + 1, &replacement);
        }
        if let Some(mut proxy) = proxy(&text) {
            let stream = proxy.open_stream(&message(&[]));
            proxy.advance(Duration::from_secs(86_400));
            proxy.close_stream(stream);
        }
        let _ = proxy(&FULL[..cut.index(FULL.len())]);
    }

    /// Whoever comes, leaves or waits: nobody is let go early or forgotten, and what is counted as held is held.
    #[test]
    fn held_requests_go_on_in_time(steps in prop::collection::vec(step(), 0..60), seed in any::<u64>()) {
        live(&steps, seed)?;
    }
}
