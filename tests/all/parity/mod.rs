//! The same Istio resources, our proxy and the Envoy whose bootstrap we write: requests at the configuration's own
//! boundaries are sent to both, and both must do the same with them.
//!
//! A folder of `tests/parity` is an example: `istio.yaml` with the workloads `client` (a sidecar) or `gateway`, and
//! `tokens.txt` with what clients have where tokens are looked for, each on a line.

mod pair;
mod paths;
mod requests;
mod validated;
mod vocabulary;

use compiler::snapshot::{NetworkFilter, Snapshot};
use compiler::{Mesh, Settings};
use libtest_mimic::{Failed, Trial};
use outrigger_tests::{root, tools};
use pair::Pair;
use std::fs;
use std::path::Path;
use vocabulary::Vocabulary;

/// Requests to each listener of an example.
const REQUESTS: usize = 500;

/// How many differences are told.
const TOLD: usize = 10;

/// A trial for each example, and for the workloads of the demo.
pub(super) fn trials() -> Vec<Trial> {
    let folder = root().join("tests/parity");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| !name.contains('.')).collect();
    names.sort();
    let mut trials: Vec<Trial> = names
        .into_iter()
        .map(|name| {
            let file = folder.join(&name).join("istio.yaml");
            Trial::test(format!("parity::{name}"), move || compare(&file, &["client", "gateway"]))
        })
        .collect();
    let demo = root().join("host/src/demo/mesh");
    trials.push(Trial::test("parity::demo", move || compare(&demo, &["storefront", "reviews-v1", "gateway"])));
    trials.push(Trial::test("parity::examples", examples));
    trials.push(Trial::test("parity::path_normalization", paths::every_mode));
    trials.push(Trial::test("parity::validated", validated::every_golden_pair));
    trials
}

/// That there are enough of them: a folder that cannot be read must not pass.
fn examples() -> Result<(), Failed> {
    let count = fs::read_dir(root().join("tests/parity"))?.count();
    if count >= 5 { Ok(()) } else { Err(format!("only {count} examples").into()) }
}

fn compare(files: &Path, workloads: &[&str]) -> Result<(), Failed> {
    tools::envoy()?;
    let tokens = fs::read_to_string(files.with_file_name("tokens.txt")).unwrap_or_default();
    let tokens: Vec<String> = tokens.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let (mut wrong, mut sent) = (Vec::new(), 0);
    for (name, snapshot) in snapshots(files, workloads)? {
        let mut pair = Pair::start(&snapshot)?;
        for listener in &snapshot.listeners {
            let mut vocabulary = Vocabulary::of(configurations(&snapshot, &listener.name), &tokens);
            vocabulary.authorities.push(pair.elsewhere());
            for (number, request) in requests::requests(&vocabulary, REQUESTS).into_iter().enumerate() {
                sent += 1;
                let caller = &vocabulary.principals[number % vocabulary.principals.len()];
                let differences = pair.differences(&listener.name, caller, &request);
                if !differences.is_empty() {
                    let asked = format!("{} by {caller}", asked(&request));
                    wrong.push(format!("{name} {}: {asked}\n    {}", listener.name, differences.join("\n    ")));
                }
            }
        }
    }
    match (wrong.len(), sent) {
        (0, sent) if sent >= REQUESTS => Ok(()),
        (0, sent) => Err(format!("only {sent} requests were sent").into()),
        (count, sent) => {
            let told = wrong.iter().take(TOLD).cloned().collect::<Vec<_>>().join("\n");
            Err(format!("{count} of {sent} requests differ:\n{told}").into())
        }
    }
}

/// The snapshots of these workloads, each with its name.
fn snapshots(files: &Path, workloads: &[&str]) -> Result<Vec<(String, Snapshot)>, Failed> {
    let resources = istio_api::read(&[files.to_owned()], &istio_api::Options::default());
    let resources = resources.map_err(|faults| faults.to_string())?;
    let mesh = Mesh::new(&resources);
    let all = mesh.workloads();
    let compiled = all.iter().filter(|workload| workloads.contains(&workload.name.as_str())).map(|workload| {
        let settings = Settings { certificates: Some(pair::certificates(workload)?.into()), ..Settings::default() };
        let compiled = match mesh.is_gateway(workload) {
            true => mesh.gateway(workload, &settings),
            false => mesh.sidecar(workload, &settings),
        };
        Ok((workload.name.clone(), compiled.map_err(|error| error.to_string())?.snapshot))
    });
    compiled.collect()
}

fn asked(request: &outrigger_tests::case_file::Request) -> String {
    let headers: Vec<String> = request
        .all_headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect();
    format!("{} http://{}{} ({})", request.method, request.authority, request.path, headers.join("; "))
}

/// The configurations of a listener's plugins.
fn configurations<'s>(snapshot: &'s Snapshot, listener: &str) -> impl Iterator<Item = &'s serde_json::Value> {
    let listener = listener.to_owned();
    let chains = snapshot.listeners.iter().filter(move |known| known.name == listener);
    let chains = chains.flat_map(|listener| &listener.filter_chains);
    chains
        .flat_map(|chain| match &chain.network_filter {
            NetworkFilter::HttpConnectionManager(manager) => manager.plugins.iter(),
            NetworkFilter::TcpProxy(proxy) => proxy.plugins.iter(),
        })
        .map(|plugin| &plugin.configuration)
}
