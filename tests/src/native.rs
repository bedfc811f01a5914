//! The native engine: plugins over `native-shim`, with chosen draws and a clock that only moves for held requests.

use crate::case_file::{Answer, Case, Located, Request, unhex};
use crate::engine::{Arrived, Observed, Outcome};
use filter_api::Configure;
use http_match::HeaderList;
use native_shim::{Message, NativeProxy, RecordedCall, RecordedLogs, Sent, Settings, Upstreams};
use std::collections::BTreeSet;
use std::time::Duration;

/// The clusters a case has unless it says otherwise.
pub const CLUSTERS: [&str; 5] = ["upstream", "v1", "v2", "v3", "mirror"];

/// How the filters of a module are configured.
pub fn configure(module: &str) -> Option<Configure> {
    Some(match module {
        "authz" => authz::configure,
        "cors" => cors::configure,
        "fault-injection" => fault_injection::configure,
        "header-rules" => header_rules::configure,
        "jwt-authn" => jwt_authn::configure,
        "mirroring" => mirroring::configure,
        "traffic" => traffic::configure,
        "weighted-shifting" => weighted_shifting::configure,
        _ => return None,
    })
}

/// Everything that is not as a case expects.
pub fn run(located: &Located) -> Vec<String> {
    RecordedLogs::install();
    RecordedLogs::take();
    let case = &located.case;
    let mut proxy = NativeProxy::new(settings(case));
    let mut refused: Vec<String> = Vec::new();
    for plugin in &located.plugins {
        let Some(configure) = configure(&plugin.module) else {
            return vec![format!("there is no module {}", plugin.module)];
        };
        if let Err(faults) = proxy.add_plugin(configure, plugin.configuration.to_string().as_bytes()) {
            refused.extend(faults.iter().map(|fault| fault.path.clone()));
            if case.faults.is_empty() {
                return vec![format!("the configuration is refused: {faults}")];
            }
        }
    }
    if !case.faults.is_empty() {
        let (expected, found): (BTreeSet<_>, BTreeSet<_>) = (case.faults.iter().collect(), refused.iter().collect());
        let wrong = format!("faults at {found:?}, not at {expected:?}");
        return if expected == found { Vec::new() } else { vec![wrong] };
    }
    let requests = case.requests.iter().enumerate();
    let wrong = requests.flat_map(|(i, request)| {
        let outcome = send(&mut proxy, case, request);
        let wrong = crate::check::outcome(&request.expect, &outcome);
        wrong.into_iter().map(move |fault| format!("requests[{i}]: {fault}"))
    });
    wrong.collect()
}

fn settings(case: &Case) -> Settings {
    let mut settings = Settings::default();
    settings.clusters.extend(CLUSTERS.iter().map(|&name| name.to_owned()));
    for (name, answer) in &case.clusters {
        match answer {
            Some(_) => settings.clusters.insert(name.clone()),
            None => settings.clusters.remove(name),
        };
    }
    let own = [
        ("source.address", b"127.0.0.1:40000".to_vec()),
        ("destination.address", b"127.0.0.1:8080".to_vec()),
        ("destination.port", 8080u64.to_le_bytes().to_vec()),
        ("request.protocol", b"HTTP/1.1".to_vec()),
        ("connection.mtls", vec![u8::from(case.peer.as_ref().is_some_and(|peer| !peer.uri_sans.is_empty()))]),
        ("connection.requested_server_name", sni(case).into_bytes()),
        ("connection.id", 1u64.to_le_bytes().to_vec()),
    ];
    settings.properties.extend(own.map(|(name, value)| (name.to_owned(), value)));
    if let Some(peer) = case.peer.as_ref().filter(|peer| !peer.uri_sans.is_empty()) {
        crate::certs::peer_properties(peer, &mut settings.properties);
    }
    if !case.metadata.is_empty() {
        settings.properties.insert("metadata".into(), crate::envoy_bootstrap::encoded_metadata(&case.metadata));
    }
    settings
}

fn sni(case: &Case) -> String {
    case.peer.as_ref().and_then(|peer| peer.sni.clone()).unwrap_or_default()
}

fn send(proxy: &mut NativeProxy, case: &Case, request: &Request) -> Outcome {
    proxy.with_random(|random| {
        random.clear_script();
        random.script(request.draws.iter().copied());
    });
    let before: Vec<i64> = request.expect.metrics.keys().map(|name| proxy.metric(name)).collect();
    let mut outcome = Outcome::default();
    for _ in 0..request.times {
        let exchange = proxy.exchange(message(case, request), &mut Behind { case });
        let mut observed = observed(exchange.response);
        observed.held = exchange.held;
        observed.arrived = exchange.sent.into_iter().map(arrived).collect();
        outcome.each.push(observed);
    }
    let changes = request.expect.metrics.keys().zip(before);
    outcome.metrics = changes.map(|(name, before)| (name.clone(), proxy.metric(name) - before)).collect();
    outcome.log = RecordedLogs::take().into_iter().map(|(_, line)| line).collect();
    outcome.lateness = Duration::from_millis(10);
    outcome
}

fn message(case: &Case, request: &Request) -> Message {
    let mut headers = HeaderList::new();
    headers.add(":authority", request.authority.as_bytes());
    headers.add(":path", request.path.as_bytes());
    headers.add(":method", request.method.as_bytes());
    headers.add(":scheme", if case.peer.is_some() { b"https" } else { b"http" });
    for (name, value) in request.all_headers() {
        headers.add(&name, &value);
    }
    let mut trailers = HeaderList::new();
    request.trailers.iter().for_each(|(name, value)| trailers.add(name, value.as_bytes()));
    let body = request.body.as_ref().map(|body| body.bytes()).unwrap_or_default();
    Message { headers, body, chunks: vec![16_384; 128], trailers }
}

/// The headers of a list that are no pseudo-headers.
fn fields(headers: &HeaderList) -> Vec<(String, Vec<u8>)> {
    let own = headers.iter().filter(|(name, _)| !name.starts_with(b":"));
    own.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec())).collect()
}

fn text(headers: &HeaderList, name: &str) -> String {
    String::from_utf8_lossy(headers.get(name).unwrap_or_default()).into_owned()
}

fn observed(response: Message) -> Observed {
    let status = text(&response.headers, ":status").parse().unwrap_or(0);
    Observed { status, headers: fields(&response.headers), body: response.body, ..Observed::default() }
}

fn arrived(sent: Sent) -> Arrived {
    let headers = &sent.message.headers;
    Arrived {
        cluster: sent.cluster,
        method: text(headers, ":method"),
        path: text(headers, ":path"),
        authority: text(headers, ":authority"),
        headers: fields(headers),
        body: sent.message.body,
        by_plugin: sent.by_plugin,
    }
}

/// What answers behind the proxy.
struct Behind<'c> {
    case: &'c Case,
}

impl Behind<'_> {
    fn answer(&self, cluster: &str) -> Answer {
        self.case.clusters.get(cluster).cloned().flatten().unwrap_or_else(|| self.case.upstream.clone())
    }
}

impl Upstreams for Behind<'_> {
    fn http(&mut self, sent: &Sent) -> Option<Message> {
        let answer = self.answer(&sent.cluster);
        let mut headers = HeaderList::new();
        headers.add(":status", answer.status.to_string().as_bytes());
        answer.headers.iter().for_each(|(name, value)| headers.add(name, value.as_bytes()));
        Some(Message { headers, body: answer.body.into_bytes(), ..Message::default() })
    }

    fn grpc(&mut self, call: &RecordedCall) -> Result<Vec<u8>, u32> {
        let answer = self.answer(&call.cluster);
        answer.grpc.map(|message| unhex(&message)).ok_or(answer.grpc_status.unwrap_or(14))
    }
}
