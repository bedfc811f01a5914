//! Every rule of Istio's validation, each with an input that breaks it and what is said then.

use crate::support::file;
use istio_api::{Fault, Options, read_files};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// The cases, by file.
const CASES: [(&str, &str); 5] = [
    ("virtual_service", include_str!("../faults/virtual_service.yaml")),
    ("destination_rule", include_str!("../faults/destination_rule.yaml")),
    ("registry", include_str!("../faults/registry.yaml")),
    ("security", include_str!("../faults/security.yaml")),
    ("extensions", include_str!("../faults/extensions.yaml")),
];

/// A resource, and what is said about it: nothing when it is as it should be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    kind: String,
    spec: Value,
    /// `path: value: reason`
    #[serde(default)]
    faults: Vec<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

fn api_version(kind: &str) -> &'static str {
    match kind {
        "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication" => "security.istio.io/v1",
        "Telemetry" => "telemetry.istio.io/v1",
        "WasmPlugin" | "TrafficExtension" => "extensions.istio.io/v1alpha1",
        "ProxyConfig" => "networking.istio.io/v1beta1",
        _ => "networking.istio.io/v1",
    }
}

fn said(faults: &[Fault]) -> Vec<String> {
    let parts = |fault: &Fault| [fault.path.clone(), fault.value.clone(), fault.reason.clone()];
    let said = faults.iter().map(|fault| parts(fault).into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>());
    said.map(|parts| parts.join(": ")).collect()
}

/// What is said of a resource.
fn faults(kind: &str, spec: &Value) -> (Vec<String>, Vec<String>) {
    let document = json!({
        "apiVersion": api_version(kind),
        "kind": kind,
        "metadata": {"name": "a", "namespace": "shop"},
        "spec": spec,
    });
    let (faults, warnings) = match read_files(&[file("f", &document.to_string())], &Options::default()) {
        Ok(resources) => (Vec::new(), resources.warnings),
        Err(faults) => (faults.faults, faults.warnings),
    };
    (said(&faults), said(&warnings))
}

#[test]
fn what_is_too_much_is_refused() {
    let body = |length: usize| {
        let response = json!({"status": 200, "body": {"string": "a".repeat(length)}});
        faults("VirtualService", &json!({"hosts": ["a"], "http": [{"directResponse": response}]}))
    };
    assert_eq!(body(1 << 20).1, ["spec.http[0].directResponse.body: 1048576: a large body is held by every proxy"]);
    assert_eq!(body((1 << 20) + 1).0, ["spec.http[0].directResponse.body: 1048577: longer than 1048576 bytes"]);
    assert_eq!(body(100 << 10), (vec![], vec![]));
    let regex = json!({"hosts": ["a"], "http": [{
        "match": [{"uri": {"regex": "a".repeat(1025)}}], "route": [{"destination": {"host": "a"}}],
    }]});
    assert!(faults("VirtualService", &regex).0[0].ends_with("…: longer than 1024 bytes"));
    let policy = |rules: Value| faults("AuthorizationPolicy", &json!({"rules": rules})).0;
    let source = |source: Value| json!([{"from": [{"source": source}]}]);
    assert_eq!(policy(vec![json!({}); 513].into()), ["spec.rules: 513: at most 512 rules"]);
    let many = json!([{"from": vec![json!({"source": {"namespaces": ["a"]}}); 513]}]);
    assert_eq!(policy(many), ["spec.rules[0].from: 513: at most 512 alternatives"]);
    let accounts: Vec<String> = (0..17).map(|i| format!("a{i}")).collect();
    let at = "spec.rules[0].from[0].source.serviceAccounts";
    assert_eq!(policy(source(json!({"serviceAccounts": accounts}))), [format!("{at}: 17: at most 16 values")]);
    let long = policy(source(json!({"serviceAccounts": ["a".repeat(321)]})));
    assert!(long[0].starts_with(&format!("{at}[0]: \"aaa")) && long[0].contains("expected name"), "{long:?}");
    let targets = vec![json!({"kind": "Service", "name": "a"}); 17];
    let targets = faults("AuthorizationPolicy", &json!({"targetRefs": targets})).0;
    assert_eq!(targets, ["spec.targetRefs: 17: at most 16 references"]);
    let code = faults("TrafficExtension", &json!({"lua": {"inlineCode": "a".repeat(65_537)}})).0;
    assert_eq!(code, ["spec.lua.inlineCode: 65537: expected 1 to 65536 bytes"]);
    let env: Vec<Value> = (0..257).map(|i| json!({"name": format!("A{i}")})).collect();
    let env = faults("WasmPlugin", &json!({"url": "a", "vmConfig": {"env": env}})).0;
    assert_eq!(env, ["spec.vmConfig.env: 257: at most 256 variables"]);
}

#[test]
fn each_rule_says_what_breaks_it() {
    let mut wrong = String::new();
    for (name, text) in CASES {
        for case in serde_saphyr::from_str::<Vec<Case>>(text).unwrap() {
            let (faults, warnings) = faults(&case.kind, &case.spec);
            if (&faults, &warnings) != (&case.faults, &case.warnings) {
                let said = json!({"file": name, "case": case.case, "faults": faults, "warnings": warnings});
                writeln!(wrong, "{said}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
