//! How MeshConfig's `pathNormalization` has paths read before a policy looks at them: every mode, in both proxies.

use super::pair::{Pair, differences};
use super::snapshots;
use libtest_mimic::Failed;
use outrigger_tests::case_file::{Bytes, Request};
use outrigger_tests::engine::Observed;
use outrigger_tests::tools;
use std::fs;

const MODES: [&str; 4] = ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"];

/// What a policy forbids: `/admin` and what is below it, `/a/b`.
const RESOURCES: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "pathNormalization: {normalization: MODE}"}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: client, namespace: shop}
spec: {address: 127.0.0.1, labels: {app: cart}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 8080}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/admin, "/admin/*", /a/b]}}]}]}
"#;

/// A path, and in which modes it is one that the policy forbids. Whoever is let through arrives at the application.
const ROWS: [(&str, [bool; 4]); 22] = [
    ("/admin", [true; 4]),
    ("/admin/", [true; 4]),
    ("/admin?x=/../y", [true; 4]),
    ("/a/b", [true; 4]),
    ("/x/../admin", [false, true, true, true]),
    ("/./admin", [false, true, true, true]),
    ("/admin/.", [true; 4]),
    ("/a/./b", [false, true, true, true]),
    ("/%61dmin", [false, true, true, true]),
    ("/x/%2e%2e/admin", [false, true, true, true]),
    ("/x/%2E./admin", [false, true, true, true]),
    ("//admin", [false, false, true, true]),
    ("/a//b", [false, false, true, true]),
    ("/x/..//admin", [false, false, true, true]),
    ("/a%2fb", [false, false, false, true]),
    ("/a%2Fb", [false, false, false, true]),
    ("/a%5cb", [false, false, false, true]),
    ("/a%2f%2fb", [false, false, false, true]),
    ("/x%2f..%2fadmin", [false, false, false, true]),
    ("/%2561dmin", [false; 4]),
    ("/a%252fb", [false; 4]),
    ("/Admin", [false; 4]),
];

pub(super) fn every_mode() -> Result<(), Failed> {
    tools::envoy()?;
    let folder = tools::target_directory().join("envoy").join(format!("paths-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut wrong = Vec::new();
    for (number, mode) in MODES.into_iter().enumerate() {
        let file = folder.join(format!("{mode}.yaml"));
        fs::write(&file, RESOURCES.replace("MODE", mode))?;
        for (_, snapshot) in snapshots(&file, &["client"])? {
            let mut pair = Pair::start(&snapshot)?;
            for (path, forbidden) in ROWS {
                let request = request(path);
                let (ours, theirs) = pair.ask("inbound", "cluster.local/ns/shop/sa/default", &request);
                let faults = differences(&request, &ours, &theirs);
                wrong.extend(faults.into_iter().map(|fault| format!("{mode} {path}: {fault}")));
                if is_forbidden(&ours) != forbidden[number] {
                    wrong.push(format!("{mode} {path}: {}, and {:?} arrived", ours.status, ours.arrived));
                }
            }
        }
    }
    fs::remove_dir_all(&folder)?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn request(path: &str) -> Request {
    let (path, authority) = (path.to_owned(), "cart.shop:8080".to_owned());
    // Else each proxy would make one up.
    let headers = vec![("x-request-id".to_owned(), Bytes::Text("06d3c225-2e59-48c4-8a56-3b67a8150956".to_owned()))];
    Request { path, authority, headers, ..Request::default() }
}

/// Refused, and nothing has come to the application.
fn is_forbidden(observed: &Observed) -> bool {
    observed.status == 403 && observed.arrived.is_empty()
}
