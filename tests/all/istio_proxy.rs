//! What is written for Istio, run by stock Envoy as Istio sets it up: its own route serves all, the EnvoyFilter's patches
//! are laid over it, the WasmPlugins are in the chain.

use compiler::snapshot::Snapshot;
use compiler::{Mesh, Settings, Workload};
use envoy_configs::{Api, Image, ModulePrefix, SidecarProxy, WasmPluginsOptions, wasm_plugins};
use istio_api::File;
use libtest_mimic::Failed;
use outrigger_tests::case_file::{Bytes, Request};
use outrigger_tests::engine::Observed;
use outrigger_tests::envoy::Envoy;
use outrigger_tests::envoy_bootstrap::{address, cluster, wasm};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const V1: &str = "outbound|80|v1|reviews.shop.svc.cluster.local";
const V2: &str = "outbound|80|v2|reviews.shop.svc.cluster.local";
/// Where Istio's own route goes.
const OWN: &str = "own";
const MESH: &str = include_str!("istio_proxy.yaml");

/// The plugins choose the cluster; a client cannot; authz is told who calls.
pub(crate) fn gateway() -> Result<(), Failed> {
    let resources = resources()?;
    let clusters = [V1, V2, OWN].map(str::to_owned);
    let mut envoy = Envoy::launch(clusters.into(), |ports| bootstrap(&resources, ports))?;
    let mut ask = |listener: &str, authority: &str, headers: &[(&str, &str)]| -> Result<Observed, String> {
        let headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::Text((*value).to_owned()))).collect();
        let request = Request { authority: authority.to_owned(), headers, ..Request::default() };
        envoy.request(listener, &request, BTreeMap::new())
    };
    let steered = [("x-outrigger-cluster", V2), ("x-outrigger-hash", "00")];
    let mut wrong = Vec::new();
    for (listener, authority, headers, status, went) in [
        ("plugins", "shop.example", &[][..], 200, Some(V1)),
        ("plugins", "shop.example", &[("end-user", "jason")], 200, Some(V2)),
        ("plugins", "shop.example", &steered, 200, Some(V1)),
        ("plugins", "other.example", &steered, 404, None),
        ("plugins", "shop.example", &[("x-user", "mallory")], 403, None),
        // Before the plugins are there.
        ("bare", "shop.example", &steered, 200, Some(OWN)),
    ] {
        let observed = ask(listener, authority, headers)?;
        let arrived: Vec<_> = observed.arrived.iter().map(|arrived| arrived.cluster.as_str()).collect();
        let told = observed.arrived.iter().flat_map(|arrived| &arrived.headers);
        let told = told.filter(|(name, _)| name.starts_with("x-outrigger")).count();
        if (observed.status, arrived.as_slice(), told) != (status, went.as_slice(), 0) {
            let status = observed.status;
            wrong.push(format!("{listener} {authority} {headers:?}: {status}, to {arrived:?}, {told} of our headers"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// What is written for the gateway, as Kubernetes would have it.
fn resources() -> Result<Vec<Value>, String> {
    let file = File { name: "istio_proxy.yaml".to_owned(), text: MESH.to_owned() };
    let read = istio_api::read_files(&[Arc::new(file)], &istio_api::Options::default());
    let read = read.map_err(|faults| faults.to_string())?;
    let mesh = Mesh::new(&read);
    let workload = mesh.workload("edge", "gateway").ok_or("no gateway")?;
    let compiled = mesh.gateway(&workload, &Settings::default()).map_err(|error| error.to_string())?;
    written(&workload, &compiled.snapshot)
}

fn written(workload: &Workload, snapshot: &Snapshot) -> Result<Vec<Value>, String> {
    let images: Result<Vec<_>, _> = modules::ALL.iter().map(|module| Image::new(module.name, module.bytes)).collect();
    let images = images.map_err(|error| error.to_string())?;
    let prefix: ModulePrefix = "file:///opt/outrigger".parse().map_err(|error| format!("{error}"))?;
    let options =
        WasmPluginsOptions { api: Api::WasmPlugin, root_namespace: "istio-system", prefix: &prefix, images: &images };
    let made = wasm_plugins(&[SidecarProxy { workload, snapshot }], &[], &options);
    let made = made.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let values = made.resources.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    values.map_err(|error| error.to_string())
}

fn bootstrap(resources: &[Value], ports: &BTreeMap<String, u16>) -> Result<Value, String> {
    let of_kind = |kind: &str| resources.iter().filter(|one| one["kind"] == kind).collect::<Vec<_>>();
    let patches: Vec<&Value> =
        of_kind("EnvoyFilter").iter().filter_map(|one| one["spec"]["configPatches"].as_array()).flatten().collect();
    let mut plugins = of_kind("WasmPlugin");
    // AUTHZ stands before none; within a phase the highest priority first.
    plugins.sort_by_key(|one| (one["spec"]["phase"].is_null(), -one["spec"]["priority"].as_i64().unwrap_or(i64::MIN)));
    let plugins = plugins.into_iter().map(|one| {
        let spec = &one["spec"];
        let text = |field: &str| spec[field].as_str().ok_or_else(|| format!("no {field}: {spec}"));
        let module = text("url")?.rsplit('/').next().and_then(|file| file.strip_suffix(".wasm")).ok_or("no module")?;
        wasm(module, text("pluginName")?, &spec["pluginConfig"].to_string())
    });
    let plugins = plugins.collect::<Result<Vec<_>, _>>()?;
    if (patches.len(), plugins.len()) != (3, 2) {
        return Err(format!("expected three patches and two plugins: {resources:?}"));
    }
    let clusters: Vec<_> = ports.iter().map(|(name, port)| cluster(name, *port, false)).collect();
    Ok(json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [listener("plugins", plugins, &patches)?, listener("bare", Vec::new(), &patches)?],
            "clusters": clusters,
        },
    }))
}

/// A listener with one route of its own, under the patches.
fn listener(name: &str, plugins: Vec<Value>, patches: &[&Value]) -> Result<Value, String> {
    const PREFIX: &str = "type.googleapis.com/envoy.extensions.filters";
    let mut routes = vec![json!({"match": {"prefix": "/"}, "route": {"cluster": OWN}})];
    let mut filters = plugins;
    let router = json!({"@type": format!("{PREFIX}.http.router.v3.Router")});
    filters.push(json!({"name": "router", "typed_config": router}));
    let mut manager = json!({
        "@type": format!("{PREFIX}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": name,
    });
    for patch in patches {
        let value = patch["patch"]["value"].clone();
        match (patch["applyTo"].as_str(), patch["patch"]["operation"].as_str(), patch["match"]["context"].as_str()) {
            (Some("HTTP_ROUTE"), Some("INSERT_FIRST"), Some("GATEWAY")) => routes.insert(0, value),
            (Some("HTTP_FILTER"), Some("INSERT_FIRST"), Some("GATEWAY")) => filters.insert(0, value),
            (Some("NETWORK_FILTER"), Some("MERGE"), Some("GATEWAY")) => {
                let fields = value["typed_config"].as_object().ok_or("nothing to merge")?;
                fields.iter().for_each(|(field, value)| manager[field] = value.clone());
            }
            _ => return Err(format!("an unknown patch: {patch}")),
        }
    }
    manager["route_config"] = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]});
    manager["http_filters"] = filters.into();
    let chain = json!({"filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    }]});
    Ok(json!({"name": name, "address": address(0), "filter_chains": [chain]}))
}
