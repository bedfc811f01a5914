//! Inputs that use every field of Istio's schemas: read without fault, each value as written; and each field misspelled,
//! and of a wrong type, where the fault must be, and what it must be.

use crate::support::{file, read};
use istio_api::{File, Options, Resources, read_files};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The inputs, by file.
const INPUTS: [(&str, &str); 6] = [
    ("virtual_service.yaml", include_str!("../inputs/virtual_service.yaml")),
    ("destination_rule.yaml", include_str!("../inputs/destination_rule.yaml")),
    ("services.yaml", include_str!("../inputs/services.yaml")),
    ("gateway.yaml", include_str!("../inputs/gateway.yaml")),
    ("security.yaml", include_str!("../inputs/security.yaml")),
    ("extensions.yaml", include_str!("../inputs/extensions.yaml")),
];

/// Kind and path of every field of Istio 1.31's schemas: `[]` stands for items of a list, `{}` for values of a map.
const FIELDS: &str = include_str!("../fields.txt");

/// Fields that Istio's schemas have and that are refused, whatever they say.
const REFUSED: [&str; 15] = [
    "VirtualService spec.http[].fault.delay.exponentialDelay",
    "VirtualService spec.http[].fault.abort.http2Error",
    "VirtualService spec.tcp[].match[].sourceSubnet",
    "Gateway spec.servers[].defaultEndpoint",
    "Sidecar spec.ingress[].tls.credentialName",
    "Sidecar spec.ingress[].tls.credentialNames[]",
    "AuthorizationPolicy spec.targetRef.namespace",
    "AuthorizationPolicy spec.targetRefs[].namespace",
    "RequestAuthentication spec.targetRef.namespace",
    "RequestAuthentication spec.targetRefs[].namespace",
    "Telemetry spec.targetRef.namespace",
    "Telemetry spec.targetRefs[].namespace",
    "WasmPlugin spec.targetRef.namespace",
    "WasmPlugin spec.targetRefs[].namespace",
    "TrafficExtension spec.targetRefs[].namespace",
];

/// Documents as another reader has them.
fn documents() -> Vec<Value> {
    let read = |(_, text): (&str, &str)| serde_saphyr::from_multiple::<Value>(text).unwrap();
    INPUTS.into_iter().flat_map(read).collect()
}

/// A document as a file of its own, in JSON.
fn json(document: &Value) -> Arc<File> {
    file("f.json", &serde_json::to_string_pretty(document).unwrap())
}

fn kind(document: &Value) -> &str {
    document["kind"].as_str().unwrap()
}

/// The spec of the only resource, as it is written back.
fn dump(resources: &Resources) -> Value {
    let mut all = resources.all();
    let (only, none) = (all.next().unwrap(), all.next());
    assert!(none.is_none());
    only.fields()["spec"].clone()
}

#[test]
fn every_field_is_read_and_every_value_is_kept() {
    for document in documents() {
        let read = read_files(&[json(&document)], &Options::default());
        let resources = read.unwrap_or_else(|faults| panic!("{faults}"));
        let dump = dump(&resources);
        let mut missing = Vec::new();
        lacks(&document["spec"], &dump, "spec", &mut missing);
        assert_eq!(missing, [""; 0], "{document:#}");
    }
}

/// What of `written` is not in `read`. An empty text is an absent one.
pub(crate) fn lacks(written: &Value, read: &Value, path: &str, missing: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (key, value) in written.iter().filter(|(_, value)| !is_nothing(value)) {
                lacks(value, read.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"), missing);
            }
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            for (i, (written, read)) in written.iter().zip(read).enumerate() {
                lacks(written, read, &format!("{path}[{i}]"), missing);
            }
        }
        (Value::Number(written), Value::Number(read)) if written.as_f64() == read.as_f64() => {}
        _ if written == read => {}
        _ => missing.push(format!("{path}: {written} is read as {read}")),
    }
}

/// What reads as an absent field, and is left out when it is written back.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) | Value::Bool(true) | Value::Number(_) => false,
    }
}

#[test]
fn the_yaml_says_the_same_as_the_json() {
    for (name, text) in INPUTS {
        let yaml = read_files(&[file(name, text)], &Options::default()).unwrap_or_else(|faults| panic!("{faults}"));
        let documents = serde_saphyr::from_multiple::<Value>(text).unwrap();
        let files: Vec<Arc<File>> = documents.iter().map(json).collect();
        let json = read_files(&files, &Options::default()).unwrap();
        let fields = |resources: &Resources| -> Vec<Value> { resources.all().map(|one| one.fields()).collect() };
        assert_eq!(fields(&yaml), fields(&json), "{name}");
    }
}

#[test]
fn the_inputs_use_every_field_of_the_schemas() {
    let mut used = BTreeSet::new();
    for document in documents() {
        collect(&document["spec"], format!("{} spec", kind(&document)), &mut used);
    }
    let missing: Vec<&str> =
        FIELDS.lines().filter(|field| !used.contains(*field) && !REFUSED.contains(field)).collect();
    assert_eq!(missing, [""; 0]);
    let unknown: Vec<&String> =
        used.iter().filter(|field| !FIELDS.lines().any(|known| is_or_is_in(field, known))).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// Whether a field is one of the schema, or stands in one of any content.
fn is_or_is_in(field: &str, known: &str) -> bool {
    field == known
        || field.strip_prefix(known).is_some_and(|rest| known.ends_with("{}") && rest.starts_with(['.', '[']))
}

/// The paths of a value, as the list of fields has them: what is a map is known from the list.
fn collect(value: &Value, path: String, used: &mut BTreeSet<String>) {
    let is_field = |path: &str| FIELDS.lines().any(|known| known == path);
    match value {
        Value::Object(fields) => {
            let map = format!("{path}{{}}");
            let is_map = is_field(&map);
            used.insert(if is_map { map.clone() } else { path.clone() });
            for (key, value) in fields {
                if is_map { collect_in_map(value, &map, used) } else { collect(value, format!("{path}.{key}"), used) }
            }
        }
        Value::Array(items) => {
            let items_path = format!("{path}[]");
            used.insert(items_path.clone());
            items.iter().for_each(|item| collect(item, items_path.clone(), used));
        }
        _ => {
            used.insert(path);
        }
    }
}

fn collect_in_map(value: &Value, map: &str, used: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                collect(value, format!("{map}.{key}"), used);
            }
        }
        _ => {
            used.insert(map.to_owned());
        }
    }
}

/// A step to a value within another.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// Every place of a value, those of `pluginConfig` left out: it may say anything.
fn places(value: &Value, place: &mut Vec<Step>, all: &mut Vec<Vec<Step>>) {
    if !place.is_empty() {
        all.push(place.clone());
    }
    let steps: Vec<(Step, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (Step::Key(key.clone()), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, item)| (Step::Index(i), item)).collect(),
        _ => Vec::new(),
    };
    for (step, value) in steps {
        let anything = matches!(&step, Step::Key(key) if key == "pluginConfig");
        place.push(step);
        if anything {
            all.push(place.clone());
        } else {
            places(value, place, all);
        }
        place.pop();
    }
}

fn at<'v>(document: &'v mut Value, place: &[Step]) -> &'v mut Value {
    place.iter().fold(document, |value, step| match step {
        Step::Key(key) => &mut value[key.as_str()],
        Step::Index(index) => &mut value[*index],
    })
}

/// The path as a fault writes it.
fn path(place: &[Step]) -> String {
    let mut path = String::new();
    for step in place {
        match step {
            Step::Key(key) if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) => {
                path.push_str(if path.is_empty() { "" } else { "." });
                path.push_str(key);
            }
            Step::Key(key) => path.push_str(&format!("[{key:?}]")),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// Every place below `spec` of every document, with the document; of those that differ in an index alone the first.
fn every_place(mut each: impl FnMut(&Value, &[Step])) {
    let mut seen = BTreeSet::new();
    for document in documents() {
        let mut all = Vec::new();
        places(&document["spec"], &mut vec![Step::Key("spec".into())], &mut all);
        assert!(!all.is_empty());
        for place in all {
            let steps = place.iter().map(|step| match step {
                Step::Key(key) => key.as_str(),
                Step::Index(_) => "[]",
            });
            if seen.insert((kind(&document).to_owned(), steps.collect::<Vec<_>>().join("."))) {
                each(&document, &place);
            }
        }
    }
}

#[test]
fn a_misspelled_field_is_one_fault_at_its_place() {
    let mut tried = 0;
    every_place(|document, place| {
        let Some((Step::Key(key), parent)) = place.split_last() else { return };
        if parent.is_empty() || !is_field(document, place) {
            return;
        }
        let mut mutated = document.clone();
        let misspelled = format!("{key}Q");
        let Value::Object(fields) = at(&mut mutated, parent) else { panic!("{place:?}") };
        let renamed: Map<String, Value> =
            fields.iter().map(|(k, v)| (if k == key { misspelled.clone() } else { k.clone() }, v.clone())).collect();
        *fields = renamed;
        let wrong = path(&[parent, &[Step::Key(misspelled.clone())]].concat());
        let text = json(&mutated);
        let faults = read_files(std::slice::from_ref(&text), &Options::default()).expect_err(&wrong).faults;
        if let [fault] = faults.as_slice()
            && fault.reason == "expected exactly one of exact, prefix, regex"
        {
            return assert_eq!(fault.path, path(parent), "{fault}");
        }
        let unknown: Vec<_> = faults.iter().filter(|fault| fault.reason.starts_with("unknown field")).collect();
        assert_eq!(unknown.len(), 1, "{wrong}: {faults:#?}");
        assert_eq!(unknown[0].path, wrong);
        let line = text.text.lines().nth(unknown[0].place.as_ref().unwrap().line - 1).unwrap();
        assert!(line.contains(&format!("\"{misspelled}\":")), "{wrong}: {line}");
        // Whatever else is said is that the field itself is missing.
        let others = faults.iter().filter(|fault| !fault.reason.starts_with("unknown field"));
        let missing = path(place);
        for other in others {
            assert_eq!(other.path, missing, "{other}");
        }
        tried += 1;
    });
    assert!(tried > 500, "{tried}");
}

/// Whether a place is a field's, and not a key of a map.
fn is_field(document: &Value, place: &[Step]) -> bool {
    let mut used = BTreeSet::new();
    let mut single = document.clone();
    // What stands at the place, and nothing else, as the list of fields has it.
    let value = at(&mut single, place).take();
    let mut nested = if value.is_object() { Value::Object(Map::new()) } else { Value::Bool(true) };
    for step in place.iter().skip(1).rev() {
        nested = match step {
            Step::Key(key) => Value::Object([(key.clone(), nested)].into_iter().collect()),
            Step::Index(_) => Value::Array(vec![nested]),
        };
    }
    collect(&nested, format!("{} spec", kind(document)), &mut used);
    let key = match place.last() {
        Some(Step::Key(key)) => key.clone(),
        _ => return false,
    };
    used.iter().any(|path| path.trim_end_matches("{}").trim_end_matches("[]").ends_with(&format!(".{key}")))
}

/// A value of another type, and how it is written.
fn other_type(value: &Value) -> Value {
    match value {
        Value::String(_) | Value::Null => Value::from(77_777),
        Value::Number(_) => Value::from("quoted 1"),
        Value::Bool(_) => Value::from("true"),
        Value::Array(_) | Value::Object(_) => Value::from("a text"),
    }
}

#[test]
fn a_value_of_a_wrong_type_is_one_fault_at_its_place() {
    let mut tried = 0;
    every_place(|document, place| {
        let mut mutated = document.clone();
        let value = at(&mut mutated, place);
        // What may be of either type is none of a wrong one.
        let wrong = other_type(value);
        *value = wrong.clone();
        let path = path(place);
        let text = json(&mutated);
        let faults = read_files(std::slice::from_ref(&text), &Options::default()).expect_err(&path).faults;
        assert!(faults.iter().any(|fault| fault.path == path), "{path}: {faults:#?}");
        for fault in &faults {
            assert_eq!(fault.path, path, "{fault}");
            let place = fault.place.as_ref().unwrap();
            assert_eq!(text.text[place.bytes.clone()], wrong.to_string(), "{fault}");
        }
        tried += 1;
    });
    assert!(tried > 700, "{tried}");
}

#[test]
fn every_version_that_is_served_is_read_and_no_other() {
    for document in documents() {
        let (group, _) = document["apiVersion"].as_str().unwrap().split_once('/').unwrap();
        let mut other = document.clone();
        other["apiVersion"] = format!("{group}/v2").into();
        let faults = read_files(&[json(&other)], &Options::default()).unwrap_err();
        assert_eq!(faults.faults.len(), 1, "{faults}");
        assert!(faults.faults[0].to_string().contains("apiVersion: \"v2\""), "{faults}");
    }
    assert!(read("apiVersion: networking.istio.io/v1\nkind: VirtualServices\nmetadata: {name: a}\n").is_err());
}
