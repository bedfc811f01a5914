//! What `Mesh::analyse` finds. Each folder of `tests/findings` has `istio.yaml` and in `findings.yaml` everything that
//! is found in it, each with a proof that the proxies really do what is said. Where `findings.yaml` is missing it is
//! written, to be completed: the test fails all the same.

mod support;

use compiler::{DescribedRequest, Finding, Mesh, Message};
use http_match::StringMatch;
use istio_api::{Options, Resources};
use serde::Deserialize;
use serde_json::Value;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use support::{folders, proxies, read, root};

/// A finding, and why it is right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// `CODE line RESOURCE PATH: VALUE: REASON`
    finding: String,
    proof: Proof,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Proof {
    /// Without the field that is named every proxy is as it was.
    NoEffect,
    /// Without the field that is named every request goes where it went: those that the texts of the file come together
    /// to.
    NoEffectOnRequests,
    /// Without what stands there, every proxy is as it was: a field elsewhere.
    NoEffectOf { kind: String, namespace: String, name: String, path: String },
    /// Without this text in `istio.yaml` every proxy is as it was.
    NoEffectOfText(String),
    /// No proxy is made.
    Refused,
    /// What becomes of a request has this in it.
    Answer { from: String, url: String, says: String },
    /// A proxy's snapshot has this text in it, and when `not` is given that one not.
    Snapshot {
        of: String,
        has: String,
        #[serde(default)]
        not: Option<String>,
    },
}

fn text(finding: &Finding) -> String {
    let line = finding.fault.place.as_ref().map_or(0, |place| place.line);
    let bare = istio_api::Fault { place: None, ..finding.fault.clone() };
    format!("{} {line} {bare}", finding.message.code)
}

/// The documents without what stands at a path of one resource; without the resource when that is `$`.
fn without(documents: &[Value], kind: &str, namespace: &str, name: &str, path: &str) -> Result<String, String> {
    let is_it = |document: &Value| {
        let of = |field: &str| document["metadata"].get(field).and_then(Value::as_str).unwrap_or("default");
        document["kind"] == kind && of("name") == name && (namespace.is_empty() || of("namespace") == namespace)
    };
    let mut left = documents.to_vec();
    if path == "$" {
        left.retain(|document| !is_it(document));
    }
    let mut found = path == "$";
    for document in left.iter_mut().filter(|document| is_it(document)) {
        found |= remove(document, path);
    }
    match found {
        true => Ok(left.iter().map(|document| format!("{document}\n---\n")).collect()),
        false => Err(format!("{kind} {namespace}/{name} has no {path}")),
    }
}

/// Removes what a path leads to; whether it was there.
fn remove(document: &mut Value, path: &str) -> bool {
    let pointer = path.replace(['.', '['], "/").replace(']', "");
    let (above, last) = pointer.rsplit_once('/').unwrap_or(("", &pointer));
    let above = if above.is_empty() { String::new() } else { format!("/{above}") };
    match document.pointer_mut(&above) {
        Some(Value::Object(fields)) => fields.remove(last).is_some(),
        Some(Value::Array(items)) => match last.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

fn request(authority: &str, target: &str, headers: Vec<(String, String)>) -> DescribedRequest {
    let (method, scheme) = ("GET".to_owned(), "http".to_owned());
    DescribedRequest {
        method,
        scheme,
        authority: authority.to_owned(),
        target: target.to_owned(),
        headers,
        ..DescribedRequest::default()
    }
}

fn explain(resources: &Resources, from: &str, url: &str) -> String {
    let mesh = Mesh::new(resources);
    let (namespace, name) = from.split_once('/').unwrap();
    let from = mesh.workload(namespace, name).unwrap();
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let request = request(authority, &format!("/{path}"), Vec::new());
    mesh.explain(&from, &request).unwrap_or_else(|error| panic!("{error}")).to_string()
}

/// Those of a folder, made once.
type Decisions = OnceCell<BTreeMap<String, String>>;

/// The route that each request takes, of every client: requests to each host, on each path that a rule has and beside
/// it, with and without the headers that a rule has.
fn decisions(resources: &Resources) -> BTreeMap<String, String> {
    let mesh = Mesh::new(resources);
    let mut asked = BTreeSet::from([("/".to_owned(), Vec::new())]);
    for clause in resources.virtual_services.iter().flat_map(|one| &one.spec.http).flat_map(|rule| &rule.matches) {
        let value = |wanted: &StringMatch| match wanted {
            StringMatch::Exact(text) | StringMatch::Prefix(text) => text.clone(),
            StringMatch::Regex(regex) => regex.replace(".*", "any"),
            StringMatch::Present => "any".to_owned(),
        };
        let path = clause.request.uri.as_ref().map_or_else(|| "/".to_owned(), value);
        let headers: Vec<_> =
            clause.request.headers.0.iter().map(|(name, wanted)| (name.clone(), value(wanted))).collect();
        for path in [path.clone(), format!("{path}x")] {
            asked.extend([(path.clone(), Vec::new()), (path, headers.clone())]);
        }
    }
    let mut decisions = BTreeMap::new();
    for client in mesh.workloads().iter().filter(|client| !mesh.is_gateway(client)) {
        let routed = |host: &str| {
            resources.virtual_services.iter().any(|one| one.spec.hosts.iter().any(|of| host.starts_with(of.as_str())))
        };
        for service in mesh.services().iter().filter(|service| routed(&service.hostname)) {
            let authority = format!("{}:{}", service.hostname, service.ports[0].number);
            for (path, headers) in &asked {
                let described = request(&authority, path, headers.clone());
                let explanation = mesh.explain(client, &described).unwrap_or_else(|error| panic!("{error}"));
                let chosen = explanation.steps.into_iter().find(|step| step.verdict == "matches");
                let key = format!("{} {authority} {path} {headers:?}", client.name);
                decisions.insert(key, chosen.map(|step| step.subject).unwrap_or_default());
            }
        }
    }
    decisions
}

impl Proof {
    fn check(&self, finding: &Finding, resources: &Resources, written: &str, all: &Decisions) -> Result<(), String> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(written).unwrap();
        let documents = documents.as_slice();
        let same = |kind: &str, namespace: &str, name: &str, path: &str| {
            let text = without(documents, kind, namespace, name, path)?;
            let left = read(text).map_err(|error| format!("without {path} it is not read: {error}"))?;
            if proxies(&left) == proxies(resources) {
                Ok(())
            } else {
                Err(format!("{kind} {namespace}/{name} {path} has an effect"))
            }
        };
        match self {
            Self::NoEffectOnRequests => {
                let resource = finding.fault.resource.as_ref().unwrap();
                let (namespace, name) = (&resource.namespace, &resource.name);
                let left = read(without(documents, &resource.kind, namespace, name, &finding.fault.path)?)?;
                // The requests are those of the whole: nothing is left out because a rule is.
                let (all, less) = (all.get_or_init(|| decisions(resources)), decisions(&left));
                match all.iter().find(|(key, chosen)| less.get(*key).is_some_and(|other| other != *chosen)) {
                    None => Ok(()),
                    Some((key, chosen)) => Err(format!("{key} takes {chosen}, and without it {:?}", less[key])),
                }
            }
            Self::NoEffect => {
                let resource = finding.fault.resource.as_ref().unwrap();
                same(&resource.kind, &resource.namespace, &resource.name, &finding.fault.path)
            }
            Self::NoEffectOf { kind, namespace, name, path } => same(kind, namespace, name, path),
            Self::NoEffectOfText(text) => {
                let left = read(written.replacen(text, "", 1))?;
                let same = written.contains(text) && proxies(&left) == proxies(resources);
                if same { Ok(()) } else { Err(format!("{text} is not there, or has an effect")) }
            }
            Self::Refused => {
                let (proxies, reason) = (proxies(resources), &finding.fault.reason);
                let refused = proxies.values().any(|text| text.starts_with("refused: ") && text.contains(reason));
                if refused { Ok(()) } else { Err("no proxy is refused for it".to_owned()) }
            }
            Self::Answer { from, url, says } => {
                let answer = explain(resources, from, url);
                if answer.contains(says) { Ok(()) } else { Err(format!("{from} {url}: no {says:?} in:\n{answer}")) }
            }
            Self::Snapshot { of, has, not } => {
                let proxies = proxies(resources);
                let text = proxies.get(of).ok_or_else(|| format!("no proxy {of}"))?;
                let has_not = not.as_ref().is_none_or(|not| !text.contains(not));
                if text.contains(has) && has_not { Ok(()) } else { Err(format!("not so in:\n{text}")) }
            }
        }
    }
}

fn check(folder: &Path, codes: &mut BTreeSet<String>) -> Result<(), String> {
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    let written = fs::read_to_string(folder.join("istio.yaml")).unwrap();
    let resources = read(written.clone()).map_err(|error| format!("{name}: {error}"))?;
    let analysis = Mesh::new(&resources).analyse();
    let found: Vec<&Finding> = analysis.refusals.iter().chain(&analysis.findings).collect();
    codes.extend(found.iter().map(|finding| finding.message.code.to_owned()));
    let file = folder.join("findings.yaml");
    let Ok(wanted) = fs::read_to_string(&file) else {
        let made: String =
            found.iter().map(|one| format!("- finding: {:?}\n  proof: no-effect\n", text(one))).collect();
        fs::write(&file, made).unwrap();
        return Err(format!("{name}: findings.yaml was missing and is written: look at it"));
    };
    let wanted: Vec<Expected> = serde_saphyr::from_str(&wanted).map_err(|error| format!("{name}: {error}"))?;
    let (mut wrong, all) = (String::new(), Decisions::new());
    for one in &wanted {
        match found.iter().find(|finding| text(finding) == one.finding) {
            None => writeln!(wrong, "{name}: not found: {}", one.finding).unwrap(),
            Some(finding) => {
                if let Err(reason) = one.proof.check(finding, &resources, &written, &all) {
                    writeln!(wrong, "{name}: {}\n  not proved: {reason}", one.finding).unwrap();
                }
            }
        }
    }
    for finding in found.iter().map(|finding| text(finding)) {
        if !wanted.iter().any(|one| one.finding == finding) {
            writeln!(wrong, "{name}: found besides: {finding:?}").unwrap();
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// What shows that a rule is never reached shows of all others that they are.
#[test]
fn the_requests_that_rules_are_tried_with_reach_every_other_rule() {
    let mut tried = 0;
    for folder in folders("tests/findings").iter().filter(|folder| folder.to_string_lossy().contains("IST013")) {
        let resources = read(fs::read_to_string(folder.join("istio.yaml")).unwrap()).unwrap();
        let taken: BTreeSet<String> = decisions(&resources).into_values().collect();
        let analysis = Mesh::new(&resources).analyse();
        for one in resources.virtual_services.iter().filter(|one| one.spec.gateways.is_empty()) {
            for (index, rule) in one.spec.http.iter().enumerate().filter(|(_, rule)| rule.delegate.is_none()) {
                let is_it = |finding: &&Finding| {
                    finding.message.code == "IST0130"
                        && finding.fault.resource.as_ref() == Some(&one.resource_name())
                        && finding.fault.path == format!("spec.http[{index}]")
                };
                let is_never = analysis.findings.iter().any(|finding| is_it(&finding));
                let name = rule.name.as_deref().unwrap();
                let is_taken = taken
                    .iter()
                    .any(|taken| taken.ends_with(&format!("/{name}")) || taken.ends_with(&format!("-{name}")));
                assert_ne!(is_never, is_taken, "{} {name}: {taken:?}", folder.display());
                tried += 1;
            }
        }
    }
    assert!(tried > 10, "{tried}");
}

#[test]
fn every_finding_is_proved() {
    let mut codes = BTreeSet::new();
    let wrong: Vec<String> =
        folders("tests/findings").iter().filter_map(|folder| check(folder, &mut codes).err()).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // What reading alone finds is tried where it is read.
    codes.extend([&Message::SCHEMA_VALIDATION_ERROR, &Message::SCHEMA_WARNING].map(|message| message.code.to_owned()));
    let missing: Vec<&str> = Message::ALL.iter().map(|one| one.code).filter(|code| !codes.contains(*code)).collect();
    assert_eq!(missing, [""; 0], "no folder has these");
}

/// What the golden pairs have on purpose.
const LISTED: [(&str, &[&str]); 10] = [
    ("delegate", &["IST0101 spec.http[1].delegate", "IST0101 spec.http[2].route[0].destination.host"]),
    ("gateway", &["IST0127 spec.selector", "IST0132 spec.hosts[0]"]),
    ("gateway-refused", &["OUT0001 spec.servers[1]", "OUT0001 spec.servers[2]"]),
    ("inbound-policies", &["IST0127 spec.selector"]),
    ("mutual-tls", &["IST0118 spec.ports[4].name", "IST0173 spec.subsets[0].labels"]),
    ("request-authentication", &["IST0127 spec.selector", "OUT0002 spec.targetRefs"]),
    ("routes", &["IST0130 spec.http[3]"]),
    ("static-conditions", &["IST0131 spec.http[0].match[0]"]),
    ("wasm-plugins", &["IST0127 spec.selector"]),
    ("workload-group", &["IST0127 spec.selector"]),
];

#[test]
fn what_is_right_has_no_finding_that_is_not_listed() {
    let found = |files: &[PathBuf]| -> Vec<String> {
        let resources = istio_api::read(files, &Options::default()).unwrap();
        let analysis = Mesh::new(&resources).analyse();
        let all = analysis.refusals.iter().chain(&analysis.findings);
        all.map(|finding| format!("{} {}", finding.message.code, finding.fault.path)).collect()
    };
    assert_eq!(found(&[root().join("host/src/demo/mesh")]), [""; 0]);
    let mut wrong = Vec::new();
    for folder in folders("tests/golden") {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let listed = LISTED.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, listed)| *listed);
        let found = found(&[folder.join("istio.yaml")]);
        if found != listed {
            wrong.push(format!("{name}: found {found:?}, listed {listed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Without workloads in the files, proxies are made that selectors would take, and for each namespace with services
/// one.
#[test]
fn proxies_that_no_file_describes_are_made_all_the_same() {
    const FILES: &str = "\
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}, {name: tcp, port: 9081}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: nobody}}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: istio-system}
spec: {selector: {istio: gateway}, ports: [{name: https, port: 443}]}
---
apiVersion: v1
kind: Secret
metadata: {name: certificate, namespace: istio-system}
stringData: {tls.crt: a, tls.key: b}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec:
  selector: {istio: gateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [shop.example]
    tls: {mode: SIMPLE, credentialName: certificate}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: front, namespace: shop}
spec: {hosts: [shop.example], gateways: [front], http: [{route: [{destination: {host: nowhere}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {selector: {matchLabels: {app: reviews}}, action: CUSTOM, provider: {name: oracle}, rules: [{}]}
";
    let resources = read(FILES.to_owned()).unwrap();
    let analysis = Mesh::new(&resources).analyse();
    let paths = |findings: &[Finding]| -> Vec<String> {
        findings.iter().map(|one| format!("{} {}", one.message.code, one.fault.path)).collect()
    };
    // Where the Secret is, there the gateway is taken to be: nothing of it is refused.
    assert_eq!(paths(&analysis.refusals), ["OUT0001 spec", "IST0101 spec.provider.name"]);
    let found = ["IST0101 spec.http[0].route[0].destination.host"; 2];
    assert_eq!(paths(&analysis.findings), found);
}
