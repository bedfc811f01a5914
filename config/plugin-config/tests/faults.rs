//! What a user can mistype, and what is said about it.

use plugin_config::{Duration, Faults, ListMap, Percent, from_slice};

plugin_config::keyword! {
    /// A word.
    enum Mode {
        /// One.
        Strict = "STRICT",
        /// The other.
        Lax = "LAX",
    }
}

plugin_config::object! {
    /// An inner object.
    #[derive(Clone, Debug, PartialEq)]
    struct Inner {
        /// A share.
        share: Option<Percent> = "share",
        /// A time.
        time: Duration = "time",
    }

    /// A document.
    #[derive(Clone, Debug, PartialEq)]
    struct Document {
        /// Items.
        items: Vec<Inner> = "items",
        /// Named items.
        named: ListMap<Inner> = "named",
        /// A word.
        mode: Option<Mode> = "mode",
        /// A number.
        port: u16 = "port" or 80,
        /// A flag.
        flag: bool = "flag",
    }
}

fn faults(json: &str) -> Vec<String> {
    let faults: Faults = from_slice::<Document>(json.as_bytes()).expect_err(json);
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn every_fault_is_reported_with_its_path() {
    let found = faults(
        r#"{"items": [{"time": "5s"}, {"time": 5, "shared": 1}, {}],
            "named": {"a b": {"time": "x"}}, "mode": "strict", "port": 65536, "flag": "yes", "other": [1]}"#,
    );
    let starts = [
        "items[1].time: 5: expected a duration",
        "items[1].shared: 1: unknown field, expected one of share, time",
        "items[2].time: nothing: required field is missing",
        "named[\"a b\"].time: \"x\": expected a duration",
        "mode: \"strict\": expected one of STRICT LAX",
        "port: 65536: expected a whole number from 0 to 65535",
        "flag: \"yes\": expected true or false",
        "other: [1]: unknown field, expected one of items, named, mode, port, flag",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (fault, start) in found.iter().zip(starts) {
        assert!(fault.starts_with(start), "{fault} does not start with {start}");
    }
}

#[test]
fn a_document_that_is_not_json_is_one_fault() {
    assert!(faults("{").first().is_some_and(|fault| fault.starts_with("$: : not a JSON document")));
    assert!(faults(r#"{"port": 1, "port": 2}"#).first().is_some_and(|fault| fault.contains("duplicate key \"port\"")));
    assert!(faults("[]").first().is_some_and(|fault| fault.contains("expected an object")));
    assert!(faults(&"[".repeat(100_000)).first().is_some_and(|fault| fault.contains("recursion limit")));
}

#[test]
fn nothing_and_null_are_defaults() {
    let empty = Document { items: vec![], named: ListMap::default(), mode: None, port: 80, flag: false };
    for json in ["", "  ", "{}", r#"{"items": null, "mode": null, "port": null, "flag": null}"#] {
        assert_eq!(from_slice::<Document>(json.as_bytes()), Ok(empty.clone()), "{json}");
    }
}

#[test]
fn whole_doubles_are_whole_numbers() {
    assert_eq!(from_slice::<u16>(b"80.0"), Ok(80));
    assert_eq!(from_slice::<u32>(b"1e3"), Ok(1000));
    assert_eq!(from_slice::<i32>(b"-3"), Ok(-3));
    for json in ["80.5", "1e400", "\"80\"", "true"] {
        assert!(from_slice::<u16>(json.as_bytes()).is_err(), "{json}");
    }
}

#[test]
fn long_values_are_shortened() {
    let found = faults(&format!(r#"{{"mode": "{}"}}"#, "é".repeat(500)));
    assert!(found.iter().all(|fault| fault.chars().count() < 200), "{found:?}");
}

#[test]
fn what_is_written_reads_back() {
    let document: Document = from_slice(
        br#"{"items": [{"share": {"value": 0.29}, "time": "1.5s"}], "named": {"x": {"time": "1ns"}}, "mode": "LAX",
             "port": 8080, "flag": true}"#,
    )
    .expect("a good document");
    let written = serde_json::to_vec(&document).expect("serialises");
    assert_eq!(from_slice::<Document>(&written), Ok(document));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = from_slice::<Document>(&bytes);
    }

    #[test]
    fn no_json_panics(value in json(4)) {
        let _ = from_slice::<Document>(value.as_bytes());
    }
}

/// Documents with our field names and values of every kind in every place.
fn json(depth: u32) -> proptest::prelude::BoxedStrategy<String> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        proptest::num::f64::NORMAL.prop_map(|value| format!("{value:e}")),
        "[0-9.]{0,6}(ns|us|ms|s|m|h|µs)?".prop_map(|text| format!("{text:?}")),
    ];
    let key = prop_oneof![Just("items"), Just("named"), Just("time"), Just("share"), Just("value"), Just("port")];
    leaf.prop_recursive(depth, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::btree_map(key.clone(), inner, 0..4).prop_map(|fields| {
                let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
    .boxed()
}
