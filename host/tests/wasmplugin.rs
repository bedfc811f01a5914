//! `outrigger wasmplugin` as a user calls it: what it writes, where, and what it returns to the shell.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MESH: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: app, ports: [{name: web, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart-5d9-x, namespace: shop, labels: {app: cart, pod-template-hash: 5d9}}
spec: {containers: [{name: app, ports: [{name: web, containerPort: 8080}]}]}
status: {podIP: 10.0.0.1, phase: Running}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: web}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
";

/// A folder of its own, with the mesh in it.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // It is there from the last time, or not.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("mesh.yaml"), MESH).unwrap();
    folder
}

fn outrigger(folder: &Path, arguments: &str) -> Output {
    let arguments = arguments.split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .arg("wasmplugin")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn pods_share_what_their_deployment_has() {
    let folder = folder("wasmplugin-all");
    let output =
        outrigger(&folder, "-f mesh.yaml --all --url oci://registry.example/o --oci oci --modules files -o json");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let items = list["items"].as_array().unwrap();
    let names: Vec<_> = items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    let wanted = ["outrigger-cart-inbound-authz", "outrigger-cart-outbound-header-rules", "outrigger-cart"];
    assert_eq!((list["kind"].as_str(), names.as_slice()), (Some("List"), &wanted[..]));
    assert_eq!(items[0]["spec"]["selector"]["matchLabels"], serde_json::json!({"app": "cart"}));

    // What the resources pin is what was written.
    let pinned = items[0]["spec"]["url"].as_str().unwrap().rsplit_once("@sha256:").unwrap().1;
    assert_eq!(items[0]["spec"]["sha256"], pinned);
    let manifest = fs::read(folder.join("oci/blobs/sha256").join(pinned)).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let module = fs::read(folder.join("files/authz.wasm")).unwrap();
    let digest: String = Sha256::digest(&module).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(manifest["layers"][0]["digest"], format!("sha256:{digest}"));
    assert!(module.starts_with(b"\0asm") && folder.join("oci/index.json").exists());

    let output =
        outrigger(&folder, "-f mesh.yaml --workload shop/cart --url https://modules.example --api trafficextension");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("kind: TrafficExtension") && text.contains(&format!("sha256: {digest}")), "{text}");
}

#[test]
fn exit_codes_are_those_of_istioctl() {
    let folder = folder("wasmplugin-exit");
    for (arguments, code) in [
        ("-f mesh.yaml --workload shop/cart", 64),
        ("--workload shop/cart --url file:///o", 64),
        ("-f mesh.yaml --workload shop/cart --url ftp://o", 64),
        ("-f mesh.yaml --workload shop/nobody --url file:///o", 65),
        ("-f nothing.yaml --all --url file:///o", 65),
        ("-f mesh.yaml -n shop --url file:///o", 65),
        ("-f mesh.yaml --all --url file:///o --oci mesh.yaml", 65),
        ("-f mesh.yaml --all --url file:///o", 0),
    ] {
        let output = outrigger(&folder, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert_eq!(output.stdout.is_empty(), code != 0, "{arguments}");
        assert!(!said.is_empty(), "{arguments}");
    }
}
