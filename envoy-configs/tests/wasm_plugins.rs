//! What is written for Istio, of the folders of `tests/golden`: read back it is accepted, and has a proxy run the same
//! plugins in the same order. Folders with a `wasmplugin.yaml` have it; where one of [`GOLDEN`] is missing it is
//! written, to be looked at: the test fails all the same.

use compiler::snapshot::{Module, NetworkFilter, Plugin, Snapshot};
use compiler::{CompileError, Mesh, Settings, Workload};
use envoy_configs::{Api, Image, ModulePrefix, SidecarProxy, WasmPluginError, WasmPluginsOptions, wasm_plugins};
use istio_api::{File, Resources};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const GOLDEN: [&str; 4] = ["gateway", "inbound-policies", "routes", "wasm-plugins"];
const MODULES: [&str; 7] =
    ["authz", "cors", "fault-injection", "header-rules", "jwt-authn", "mirroring", "weighted-shifting"];

#[test]
fn every_folder_is_written_and_read_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut folders: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let mut compared = 0;
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(folder.join("istio.yaml")).unwrap();
        let resources = read(&[&text]);
        let Ok((workload, snapshot)) = try_compile(&resources) else {
            // What is refused is in the folder, as its snapshot.
            assert!(fs::read_to_string(folder.join("snapshot.yaml")).unwrap().starts_with("# refused"), "{name}");
            continue;
        };
        if workload.labels.is_empty() {
            let refused = write(&resources, &workload, &snapshot, Api::WasmPlugin).unwrap_err();
            assert!(matches!(refused[..], [WasmPluginError::NoLabels { .. }]), "{refused:?}");
            continue;
        }
        for api in [Api::WasmPlugin, Api::TrafficExtension] {
            let written =
                write(&resources, &workload, &snapshot, api).unwrap_or_else(|faults| panic!("{name}: {}", faults[0]));
            compared += compare(&name, &text, &written, &snapshot);
            if api == Api::WasmPlugin && (GOLDEN.contains(&name.as_str()) || folder.join("wasmplugin.yaml").exists()) {
                golden(&folder.join("wasmplugin.yaml"), &written);
            }
        }
    }
    assert!(compared > 30, "only {compared} plugins were compared");
}

fn golden(file: &Path, written: &str) {
    let Ok(wanted) = fs::read_to_string(file) else {
        fs::write(file, written).unwrap();
        panic!("{}: was missing and is written: look at it", file.display());
    };
    for (line, (made, wanted)) in written.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(made, wanted, "{}:{}", file.display(), line + 1);
    }
    assert_eq!(written.len(), wanted.len(), "{}", file.display());
}

/// Whether a proxy that reads what was written beside everything else runs in each chain, as users' plugins, what it
/// runs as ours. How many plugins those are.
fn compare(name: &str, text: &str, written: &str, snapshot: &Snapshot) -> usize {
    let (_, again) = compile(&read(&[text, written]));
    let chains = |snapshot: &Snapshot| {
        let chains = snapshot.listeners.iter().flat_map(|listener| listener.filter_chains.clone());
        let plugins = chains.filter_map(|chain| match chain.network_filter {
            NetworkFilter::HttpConnectionManager(manager) => Some(manager.plugins),
            NetworkFilter::TcpProxy(_) => None,
        });
        plugins.collect::<Vec<_>>()
    };
    let (before, after) = (chains(snapshot), chains(&again));
    assert_eq!(before.len(), after.len(), "{name}");
    let mut compared = 0;
    for (before, after) in before.iter().zip(&after) {
        let ours = before.iter().filter(|plugin| is_ours(snapshot, plugin));
        let ours: Vec<_> =
            ours.map(|plugin| (plugin.name.clone(), plugin.phase, plugin.fail_strategy, essence(plugin))).collect();
        let users = after.iter().filter_map(|plugin| {
            let name = plugin.root_id.strip_prefix("outrigger.")?.to_owned();
            Some((name, plugin.phase, plugin.fail_strategy, essence(plugin)))
        });
        let users: Vec<_> = users.collect();
        assert_eq!(ours, users, "{name}");
        compared += ours.len();
    }
    compared
}

/// A plugin's configuration but for what tells which proxy runs it.
fn essence(plugin: &Plugin) -> Value {
    let mut configuration = plugin.configuration.clone();
    if let Value::Object(fields) = &mut configuration {
        fields.remove("hostProperties");
        fields.remove("peerAddressProperty");
    }
    configuration
}

fn is_ours(snapshot: &Snapshot, plugin: &Plugin) -> bool {
    matches!(snapshot.modules[&plugin.module], Module::Embedded(_))
}

fn read(texts: &[&str]) -> Resources {
    let file = |text: &&str| Arc::new(File { name: "istio.yaml".to_owned(), text: (*text).to_owned() });
    let files: Vec<_> = texts.iter().map(file).collect();
    istio_api::read_files(&files, &istio_api::Options::default()).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The proxy of the workload `client`, or of the gateway `gateway`.
fn compile(resources: &Resources) -> (Workload, Snapshot) {
    try_compile(resources).unwrap_or_else(|error| panic!("{error}"))
}

fn try_compile(resources: &Resources) -> Result<(Workload, Snapshot), CompileError> {
    let mesh = Mesh::new(resources);
    let workloads = mesh.workloads();
    let named = |name: &str| workloads.iter().find(|workload| workload.name == name);
    let settings = Settings { certificates: Some("/certificates".into()), ..Settings::default() };
    let (workload, compiled) = match (named("client"), named("gateway")) {
        (Some(client), _) => (client, mesh.sidecar(client, &settings)),
        (None, gateway) => (gateway.unwrap(), mesh.gateway(gateway.unwrap(), &settings)),
    };
    Ok((workload.clone(), compiled?.snapshot))
}

fn write(
    resources: &Resources,
    workload: &Workload,
    snapshot: &Snapshot,
    api: Api,
) -> Result<String, Vec<WasmPluginError>> {
    let images: Vec<_> = MODULES.iter().map(|name| Image::new(name, name.as_bytes()).unwrap()).collect();
    let prefix: ModulePrefix = "file:///opt/outrigger".parse().unwrap();
    let mesh = Mesh::new(resources);
    let options = WasmPluginsOptions { api, root_namespace: mesh.root_namespace(), prefix: &prefix, images: &images };
    let made = wasm_plugins(&[SidecarProxy { workload, snapshot }], &mesh.workloads(), &options)?;
    let documents: Vec<_> = made.resources.iter().map(|one| serde_saphyr::to_string(one).unwrap()).collect();
    let remarks: String = made.remarks.iter().map(|remark| format!("# {remark}\n")).collect();
    Ok(remarks + &documents.join("---\n"))
}

const SHOP: &str = "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: client, namespace: shop, labels: {app: web, pod-template-hash: 5d9}}
spec: {address: 10.0.0.1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
";

fn faults(text: &str) -> Vec<WasmPluginError> {
    let resources = read(&[SHOP, text]);
    let (workload, snapshot) = compile(&resources);
    write(&resources, &workload, &snapshot, Api::WasmPlugin).unwrap_err()
}

#[test]
fn a_selector_that_meets_another_workload_is_refused() {
    let other = |metadata: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {metadata}\nspec: {{address: 10.0.0.2}}"
        )
    };
    let more = faults(&other("{name: other, namespace: shop, labels: {app: web, version: v2}}"));
    let said = more.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        said,
        ["workload shop/client: its labels (app=web) select shop/other too: give it one that shop/other does not have"]
    );
    for harmless in [
        "{name: other, namespace: elsewhere, labels: {app: web, version: v2}}",
        "{name: other, namespace: shop, labels: {app: web}}",
        "{name: other, namespace: shop, labels: {app: web, pod-template-hash: 77c}}",
        "{name: other, namespace: shop, labels: {app: other}}",
    ] {
        let resources = read(&[SHOP, &other(harmless)]);
        let (workload, snapshot) = compile(&resources);
        let written = write(&resources, &workload, &snapshot, Api::WasmPlugin).unwrap();
        assert!(written.contains("app: web") && !written.contains("pod-template-hash"), "{written}");
    }
}

#[test]
fn servers_that_only_their_names_tell_apart_are_refused() {
    let text = "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: gateway, namespace: edge, labels: {istio: gateway}}
spec: {address: 10.0.0.1}
---
apiVersion: v1
kind: Secret
metadata: {name: tls, namespace: edge}
stringData: {tls.crt: c, tls.key: k}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: edge}
spec:
  selector: {istio: gateway}
  servers:
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.example], tls: {mode: SIMPLE, credentialName: tls}}
  - {port: {number: 443, name: b, protocol: HTTPS}, hosts: [b.example], tls: {mode: SIMPLE, credentialName: tls}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: edge}
spec: {hosts: [a.example], gateways: [edge], http: [{directResponse: {status: 200}}]}
";
    let resources = read(&[text]);
    let (workload, snapshot) = compile(&resources);
    let refused = write(&resources, &workload, &snapshot, Api::WasmPlugin).unwrap_err();
    assert!(matches!(refused[..], [WasmPluginError::Indistinguishable { port: 443, .. }]), "{refused:?}");
}

#[test]
fn texts_that_look_like_something_else_stay_texts() {
    let words =
        ["yes", "on", "n", "~", "null", "1e3", "0x1F", "012", "1_000", "2024-01-01", ".inf", "=", "1:30", "- a"];
    let matches: Vec<String> = words.iter().map(|word| format!("{{headers: {{x: {{exact: '{word}'}}}}}}")).collect();
    let route = format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: web, namespace: shop}}\nspec:\n  \
         hosts: [web]\n  http:\n  - match: [{}]\n    route: [{{destination: {{host: web}}}}]\n",
        matches.join(", ")
    );
    let resources = read(&[SHOP, &route]);
    let (workload, snapshot) = compile(&resources);
    let written = write(&resources, &workload, &snapshot, Api::WasmPlugin).unwrap();
    assert!(compare("texts", &format!("{SHOP}{route}"), &written, &snapshot) > 0);
}

#[test]
fn what_kubernetes_or_istio_would_not_take_is_refused() {
    let resources = read(&[SHOP]);
    let (workload, snapshot) = compile(&resources);
    let long = Workload { name: "n".repeat(240), ..workload.clone() };
    let refused = write(&resources, &long, &snapshot, Api::WasmPlugin).unwrap_err();
    assert!(matches!(refused[..], [WasmPluginError::LongName { .. }]), "{refused:?}");

    let with = |change: &dyn Fn(&mut Plugin)| {
        let mut snapshot = snapshot.clone();
        for chain in snapshot.listeners.iter_mut().flat_map(|listener| &mut listener.filter_chains) {
            if let NetworkFilter::HttpConnectionManager(manager) = &mut chain.network_filter {
                manager.plugins.iter_mut().for_each(change);
            }
        }
        write(&resources, &workload, &snapshot, Api::WasmPlugin)
    };
    let large = |bytes: usize| with(&|plugin| plugin.configuration = serde_json::json!({"name": "a".repeat(bytes)}));
    let refused = large(1_600_000).unwrap_err();
    assert!(matches!(refused[..], [WasmPluginError::Large { .. }]), "{}", refused.len());
    let written = large(300_000).unwrap();
    assert!(
        written.starts_with("# WasmPlugin shop/outrigger-client-outbound-header-rules has 300"),
        "{}",
        &written[..90]
    );

    let mut unknown = snapshot.clone();
    unknown.modules.insert("other".to_owned(), Module::Embedded("other".to_owned()));
    let chains = unknown.listeners.iter_mut().flat_map(|listener| &mut listener.filter_chains);
    for chain in chains {
        if let NetworkFilter::HttpConnectionManager(manager) = &mut chain.network_filter {
            manager.plugins.iter_mut().for_each(|plugin| plugin.module = "other".to_owned());
        }
    }
    let refused = write(&resources, &workload, &unknown, Api::WasmPlugin).unwrap_err();
    assert!(
        matches!(&refused[..], [WasmPluginError::UnknownModule { module, .. }] if module == "other"),
        "{refused:?}"
    );
}
