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

#[test]
fn each_rule_says_what_breaks_it() {
    let mut wrong = String::new();
    for (name, text) in CASES {
        for case in serde_saphyr::from_str::<Vec<Case>>(text).unwrap() {
            let document = json!({
                "apiVersion": api_version(&case.kind),
                "kind": case.kind,
                "metadata": {"name": "a", "namespace": "shop"},
                "spec": case.spec,
            });
            let (faults, warnings) = match read_files(&[file("f", &document.to_string())], &Options::default()) {
                Ok(resources) => (Vec::new(), resources.warnings),
                Err(faults) => (faults.faults, faults.warnings),
            };
            let (faults, warnings) = (said(&faults), said(&warnings));
            if (&faults, &warnings) != (&case.faults, &case.warnings) {
                let said = json!({"file": name, "case": case.case, "faults": faults, "warnings": warnings});
                writeln!(wrong, "{said}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
