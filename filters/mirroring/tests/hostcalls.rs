//! What the filter asks of its host.

#![cfg(not(target_family = "wasm"))]

use http_match::HeaderList;
use native_shim::{Message, NativeProxy, Recorded, Settings};

const SHARES: &str = r#"{"routes": {
    "a": {"mirrors": [{"cluster": "m", "percentage": {"value": 20}}]},
    "b": {"mirrors": [{"cluster": "m", "percentage": {"value": 10}}]}}}"#;

/// Whose mirror it would be matters only where the draw is within the largest share of all.
#[test]
fn a_draw_outside_every_share_asks_for_no_route() {
    let route = Recorded::Property(vec!["outrigger.route".into()]);
    for (draw, expected) in [(0.21, vec![Recorded::Random]), (0.19, vec![Recorded::Random, route])] {
        let mut proxy = NativeProxy::new(Settings::default());
        proxy.add_plugin(mirroring::configure, SHARES.as_bytes()).expect("a good configuration");
        proxy.take_recorded();
        proxy.with_random(|random| random.script([draw]));
        let headers = [(":authority", "a.test"), (":path", "/"), (":method", "GET")];
        proxy.open_stream(&Message { headers: headers.into_iter().collect::<HeaderList>(), ..Message::default() });
        assert_eq!(proxy.take_recorded(), expected, "{draw}");
    }
}
