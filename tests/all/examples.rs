//! The examples for stock Envoy and Istio: each is what it says, and the requests beside it get what they should.

use crate::repository::{files, read};
use libtest_mimic::{Failed, Trial};
use outrigger_tests::case_file::{self, Located, Plugin};
use outrigger_tests::envoy::Envoy;
use outrigger_tests::{native, optimised, root, tools};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Beside each bootstrap: what is asked of it, as cases without a configuration.
const REQUESTS: &str = "requests.yaml";
/// The listener of a bootstrap that clients are for.
const LISTENER: &str = "downstream";

/// A test for every example.
pub(crate) fn trials() -> Vec<Trial> {
    let examples = files(&root().join("envoy-configs/examples"), "yaml");
    let examples = examples.into_iter().filter(|example| !example.ends_with(REQUESTS));
    let trial = |example: PathBuf| {
        let name = example.strip_prefix(root()).unwrap_or(&example).display().to_string();
        let test = if name.ends_with("envoy.yaml") { envoy_serves } else { filter_serves };
        Trial::test(format!("examples::{name}"), move || test(&example))
    };
    examples.map(trial).collect()
}

/// A bootstrap is validated by Envoy as it stands, with the modules that it names; and serves its requests.
fn envoy_serves(example: &Path) -> Result<(), Failed> {
    let text = read(example)?;
    let mut configured = text.clone();
    for module in modules::ALL {
        let path = optimised::path(module.name)?.display().to_string();
        configured = configured.replace(&format!("target/wasm/{}.wasm", module.name), &path);
    }
    if configured == text {
        return Err("the bootstrap names no module of this repository".into());
    }
    validated(example, &configured)?;
    let bootstrap: Value = serde_saphyr::from_str(&configured).map_err(|error| error.to_string())?;
    let clusters: BTreeSet<String> = clusters(&bootstrap).map(str::to_owned).collect();
    let mut envoy = Envoy::launch(clusters, |ports| moved(bootstrap, ports))?;
    for mut case in cases(example, Vec::new())? {
        let name = std::mem::replace(&mut case.id, LISTENER.to_owned());
        as_expected(&name, envoy.run(&case))?;
    }
    Ok(())
}

fn validated(example: &Path, bootstrap: &str) -> Result<(), Failed> {
    let file =
        tools::target_directory().join(format!("example-{}.yaml", tools::hex(example.as_os_str().as_encoded_bytes())));
    fs::write(&file, bootstrap)?;
    let output = Command::new(tools::envoy()?).args(["--mode", "validate", "-c"]).arg(&file).output()?;
    fs::remove_file(&file)?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if output.status.success() && said.contains("OK") { Ok(()) } else { Err(said.into_owned().into()) }
}

fn clusters(bootstrap: &Value) -> impl Iterator<Item = &str> {
    let clusters = bootstrap["static_resources"]["clusters"].as_array().into_iter().flatten();
    clusters.filter_map(|cluster| cluster["name"].as_str())
}

/// The bootstrap on ports that Envoy chooses, before upstreams that tell what has reached them. All else stays.
fn moved(mut bootstrap: Value, upstreams: &BTreeMap<String, u16>) -> Result<Value, String> {
    bootstrap["admin"]["address"]["socket_address"]["port_value"] = 0.into();
    let resources = &mut bootstrap["static_resources"];
    for listener in resources["listeners"].as_array_mut().into_iter().flatten() {
        listener["address"]["socket_address"]["port_value"] = 0.into();
    }
    for cluster in resources["clusters"].as_array_mut().into_iter().flatten() {
        let port = cluster["name"].as_str().and_then(|name| upstreams.get(name)).ok_or("a cluster without a name")?;
        let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        endpoint["address"]["socket_address"]["port_value"] = (*port).into();
    }
    Ok(bootstrap)
}

/// The filter that an Istio resource is for serves the same requests by the resource's plugin configuration.
fn filter_serves(example: &Path) -> Result<(), Failed> {
    let resource: Value = serde_saphyr::from_str(&read(example)?).map_err(|error| error.to_string())?;
    let spec = resource.get("spec").ok_or("no spec")?;
    let wasm = spec.get("wasm").unwrap_or(spec);
    let url = wasm.get("url").and_then(Value::as_str).ok_or("no url")?;
    let module = url.rsplit('/').next().and_then(|file| file.strip_suffix(".wasm")).ok_or("the url names no module")?;
    let configuration = wasm.get("pluginConfig").ok_or("no pluginConfig")?.clone();
    for case in cases(example, vec![Plugin { module: module.to_owned(), configuration, root_id: None }])? {
        as_expected(&case.id, native::run(&case))?;
    }
    Ok(())
}

/// The requests beside an example, for these plugins.
fn cases(example: &Path, plugins: Vec<Plugin>) -> Result<Vec<Located>, String> {
    let cases = case_file::read(&example.with_file_name(REQUESTS), "requests", "")?;
    Ok(cases.into_iter().map(|case| Located { plugins: plugins.clone(), ..case }).collect())
}

fn as_expected(name: &str, wrong: Vec<String>) -> Result<(), Failed> {
    if wrong.is_empty() { Ok(()) } else { Err(format!("{name}:\n{}", wrong.join("\n")).into()) }
}
