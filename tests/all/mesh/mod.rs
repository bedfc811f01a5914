//! A mesh in process: Istio's resources, a CA, a proxy for every workload on an address of its own, and what clients of
//! every kind see of it.

mod authorities;
mod gateways;
mod identity;
mod interoperation;
mod policies;
mod tokens;

use compiler::snapshot::Snapshot;
use compiler::{CompileError, Mesh, Settings, Workload};
use host::ca::{Authority, DEFAULT_LIFETIME, SpiffeId};
use host::telemetry::{StatsQuery, prometheus_text};
use host::{Options, Proxy};
use libtest_mimic::Trial;
use outrigger_tests::caller::Caller;
use outrigger_tests::envoy::Envoy;
use outrigger_tests::live::wait_until;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::{Message, Socket};
use outrigger_tests::tools;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// The tests.
pub(crate) fn trials() -> Vec<Trial> {
    let all = [
        identity::trials(),
        authorities::trials(),
        policies::trials(),
        tokens::trials(),
        gateways::trials(),
        interoperation::trials(),
    ];
    all.into_iter().flatten().collect()
}

/// Where a sidecar takes its application's requests.
const OUTBOUND: u16 = 15001;
/// The port of services, and where sidecars take requests for their applications.
const SERVICE: u16 = 9080;

/// Proxies of one mesh, each with a certificate of its CA.
struct Sidecars {
    /// By the name of the workload.
    proxies: BTreeMap<String, Proxy>,
    root: Authority,
    authority: Authority,
    folder: PathBuf,
    network: Network,
    /// How many rejected connections have been asked for.
    seen: BTreeMap<(&'static str, &'static str), u32>,
}

/// Addresses of a test alone: `127.x.y.1` and on.
#[derive(Clone, Copy)]
struct Network(u8);

impl Network {
    fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn address(self, host: u8) -> Ipv4Addr {
        // Another process that runs the same tests has others.
        let [_, _, high, _] = std::process::id().to_be_bytes();
        Ipv4Addr::new(127, 64 | (high & 63), self.0, host)
    }

    fn socket(self, host: u8, port: u16) -> Result<Socket, String> {
        let address = SocketAddr::from((self.address(host), port));
        Socket::over(TcpStream::connect(address).map_err(|error| format!("{address}: {error}"))?)
    }
}

/// What is to be known of a workload before there is a mesh.
struct Described {
    name: &'static str,
    /// The last part of its address.
    host: u8,
    /// Where its application listens.
    app: u16,
}

/// A service, the workload behind it with a service account of its own, and a sidecar that listens on its address.
/// `protocol`: of the service's port.
fn workload(network: Network, described: &Described, protocol: &str) -> String {
    let Described { name, host, app } = described;
    let address = network.address(*host);
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{app: {name}}}, ports: [{{name: {protocol}, port: {SERVICE}}}]}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}
spec: {{address: {address}, serviceAccount: {name}}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: {name}}}}}
  ingress:
  - port: {{number: {SERVICE}, name: {protocol}, protocol: {protocol}}}
    captureMode: NONE
    bind: {address}
    defaultEndpoint: 127.0.0.1:{app}
  egress: [{{hosts: ['*/*']}}]
"
    )
}

/// A workload that is a gateway, a Gateway with these servers, a line or more for each, and all that comes to reviews.
fn gateway(address: Ipv4Addr, servers: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: gateway, namespace: shop, labels: {{istio: gateway}}}}
spec: {{address: {address}, serviceAccount: gateway}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: door, namespace: shop}}
spec:
  selector: {{istio: gateway}}
  servers:
{servers}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: door, namespace: shop}}
spec: {{hosts: ['*'], gateways: [door], http: [{{route: [{{destination: {{host: reviews}}}}]}}]}}
"
    )
}

impl Sidecars {
    /// Starts a proxy for every workload of the resources.
    fn start(network: Network, istio: &str) -> Result<Self, String> {
        Self::start_with(network, istio, None).map(|(sidecars, _)| sidecars)
    }

    /// The same, but for one workload whose proxy is stock Envoy.
    fn start_with(network: Network, istio: &str, of_envoy: Option<&str>) -> Result<(Self, Option<Envoy>), String> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let folder = tools::target_directory().join("mesh").join(name);
        let now = SystemTime::now();
        let root = Authority::root("Example", now)?;
        let authority = root.intermediate("Example", "here", now)?;
        let mut sidecars = Self { proxies: BTreeMap::new(), root, authority, folder, network, seen: BTreeMap::new() };
        let mut envoy = None;
        for (workload, snapshot) in sidecars.compile(istio).map_err(|error| error.to_string())? {
            if of_envoy == Some(workload.as_str()) {
                envoy = Some(sidecars.envoy(snapshot)?);
                continue;
            }
            let options = Options {
                module_cache: Some(tools::target_directory().join("modules-compiled")),
                ..Options::default()
            };
            let proxy = Proxy::start(snapshot, options).map_err(|faults| format!("{workload}: {faults}"))?;
            sidecars.proxies.insert(workload, proxy);
        }
        Ok((sidecars, envoy))
    }

    /// Stock Envoy with what our proxy would run.
    fn envoy(&self, snapshot: Snapshot) -> Result<Envoy, String> {
        let folder = self.folder.join("modules");
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let admin = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let made = envoy_configs::bootstrap(&Snapshot { admin, ..snapshot }, &folder);
        for name in &made.modules {
            let module = modules::find(name).ok_or_else(|| format!("no module {name}"))?;
            fs::write(folder.join(format!("{name}.wasm")), module.bytes).map_err(|error| error.to_string())?;
        }
        Envoy::launch(BTreeSet::new(), |_| Ok(made.value))
    }

    /// Serves by other resources.
    fn reload(&self, istio: &str) -> Result<(), String> {
        for (workload, snapshot) in self.compile(istio).map_err(|error| error.to_string())? {
            let proxy = self.proxies.get(&workload).ok_or("a new workload")?;
            proxy.reload(snapshot).map_err(|faults| faults.to_string())?;
        }
        Ok(())
    }

    fn compile(&self, istio: &str) -> Result<Vec<(String, Snapshot)>, CompileError> {
        fs::create_dir_all(&self.folder).unwrap();
        let file = self.folder.join("mesh.yaml");
        fs::write(&file, istio).unwrap();
        let resources = istio_api::read(&[file], &istio_api::Options::default()).unwrap();
        let mesh = Mesh::new(&resources);
        let each = mesh.workloads().into_iter().map(|workload| {
            let settings = self.settings(&workload);
            let made = match mesh.is_gateway(&workload) {
                true => mesh.gateway(&workload, &settings),
                false => mesh.sidecar(&workload, &settings),
            };
            Ok((workload.name, made?.snapshot))
        });
        each.collect()
    }

    fn settings(&self, workload: &Workload) -> Settings {
        let address = workload.address.unwrap();
        let certificates = self.certificates(&workload.service_account);
        if !certificates.exists() {
            self.issue(&workload.service_account);
        }
        Settings {
            outbound: Some(SocketAddr::new(address, OUTBOUND)),
            inbound: Some(SocketAddr::new(address, 15006)),
            app: IpAddr::V4(Ipv4Addr::LOCALHOST),
            admin: Some(SocketAddr::new(address, 15000)),
            workers: Some(1),
            certificates: Some(certificates.into()),
            access_log: None,
        }
    }

    fn certificates(&self, account: &str) -> PathBuf {
        self.folder.join(account)
    }

    /// Writes a new certificate for a service account.
    fn issue(&self, account: &str) {
        self.issue_by(&self.authority, account);
    }

    /// By any CA.
    fn issue_by(&self, authority: &Authority, account: &str) {
        let identity = SpiffeId::new("cluster.local", "shop", account).unwrap();
        let issued = authority.issue(&identity, DEFAULT_LIFETIME, SystemTime::now()).unwrap();
        issued.write(&self.certificates(account)).unwrap();
    }

    /// A request of a workload's application to a service, through its sidecar; more headers end in CRLF.
    fn call(&self, from: u8, service: &str, more: &str) -> Result<Message, String> {
        let mut socket = self.network.socket(from, OUTBOUND)?;
        socket.send(format!("GET / HTTP/1.1\r\nhost: {service}:{SERVICE}\r\n{more}\r\n"))?;
        http1::read(&mut socket, Kind::Response("GET"))?.ok_or_else(|| "no answer".to_owned())
    }

    /// Has a workload read its certificates again.
    fn reread(&self, workload: &str) -> Result<(), String> {
        self.proxies[workload].reload_certificates().map_err(|faults| faults.to_string())
    }

    /// A client of a kind, at a workload's sidecar.
    fn caller(&self, host: u8) -> Caller {
        Caller::new(SocketAddr::from((self.network.address(host), SERVICE)))
    }

    /// Waits until a workload's sidecar has closed one more connection for a reason.
    fn rejected(&mut self, workload: &'static str, reason: &'static str) -> Result<(), String> {
        let wanted = self.seen.entry((workload, reason)).or_default();
        *wanted += 1;
        let registry = self.proxies[workload].registry();
        let word = format!("reason=\"{reason}\"");
        let mut text = String::new();
        let found = wait_until(Duration::from_secs(15), || {
            text = prometheus_text(&registry.collect(), &StatsQuery::default());
            let lines = text.lines().filter(|line| line.starts_with("outrigger_listener_connections_rejected"));
            let counts = lines.filter(|line| line.contains(&word)).filter_map(|line| line.rsplit(' ').next());
            counts.filter_map(|count| count.parse::<f64>().ok()).sum::<f64>() >= f64::from(*wanted)
        });
        let of_reasons = text.lines().filter(|line| line.contains("reason=")).collect::<Vec<_>>().join("\n");
        if found { Ok(()) } else { Err(format!("{wanted} {reason} at {workload} are not counted: {of_reasons}")) }
    }

    /// What the admin server of a workload says.
    fn admin(&self, host: u8, path: &str) -> Result<Message, String> {
        let mut socket = self.network.socket(host, 15000)?;
        socket.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))?;
        http1::read(&mut socket, Kind::Response("GET"))?.ok_or_else(|| "no answer".to_owned())
    }
}

impl Drop for Sidecars {
    fn drop(&mut self) {
        self.proxies.clear();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
