//! What the filter asks of its host, and when its timer runs.

#![cfg(not(target_family = "wasm"))]

use filter_api::{HeaderMap, LocalReply};
use http_match::HeaderList;
use native_shim::{Message, NativeProxy, Recorded, Settings};
use std::time::Duration;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn proxy(configuration: &str) -> NativeProxy {
    let mut proxy = NativeProxy::new(Settings::default());
    proxy.add_plugin(fault_injection::configure, configuration.as_bytes()).expect(configuration);
    proxy.take_recorded();
    proxy
}

fn get(path: &str) -> Message {
    let headers = [(":authority", "a.test"), (":path", path), (":method", "GET"), ("x-request-id", "id")];
    Message { headers: headers.into_iter().collect::<HeaderList>(), ..Message::default() }
}

/// What one request makes the filter ask until it goes on, is held or is answered.
fn asked(configuration: &str) -> Vec<Recorded> {
    let mut proxy = proxy(configuration);
    proxy.open_stream(&get("/"));
    proxy.take_recorded()
}

fn abort_reply() -> Recorded {
    Recorded::Reply(LocalReply::new(503, "fault_filter_abort").body("fault filter abort"))
}

#[test]
fn where_no_fault_is_possible_nothing_is_asked() {
    for configuration in [
        "{}",
        r#"{"rules": [{"match": [{"uri": {"prefix": "/"}}], "abort": {"httpStatus": 503}}]}"#,
        r#"{"routes": {"shop/a": {"delay": {"fixedDelay": "5s", "percentage": {"value": 0}}}}}"#,
        r#"{"seed": 1, "rules": [{"abort": {"percentage": {"value": 100}}}]}"#,
    ] {
        assert_eq!(asked(configuration), [], "{configuration}");
    }
}

#[test]
fn certain_faults_take_no_draw() {
    assert_eq!(asked(r#"{"rules": [{"abort": {"httpStatus": 503, "percent": 100}}]}"#), [abort_reply()]);
    let never = r#"{"rules": [{"match": [{"uri": {"exact": "/x"}}], "abort": {"httpStatus": 503, "percent": 100}}]}"#;
    assert_eq!(asked(never), [Recorded::HeaderList(HeaderMap::Request)]);
}

#[test]
fn a_share_costs_one_draw() {
    let found = asked(r#"{"rules": [{"abort": {"httpStatus": 503, "percentage": {"value": 99.9999}}}]}"#);
    assert_eq!(found, [Recorded::Random, abort_reply()]);
}

/// Whose fault it would be matters only where the draw is within the largest share of all.
#[test]
fn a_draw_outside_every_share_asks_for_no_route() {
    let shares = r#"{"routes": {
        "a": {"abort": {"httpStatus": 503, "percentage": {"value": 20}}},
        "b": {"abort": {"httpStatus": 503, "percentage": {"value": 10}}}}}"#;
    let route = Recorded::Property(vec!["outrigger.route".into()]);
    for (draw, expected) in [(0.21, vec![Recorded::Random]), (0.19, vec![Recorded::Random, route])] {
        let mut proxy = proxy(shares);
        proxy.with_random(|random| random.script([draw]));
        proxy.open_stream(&get("/"));
        assert_eq!(proxy.take_recorded(), expected, "{draw}");
    }
}

#[test]
fn both_seeded_draws_read_the_id_once() {
    let shares = r#"{"seed": "s", "rules": [{"delay": {"fixedDelay": "1s", "percentage": {"value": 0.0001}},
                     "abort": {"httpStatus": 503, "percentage": {"value": 0.0001}}}]}"#;
    assert_eq!(asked(shares), [Recorded::Header(HeaderMap::Request, "x-request-id".into())]);
}

/// The periods the filter gives its timer: zero stops it.
fn periods(proxy: &mut NativeProxy) -> Vec<Duration> {
    let period = |recorded| match recorded {
        Recorded::TickPeriod(period) => Some(period),
        _ => None,
    };
    proxy.take_recorded().into_iter().filter_map(period).collect()
}

const DELAYS: &str = r#"{"rules": [
    {"match": [{"uri": {"prefix": "/long"}}], "delay": {"fixedDelay": "10s", "percent": 100}},
    {"match": [{"uri": {"prefix": "/short"}}], "delay": {"fixedDelay": "1s", "percent": 100}},
    {"match": [{"uri": {"prefix": "/shortest"}}], "delay": {"fixedDelay": "1ms", "percent": 100}},
    {"delay": {"fixedDelay": "1ms", "percent": 100}}]}"#;

#[test]
fn the_timer_runs_only_while_something_waits() {
    let mut proxy = proxy(DELAYS);
    assert_eq!(periods(&mut proxy), []);
    let long = proxy.open_stream(&get("/long"));
    assert_eq!(periods(&mut proxy), [ms(10_000)]);
    // Due earlier than what the timer waits for: it must come earlier.
    proxy.advance(ms(500));
    let short = proxy.open_stream(&get("/short"));
    assert_eq!(periods(&mut proxy), [ms(1_000)]);
    proxy.advance(ms(1_000));
    assert!(proxy.resumed(short) && !proxy.resumed(long));
    assert_eq!(periods(&mut proxy), [ms(8_500)]);
    proxy.advance(ms(8_499));
    assert!(!proxy.resumed(long));
    proxy.advance(ms(1));
    assert!(proxy.resumed(long));
    assert_eq!(periods(&mut proxy), [ms(0)]);
    proxy.advance(ms(60_000));
    assert_eq!(periods(&mut proxy), []);
}

#[test]
fn many_short_delays_do_not_tick_more_often_than_every_five_milliseconds() {
    let mut proxy = proxy(DELAYS);
    for _ in 0..100 {
        proxy.open_stream(&get("/"));
    }
    assert_eq!(periods(&mut proxy), [ms(5)]);
    proxy.advance(ms(5));
    assert_eq!(proxy.metric("outrigger.fault_injection.active"), 0);
    assert_eq!(periods(&mut proxy), [ms(0)]);
}

#[test]
fn a_client_that_leaves_frees_its_slot() {
    let mut proxy = proxy(
        r#"{"maxActiveFaults": 1, "rules": [{"delay": {"fixedDelay": "10s", "percent": 100},
            "abort": {"httpStatus": 503, "percent": 100}}]}"#,
    );
    let first = proxy.open_stream(&get("/"));
    let over = proxy.open_stream(&get("/"));
    assert_eq!(proxy.metric("outrigger.fault_injection.active"), 1);
    assert_eq!(proxy.metric("outrigger.fault_injection.overflow"), 1);
    assert!(!proxy.replied(over));
    proxy.close_stream(first);
    assert_eq!(proxy.metric("outrigger.fault_injection.active"), 0);
    assert_eq!(periods(&mut proxy).last(), Some(&ms(0)));
    let second = proxy.open_stream(&get("/"));
    assert_eq!(proxy.metric("outrigger.fault_injection.delays"), 2);
    proxy.advance(ms(10_000));
    assert!(proxy.replied(second));
    assert_eq!(proxy.metric("outrigger.fault_injection.aborts"), 1);
}
