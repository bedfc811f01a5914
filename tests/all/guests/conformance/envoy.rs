//! The same rows in stock Envoy: a listener for each scenario and version, the same guest, the same requests.

use super::{
    CONFIGURATION, Envoy as Answered, HEADERS, PATH, Row, Scenario, Sent, TRAILERS, all, answers, compare, script,
};
use libtest_mimic::Failed;
use outrigger_tests::case_file::{Answer, Body, Bytes, Request};
use outrigger_tests::envoy::Envoy;
use outrigger_tests::envoy_bootstrap::{address, cluster};
use outrigger_tests::tools;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

const PREFIX: &str = "type.googleapis.com/envoy.extensions";
const STRING: &str = "type.googleapis.com/google.protobuf.StringValue";

/// Every row that Envoy is asked is answered there as it says.
pub(super) fn agrees() -> Result<(), Failed> {
    let scenarios: BTreeMap<String, (&Scenario, &str)> =
        all().filter(|scenario| scenario.not_in_envoy.is_none()).flat_map(versions).collect();
    let clusters = ["upstream", "other", "grpc", "broken"].map(str::to_owned);
    let mut envoy = Envoy::launch(clusters.into(), |upstreams| bootstrap(&scenarios, upstreams))?;
    let mut wrong = Vec::new();
    for (id, (scenario, version)) in &scenarios {
        let observed = envoy.request(id, &request(scenario.sent), cluster_answers())?;
        if observed.status != scenario.status.1 {
            let body = String::from_utf8_lossy(&observed.body).into_owned();
            wrong.push(format!("{version} {}: ends with {} {body}", scenario.name, observed.status));
        }
    }
    let check = |lines: &[String]| -> Vec<String> {
        let each = scenarios.iter().flat_map(|(id, (scenario, version))| {
            let wrong = compare(scenario, &answers(said(lines, id)), asked);
            wrong.into_iter().map(move |wrong| format!("{version} {wrong}"))
        });
        each.collect()
    };
    // Timers and wake-ups come when they come.
    let lines = envoy.log(|lines| check(lines).is_empty());
    wrong.extend(check(&lines));
    if wrong.is_empty() { Ok(()) } else { Err(format!("\n{}", wrong.join("\n")).into()) }
}

/// How each cluster answers.
fn cluster_answers() -> BTreeMap<String, Answer> {
    let headers = vec![("x-from".to_owned(), "upstream".to_owned())];
    let plain = Answer { headers, body: "answer".to_owned(), ..Answer::default() };
    let message = Answer { grpc: Some("0102".to_owned()), grpc_status: Some(0), ..Answer::default() };
    let missing = Answer { grpc_status: Some(5), ..Answer::default() };
    let answers = [("upstream", plain.clone()), ("other", plain), ("grpc", message), ("broken", missing)];
    answers.into_iter().map(|(name, answer)| (name.to_owned(), answer)).collect()
}

/// What Envoy is to answer, where it is asked.
fn asked(row: &Row) -> Option<&'static str> {
    match row.envoy {
        Answered::Same => Some(row.answer),
        Answered::Differs(answer) => Some(answer),
        Answered::NotAsked => None,
    }
}

/// A scenario for each of its versions, by the name of its VM.
fn versions(scenario: &'static Scenario) -> impl Iterator<Item = (String, (&'static Scenario, &'static str))> {
    let name = scenario.name.replace(' ', "_");
    scenario.versions.iter().map(move |version| (format!("{name}-{version}"), (scenario, *version)))
}

/// What the guest of a VM has said.
fn said<'l>(lines: &'l [String], id: &str) -> impl Iterator<Item = &'l str> {
    let mark = format!(" {id}: ");
    let lines = lines.iter().filter(|line| line.contains("wasm log"));
    lines.filter_map(move |line| Some(line.split_once(&mark)?.1))
}

fn request(sent: Sent) -> Request {
    let posted = !matches!(sent, Sent::Get);
    let headers = HEADERS.map(|(name, value)| (name.to_owned(), Bytes::Text(value.to_owned())));
    let trailers = TRAILERS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Request {
        method: if posted { "POST" } else { "GET" }.to_owned(),
        path: PATH.to_owned(),
        headers: headers.to_vec(),
        body: posted.then(|| Body::Text("abc".to_owned())),
        trailers: if matches!(sent, Sent::Trailers) { trailers.to_vec() } else { Vec::new() },
        ..Request::default()
    }
}

fn bootstrap(
    scenarios: &BTreeMap<String, (&Scenario, &str)>,
    upstreams: &BTreeMap<String, u16>,
) -> Result<Value, String> {
    let mut listeners = Vec::new();
    for (id, (scenario, version)) in scenarios {
        listeners.push(json!({
            "name": id,
            "address": address(0),
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": connection_manager(id, scenario, version)?,
            }]}],
        }));
    }
    let clusters: Vec<Value> =
        upstreams.iter().map(|(name, port)| cluster(name, *port, ["grpc", "broken"].contains(&&**name))).collect();
    Ok(json!({
        "admin": {"address": address(0)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }))
}

fn connection_manager(id: &str, scenario: &Scenario, version: &str) -> Result<Value, String> {
    let wasm = json!({"name": "wasm", "typed_config": {
        "@type": format!("{PREFIX}.filters.http.wasm.v3.Wasm"),
        "config": {
            "name": id,
            "root_id": "root",
            "vm_config": {
                "vm_id": id,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module(version)?}},
                "configuration": {"@type": STRING, "value": script(scenario)},
                "environment_variables": {"key_values": {"KEY": "value"}},
            },
            "configuration": {"@type": STRING, "value": CONFIGURATION},
        },
    }});
    let router = format!("{PREFIX}.filters.http.router.v3.Router");
    Ok(json!({
        "@type": format!("{PREFIX}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "conformance",
        "stream_idle_timeout": "2s",
        "http_protocol_options": {"enable_trailers": true},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
        ]}]},
        "http_filters": [wasm, {"name": "router", "typed_config": {"@type": router}}],
    }))
}

/// The guest as a file.
fn module(version: &str) -> Result<String, String> {
    let name = format!("script_abi_{version}");
    let guest = guests::find(&name).ok_or_else(|| format!("there is no guest {name}"))?;
    let directory = tools::target_directory().join("guests");
    let file = directory.join(format!("{name}.wasm"));
    let at = |error: std::io::Error| format!("{}: {error}", file.display());
    fs::create_dir_all(&directory).map_err(at)?;
    fs::write(&file, guest.bytes).map_err(at)?;
    Ok(file.display().to_string())
}
