//! Every field of Istio's schemas is acted on, or said not to be. Each field of each resource in `tests/golden`,
//! `tests/findings` and `tests/fields` is taken away: then some proxy must be another, or the field must have been
//! found, or the resource is none without it.

mod support;

use compiler::Mesh;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use support::{folders, proxies, read};

/// Kind and path of every field of Istio 1.31's schemas: `[]` stands for items of a list, `{}` for values of a map.
const FIELDS: &str = include_str!("../../istio-api/tests/fields.txt");

/// Fields that Istio's schemas have and that reading refuses, whatever they say.
const REFUSED: [&str; 8] = [
    "VirtualService spec.http[].fault.abort.http2Error",
    "VirtualService spec.http[].fault.delay.exponentialDelay",
    "VirtualService spec.tcp[].match[].sourceSubnet",
    "Gateway spec.servers[].defaultEndpoint",
    "Sidecar spec.ingress[].tls.credentialName",
    "Sidecar spec.ingress[].tls.credentialNames",
    "RequestAuthentication spec.targetRef.namespace",
    "RequestAuthentication spec.targetRefs[].namespace",
];

/// Fields that are of account with mutual TLS alone.
const IDENTITY: [&str; 3] =
    ["ServiceEntry spec.location", "ServiceEntry spec.endpoints[].serviceAccount", "WorkloadEntry spec.serviceAccount"];

/// Where a part of what is found is acted on: at gateways.
const PARTLY: [&str; 2] = ["VirtualService spec.tls", "VirtualService spec.tcp"];

/// A field that is given: where it is as a pointer, as a path, and as the list of fields has it.
struct Given {
    pointer: String,
    path: String,
    field: String,
}

/// Every field below a value, each item of a list and each value of a map.
fn given(value: &Value, at: &Given, known: &dyn Fn(&str) -> bool, all: &mut Vec<Given>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let as_field = format!("{}.{key}", at.field);
                let is_field = known(&as_field) || known(&format!("{as_field}[]")) || known(&format!("{as_field}{{}}"));
                let below = Given {
                    pointer: format!("{}/{}", at.pointer, key.replace('~', "~0").replace('/', "~1")),
                    path: format!("{}.{key}", at.path),
                    field: if is_field { as_field } else { format!("{}{{}}", at.field) },
                };
                given(value, &below, known, all);
                all.push(below);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let below = Given {
                    pointer: format!("{}/{index}", at.pointer),
                    path: format!("{}[{index}]", at.path),
                    field: format!("{}[]", at.field),
                };
                given(item, &below, known, all);
                all.push(below);
            }
        }
        _ => {}
    }
}

/// What a pointer leads to is taken away.
fn take(document: &mut Value, pointer: &str) {
    let (above, last) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(above) {
        Some(Value::Object(fields)) => drop(fields.remove(&last.replace("~1", "/").replace("~0", "~"))),
        Some(Value::Array(items)) => drop(items.remove(last.parse().unwrap())),
        _ => panic!("{pointer}"),
    }
}

/// What is the same for all levels of a DestinationRule: `tests/golden/destination-rule-levels` has the levels.
fn level(field: &str) -> String {
    let whole = field.replace("spec.subsets[].trafficPolicy", "spec.trafficPolicy");
    whole.replace("trafficPolicy.portLevelSettings[].", "trafficPolicy.")
}

/// The fields of a file that are acted on, or found.
fn evidence(file: &Path, fields: &mut BTreeSet<String>, acted_on: &mut BTreeSet<String>) {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap();
    let whole = documents.iter().map(|document| format!("{document}\n---\n")).collect();
    let resources = read(whole).unwrap_or_else(|faults| panic!("{}: {faults}", file.display()));
    let before = proxies(&resources);
    let analysis = Mesh::new(&resources).analyse();
    let found: BTreeSet<(String, String)> = analysis
        .findings
        .iter()
        .chain(&analysis.refusals)
        .map(|finding| &finding.fault)
        .chain(&resources.warnings)
        .filter_map(|fault| Some((fault.resource.as_ref()?.to_string(), fault.path.clone())))
        .collect();
    let known = |field: &str| FIELDS.lines().any(|known| known == field);
    for (index, document) in documents.iter().enumerate() {
        let kind = document["kind"].as_str().unwrap();
        let at = Given { pointer: "/spec".to_owned(), path: "spec".to_owned(), field: format!("{kind} spec") };
        let mut all = Vec::new();
        given(&document["spec"], &at, &known, &mut all);
        let metadata = &document["metadata"];
        let of = |field: &str, usual| metadata[field].as_str().unwrap_or(usual).to_owned();
        let name = format!("{kind} {}/{}", of("namespace", "default"), of("name", ""));
        let is_list = |field: &str| known(&format!("{field}[]")) || known(&format!("{field}{{}}"));
        for one in all.iter().filter(|one| known(&one.field) || is_list(&one.field)) {
            let is_found = |path: &str| found.contains(&(name.clone(), path.to_owned()));
            if is_found("$") || is_found("spec") {
                fields.insert(format!("{kind} spec"));
            }
            if is_found(&one.path) && !PARTLY.contains(&one.field.as_str()) {
                fields.insert(level(&one.field));
            }
            if is_in(&one.field, fields) || acted_on.contains(&level(&one.field)) {
                continue;
            }
            let mut less = documents.clone();
            take(&mut less[index], &one.pointer);
            let text = less.iter().map(|document| format!("{document}\n---\n")).collect();
            if read(text).map_or(true, |less| proxies(&less) != before) {
                // That a block is acted on says nothing of what is in it.
                acted_on.insert(level(&one.field));
            }
        }
    }
}

/// Whether a field, or one that it is in, is among these.
fn is_in(field: &str, fields: &BTreeSet<String>) -> bool {
    let field = level(field);
    let mut ends =
        field.char_indices().filter(|(_, byte)| ".[{".contains(*byte)).map(|(end, _)| end).chain([field.len()]);
    ends.any(|end| fields.contains(&field[..end]))
}

#[test]
fn every_field_is_acted_on_or_said_not_to_be() {
    let (mut found, mut acted_on) = (BTreeSet::new(), BTreeSet::new());
    found.extend(REFUSED.iter().chain(&IDENTITY).map(ToString::to_string));
    for of in ["tests/golden", "tests/findings", "tests/fields"] {
        folders(of).iter().for_each(|folder| evidence(&folder.join("istio.yaml"), &mut found, &mut acted_on));
    }
    let has_more = |field: &str| FIELDS.lines().any(|known| known.starts_with(&format!("{field}.")));
    let open: Vec<&str> = FIELDS
        .lines()
        .filter(|field| !is_in(field, &found) && !acted_on.contains(&level(field)) && !has_more(field))
        .collect();
    assert_eq!(open, [""; 0], "{} fields", open.len());
}
