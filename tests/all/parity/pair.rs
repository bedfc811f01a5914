//! Two proxies that run one snapshot, ours and Envoy, over the same upstreams.

use compiler::Workload;
use compiler::snapshot::{Cluster, Endpoint, Listener, Locality, NetworkFilter, Plugin, Snapshot};
use host::{Options, Proxy};
use libtest_mimic::Failed;
use outrigger_tests::case_file::{Answer, Request};
use outrigger_tests::certs::Identity;
use outrigger_tests::client::{Client, Tls, unanswered};
use outrigger_tests::engine::{Arrived, Observed};
use outrigger_tests::envoy::Process;
use outrigger_tests::live::{LiveProxy, Surroundings, wait_until};
use outrigger_tests::{certs, optimised, tools};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Both proxies, and what stands behind them.
pub(super) struct Pair {
    host: Side,
    envoy: Side,
    proxy: Proxy,
    process: Process,
    surroundings: Surroundings,
    /// Whether requests are copied, which nobody waits for.
    copies: bool,
    sent: usize,
}

/// How one of them is called.
struct Side {
    /// Address, and whether connections are secured.
    listeners: BTreeMap<String, (SocketAddr, bool)>,
    /// By listener and caller.
    clients: BTreeMap<(String, String), Client>,
    callers: Arc<Callers>,
}

/// The certificates of callers, the same towards both.
#[derive(Default)]
struct Callers(Mutex<BTreeMap<String, Identity>>);

impl Callers {
    fn identity(&self, caller: &str) -> Result<Identity, String> {
        let mut all = self.0.lock().map_err(|_| "another thread panicked")?;
        if let Some(known) = all.get(caller) {
            return Ok(known.clone());
        }
        let issued = certs::issue(&[format!("spiffe://{caller}")], None)?;
        all.insert(caller.to_owned(), issued.clone());
        Ok(issued)
    }
}

impl Pair {
    /// Starts both, each on addresses of its own.
    pub(super) fn start(snapshot: &Snapshot) -> Result<Self, Failed> {
        let mut clusters: BTreeSet<String> = snapshot.clusters.iter().map(|cluster| cluster.name.clone()).collect();
        clusters.insert(ELSEWHERE.to_owned());
        let surroundings = Surroundings::of_clusters(clusters)?;
        let ports = surroundings.upstream.ports();
        let (ours, theirs) = (placed(snapshot, ports), placed(snapshot, ports));
        let options = Options {
            module_cache: Some(tools::target_directory().join("modules-compiled")),
            lookup: Some(Arc::new(|name| Err(std::io::Error::other(format!("{name} is not known here"))))),
            ..Options::default()
        };
        let callers = Arc::<Callers>::default();
        let host = Side::of(&ours, &callers);
        let proxy = Proxy::start(ours, options).map_err(|faults| faults.to_string())?;
        let envoy = Side::of(&theirs, &callers);
        let mut made = envoy_configs::bootstrap(&theirs, &tools::target_directory().join("wasm"));
        made.modules.iter().try_for_each(|module| optimised::path(module).map(drop))?;
        made.value["typed_dns_resolver_config"] = nobody_answers();
        let process = Process::start(&made.value.to_string())?;
        Ok(Self {
            host,
            envoy,
            proxy,
            process,
            surroundings,
            copies: snapshot.modules.contains_key("mirroring"),
            sent: 0,
        })
    }

    /// The authority of a server that no configuration speaks of.
    pub(super) fn elsewhere(&self) -> String {
        format!("127.0.0.1:{}", self.surroundings.upstream.ports()[ELSEWHERE])
    }

    /// What the two do otherwise with a request; `caller`: whose certificate is shown where one is asked for.
    pub(super) fn differences(&mut self, listener: &str, caller: &str, request: &Request) -> Vec<String> {
        let (ours, theirs) = self.ask(listener, caller, request);
        differences(request, &ours, &theirs)
    }

    /// What each of the two does with a request.
    pub(super) fn ask(&mut self, listener: &str, caller: &str, request: &Request) -> (Observed, Observed) {
        self.sent += 1;
        self.surroundings.upstream.answer(BTreeMap::new(), answer(self.sent));
        let mark = format!("p{}", self.sent);
        let mut ours = self.surroundings.runtime.block_on(self.host.send(listener, caller, request, &mark));
        if self.copies {
            wait_until(Duration::from_secs(20), || self.proxy.active_requests() == 0);
        }
        ours.arrived = self.surroundings.upstream.take(&mark);
        let mut theirs = self.surroundings.runtime.block_on(self.envoy.send(listener, caller, request, &mark));
        if self.copies && !ours.arrived.is_empty() {
            wait_until(Duration::from_secs(20), || self.process.is_quiet());
        }
        theirs.arrived = self.surroundings.upstream.take(&mark);
        (ours, theirs)
    }
}

impl Side {
    fn of(snapshot: &Snapshot, callers: &Arc<Callers>) -> Self {
        let secured = |listener: &Listener| {
            let mut sockets = listener.filter_chains.iter().filter_map(|chain| chain.transport_socket.as_ref());
            sockets.any(|socket| socket.trusted_ca.is_some())
        };
        let listeners = snapshot.listeners.iter();
        let listeners = listeners.map(|listener| (listener.name.clone(), (listener.address, secured(listener))));
        Self { listeners: listeners.collect(), clients: BTreeMap::new(), callers: callers.clone() }
    }

    async fn send(&mut self, listener: &str, caller: &str, request: &Request, mark: &str) -> Observed {
        let of = (listener.to_owned(), caller.to_owned());
        let client = match self.clients.remove(&of).filter(Client::is_open) {
            Some(client) => Ok(client),
            None => self.connect(listener, caller).await,
        };
        match client {
            Ok(mut client) => {
                let observed = client.send(request, mark).await.unwrap_or_else(unanswered);
                // One that is about to be closed must not get the next request.
                let closes = |(name, value): &(String, Vec<u8>)| name == "connection" && value == b"close";
                if observed.status != 0 && !observed.headers.iter().any(closes) {
                    self.clients.insert(of, client);
                }
                observed
            }
            Err(error) => unanswered(error),
        }
    }

    async fn connect(&self, listener: &str, caller: &str) -> Result<Client, String> {
        let (address, secured) = self.listeners.get(listener).ok_or(format!("there is no listener {listener}"))?;
        if !secured {
            return Client::connect_to(*address, None).await;
        }
        let identity = Some(self.callers.identity(caller)?);
        let tls = Tls { identity, sni: None, alpn: vec!["istio-http/1.1".to_owned(), "istio".to_owned()] };
        Client::connect_to(*address, Some(&tls)).await
    }
}

/// A server that no configuration speaks of.
const ELSEWHERE: &str = "elsewhere";

/// Names that nobody has told Envoy of are unknown at once.
fn nobody_answers() -> Value {
    json!({"name": "envoy.network.dns_resolver.cares", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        "resolvers": [{"socket_address": {"address": "127.0.0.1", "port_value": 1}}],
        "query_timeout_seconds": 1,
        "query_tries": 1,
    }})
}

/// A folder with the certificate of a workload, as a proxy has it.
pub(super) fn certificates(workload: &Workload) -> Result<PathBuf, String> {
    // Examples run side by side, and have workloads of one name.
    static FOLDERS: AtomicUsize = AtomicUsize::new(0);
    let name = format!("parity-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed));
    let folder = tools::target_directory().join("envoy").join(name);
    let identity = format!("spiffe://cluster.local/ns/{}/sa/{}", workload.namespace, workload.service_account);
    // The client asks for no name of a server that is none.
    let issued = certs::issue(&[identity], Some("proxy.test"))?;
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text);
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| write("cert-chain.pem", &issued.certificate))
        .and_then(|()| write("key.pem", &issued.key));
    let authority = certs::authority()?;
    written.and_then(|()| write("root-cert.pem", &authority)).map_err(|error| error.to_string())?;
    Ok(folder)
}

/// What upstreams answer: mostly well, now and then not.
fn answer(number: usize) -> Answer {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let status = match number % 11 {
        3 => 503,
        7 => 404,
        _ => 200,
    };
    let headers = vec![header("x-version", "1"), header("access-control-allow-origin", "upstream")];
    Answer { status, headers, body: format!("answer {number}"), ..Answer::default() }
}

/// The snapshot at addresses of its own, over upstreams that are there, deciding by `x-request-id` what is left to chance.
fn placed(snapshot: &Snapshot, ports: &BTreeMap<String, u16>) -> Snapshot {
    static PLACES: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 64 | (high & 0x3f), low, PLACES.fetch_add(1, Ordering::Relaxed));
    let mut snapshot = snapshot.clone();
    snapshot.admin = Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0));
    snapshot.workers = Some(1);
    for listener in &mut snapshot.listeners {
        // Nothing is redirected here: who connects to a port has been asked for that port.
        let asked = listener.filter_chains.iter().find_map(|chain| chain.filter_chain_match.destination_port);
        listener.address = SocketAddr::new(ip.into(), asked.unwrap_or(listener.address.port()));
    }
    for cluster in &mut snapshot.clusters {
        place(cluster, ports);
    }
    let chains = snapshot.listeners.iter_mut().flat_map(|listener| &mut listener.filter_chains);
    for chain in chains {
        if let NetworkFilter::HttpConnectionManager(manager) = &mut chain.network_filter {
            manager.plugins.iter_mut().for_each(decide_by_request_id);
        }
    }
    snapshot
}

fn place(cluster: &mut Cluster, ports: &BTreeMap<String, u16>) {
    let is_empty = cluster.endpoints.is_empty() && cluster.dns.is_none();
    (cluster.dns, cluster.transport_socket, cluster.outlier_detection) = (None, None, None);
    let port = ports.get(&cluster.name).copied().filter(|_| !is_empty && !cluster.dynamic_forward);
    let locality = Locality::default();
    let endpoint = |port| Endpoint {
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
        weight: 1,
        priority: 0,
        locality: locality.clone(),
        plaintext: false,
    };
    cluster.endpoints = port.into_iter().map(endpoint).collect();
}

fn decide_by_request_id(plugin: &mut Plugin) {
    match plugin.module.as_str() {
        "fault-injection" => {
            plugin.configuration["seed"] = json!(7);
            replace(&mut plugin.configuration, &["fixedDelay"], &json!("0.001s"));
        }
        "weighted-shifting" => {
            let routes = plugin.configuration.get_mut("routes").and_then(Value::as_object_mut);
            for route in routes.into_iter().flat_map(|routes| routes.values_mut()) {
                route["sticky"] = json!({"header": "x-request-id"});
            }
        }
        // Copies have no other draw than chance.
        "mirroring" => {
            let all = json!({"value": 100});
            replace(&mut plugin.configuration, &["percentage", "mirrorPercentage"], &all);
        }
        _ => {}
    }
}

/// Puts a value into every field of these names, however deep.
fn replace(configuration: &mut Value, names: &[&str], with: &Value) {
    match configuration {
        Value::Object(fields) => {
            for (name, value) in fields {
                match names.contains(&name.as_str()) {
                    true => *value = with.clone(),
                    false => replace(value, names, with),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|value| replace(value, names, with)),
        _ => {}
    }
}

/// Headers that differ from one time to the next: whether a connection is closed depends on how much of the request was
/// there when it was answered. And ours names itself in what it answers itself, where Envoy names itself in everything
/// or nothing.
const NOT_COMPARED: [&str; 4] = ["date", "x-envoy-upstream-service-time", "connection", "server"];

/// What a response to HEAD says of a body that it has not: ours tells the length even if it is none.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "grpc-message"];

pub(super) fn differences(request: &Request, ours: &Observed, theirs: &Observed) -> Vec<String> {
    let mut found = Vec::new();
    // Our filters get an authority in one spelling, and quote that.
    let is_shouted = request.authority.bytes().any(|byte| byte.is_ascii_uppercase());
    let mut compare = |what: &str, ours: String, theirs: String| {
        let same = if is_shouted { ours.eq_ignore_ascii_case(&theirs) } else { ours == theirs };
        if !same {
            found.push(format!("{what}: ours {ours}, Envoy's {theirs}"));
        }
    };
    compare("status", ours.status.to_string(), theirs.status.to_string());
    // Who is not let in has no answer, and each client's words for it differ.
    if ours.status != 0 || theirs.status != 0 {
        compare("body", text(&ours.body), text(&theirs.body));
    }
    let framed = |all: &[(String, Vec<u8>)]| {
        let kept = all.iter().filter(|(name, _)| request.method != "HEAD" || !FRAMING.contains(&name.as_str()));
        headers(&kept.cloned().collect::<Vec<_>>())
    };
    compare("response headers", framed(&ours.headers), framed(&theirs.headers));
    compare("upstreams", places(&ours.arrived), places(&theirs.arrived));
    if ours.arrived.len() == theirs.arrived.len() {
        for (ours, theirs) in sorted(&ours.arrived).into_iter().zip(sorted(&theirs.arrived)) {
            compare("request", line(ours), line(theirs));
            compare("request headers", sent(ours), sent(theirs));
            compare("request body", text(&ours.body), text(&theirs.body));
        }
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn headers(all: &[(String, Vec<u8>)]) -> String {
    let compared = all.iter().filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str()));
    let mut lines: Vec<String> = compared.map(|(name, value)| format!("{name}: {}", comparable(name, value))).collect();
    lines.sort();
    lines.join(" | ")
}

/// Headers of a request; that it has no body is said in one way or none.
fn sent(arrived: &Arrived) -> String {
    let says_nothing = |name: &str, value: &[u8]| arrived.body.is_empty() && name == "content-length" && value == b"0";
    let kept = arrived.headers.iter().filter(|(name, value)| !says_nothing(name, value));
    headers(&kept.cloned().collect::<Vec<_>>())
}

/// Where a client is on the loopback network, Envoy names an address of the machine instead, in what it adds as the last.
fn comparable(name: &str, value: &[u8]) -> String {
    let value = text(value);
    match value.rsplit_once(',').unwrap_or(("", &value)) {
        (_, last) if name == "x-forwarded-for" && is_own(last) => value.replace(last, "client"),
        _ => value,
    }
}

/// Whether an address is one of this machine.
fn is_own(address: &str) -> bool {
    address.parse().is_ok_and(|address: IpAddr| UdpSocket::bind((address, 0)).is_ok())
}

fn sorted(arrived: &[Arrived]) -> Vec<&Arrived> {
    let mut sorted: Vec<&Arrived> = arrived.iter().collect();
    sorted.sort_by_key(|arrived| (&arrived.cluster, &arrived.path, sent(arrived).to_ascii_lowercase()));
    sorted
}

fn places(arrived: &[Arrived]) -> String {
    sorted(arrived).iter().map(|arrived| arrived.cluster.as_str()).collect::<Vec<_>>().join(" ")
}

fn line(arrived: &Arrived) -> String {
    format!("{} {} {}", arrived.method, arrived.authority, arrived.path)
}
