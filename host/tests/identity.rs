//! The binary as a process: certificates that it makes, reads, renews and takes away.

use host::ca::{Authority, DEFAULT_LIFETIME, WorkloadCertificate};
use outrigger_tests::caller::{Caller, Shown};
use outrigger_tests::live::wait_until;
use outrigger_tests::raw::Socket;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::workload_api::{Svid, Svids, WorkloadApi, der};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

const PATIENCE: Duration = Duration::from_secs(30);

/// New certificates are to be in use by then.
const IN_USE: Duration = Duration::from_secs(10);

const MESH: &str = "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews, namespace: shop, labels: {app: reviews}}
spec: {address: ADDRESS, serviceAccount: reviews}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";

const REVIEWS: &str = "spiffe://cluster.local/ns/shop/sa/reviews";

/// An address of this process alone.
fn own_address(last: u8) -> String {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    format!("127.{}.{low}.{last}", 128 | (high & 63))
}

/// A folder of a test alone.
fn folder(name: &str, address: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("mesh.yaml"), MESH.replace("ADDRESS", address)).unwrap();
    folder
}

fn outrigger(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

fn ca(folder: &Path, arguments: &[&str]) {
    let made = outrigger(folder, &[&["ca"], arguments].concat()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// A proxy, and what it says on standard error.
struct Running {
    child: Child,
    lines: Receiver<String>,
    admin: SocketAddr,
}

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = outrigger(folder, &[&["run", "-f", "mesh.yaml"], arguments].concat());
        command.arg("--module-cache").arg(outrigger_tests::tools::target_directory().join("modules-compiled"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let (line, lines) = channel();
        std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|said| line.send(said)));
        let mut running = Self { child, lines, admin: SocketAddr::from(([0; 4], 0)) };
        let line = running.says("admin: http://");
        running.admin = line.rsplit('/').next().unwrap().parse().unwrap();
        running
    }

    fn says(&self, text: &str) -> String {
        let mut all = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.contains(text) {
                return line;
            }
            all.push(line);
        }
        panic!("no {text:?} in {all:#?}")
    }

    fn admin(&self, path: &str) -> http1::Message {
        let mut socket = Socket::over(TcpStream::connect(self.admin).unwrap()).unwrap();
        socket.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).unwrap();
        http1::read(&mut socket, Kind::Response("GET")).unwrap().unwrap()
    }

    /// The certificate in use.
    fn certificate(&self) -> serde_json::Value {
        let text = self.admin("/certs").text();
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        all["certificates"][0]["cert_chain"][0].clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn certificates_of_a_folder_are_read_again() {
    let folder = folder("identity-folder", "127.0.0.1");
    ca(&folder, &["root", "--out", "root"]);
    ca(&folder, &["intermediate", "--ca", "root", "--cluster", "east", "--out", "east"]);
    let issue = || ca(&folder, &["workload", "--ca", "east", "--identity", REVIEWS, "--out", "reviews"]);
    issue();
    let any = "127.0.0.1:0";
    let running = Running::start(
        &folder,
        &["--workload", "shop/reviews", "--certs", "reviews", "--inbound", any, "--outbound", any, "--admin", any],
    );
    let first = running.certificate();
    assert_eq!(first["subject_alt_names"][0]["uri"], REVIEWS);
    issue();
    assert!(wait_until(IN_USE, || running.certificate()["serial_number"] != first["serial_number"]));
    let second = running.certificate();
    fs::write(folder.join("reviews/key.pem"), "no key").unwrap();
    running.says("what was used before goes on");
    let ready = running.admin("/ready");
    assert_eq!(ready.status(), 200);
    assert!(ready.text().contains("/reviews/key.pem): there is no PEM private key in it"), "{}", ready.text());
    assert_eq!(running.certificate(), second);
    issue();
    assert!(wait_until(IN_USE, || running.certificate()["serial_number"] != second["serial_number"]));
    assert!(wait_until(PATIENCE, || running.admin("/ready").text() == "LIVE\n"));
}

#[test]
fn broken_certificates_at_the_start() {
    let folder = folder("identity-broken", "127.0.0.1");
    ca(&folder, &["root", "--out", "root"]);
    ca(&folder, &["workload", "--ca", "root", "--identity", REVIEWS, "--out", "reviews"]);
    fs::write(folder.join("reviews/cert-chain.pem"), "no certificate").unwrap();
    let arguments = ["run", "-f", "mesh.yaml", "--validate", "--workload", "shop/reviews", "--certs", "reviews"];
    let refused = outrigger(&folder, &arguments).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(65), "{said}");
    assert!(said.contains("/reviews/cert-chain.pem): there is no PEM certificate in it"), "{said}");
    // Somebody else's is used, and said.
    let other = REVIEWS.replace("reviews", "ratings");
    ca(&folder, &["workload", "--ca", "root", "--identity", &other, "--out", "reviews"]);
    let valid = outrigger(&folder, &arguments).output().unwrap();
    let said = String::from_utf8(valid.stderr).unwrap();
    assert!(valid.status.success() && said.contains(&format!("is of {other}, not of {REVIEWS}")), "{said}");
    // Without any, what must be secured cannot be.
    let refused = outrigger(&folder, &arguments[..6]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("PeerAuthentication shop/default spec.mtls.mode: STRICT"), "{said}");
}

#[test]
fn a_mesh_on_one_machine_has_a_ca_of_its_own() {
    let folder = folder("identity-all", &own_address(9));
    let mut running = Running::start(&folder, &["--all"]);
    let certificate = running.certificate();
    assert_eq!(certificate["subject_alt_names"][0]["uri"], REVIEWS);
    let file = PathBuf::from(certificate["path"].as_str().unwrap());
    let made = file.ancestors().nth(3).unwrap().to_owned();
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
    kill_process(Pid::from_child(&running.child), Signal::TERM).unwrap();
    assert!(wait_until(PATIENCE, || running.child.try_wait().unwrap().is_some()));
    assert!(running.child.wait().unwrap().success());
    assert!(!made.exists(), "keys are left behind in {}", made.display());
}

#[test]
fn keys_of_a_process_that_was_killed_go_with_the_next() {
    let folder = folder("identity-killed", &own_address(12));
    let place = |running: &Running| {
        let file = PathBuf::from(running.certificate()["path"].as_str().unwrap());
        file.ancestors().nth(3).unwrap().to_owned()
    };
    let killed = Running::start(&folder, &["--all"]);
    let left = place(&killed);
    // It is killed here.
    drop(killed);
    assert!(left.exists());
    let next = Running::start(&folder, &["--all"]);
    assert!(!left.exists() && place(&next).exists());
}

/// An identity of the same process that is not the workload's.
const RATINGS: &str = "spiffe://cluster.local/ns/shop/sa/ratings";

fn issue(authority: &Authority, identity: &str) -> WorkloadCertificate {
    authority.issue(&identity.parse().unwrap(), DEFAULT_LIFETIME, SystemTime::now()).unwrap()
}

fn authority(organization: &str) -> Authority {
    Authority::root(organization, SystemTime::now()).unwrap()
}

/// Two identities, the workload's the second.
fn two(authority: &Authority) -> Svids {
    let svid = |identity: &str, hint: &str| Svid::of(identity, hint, &issue(authority, identity)).unwrap();
    Svids { svids: vec![svid(RATINGS, "external"), svid(REVIEWS, "internal")], ..Svids::default() }
}

#[test]
fn certificates_of_a_workload_api() {
    let address = own_address(10);
    let folder = folder("identity-spiffe", &address);
    let (own, other) = (authority("Example"), authority("Other"));
    let federated = || {
        let roots = der(&issue(&other, RATINGS).roots).unwrap();
        Svids { federated_bundles: [("spiffe://other.example".to_owned(), roots)].into(), ..two(&own) }
    };
    let socket = folder.join("agent.sock");
    let api = WorkloadApi::start(&socket, two(&own)).unwrap();
    let (any, inbound) = ("127.0.0.1:0", format!("{address}:9080"));
    let places = ["--inbound", &inbound, "--outbound", any, "--admin", any];
    let arguments = [&["--workload", "shop/reviews", "--spiffe-socket", "agent.sock"], &places[..]].concat();
    let running = Running::start(&folder, &arguments);
    let first = running.certificate();
    assert_eq!(first["subject_alt_names"][0]["uri"], REVIEWS);
    let caller = Caller::new(inbound.parse().unwrap());
    // No application listens: who is let in is told so.
    let is_let_in = |authority: &Authority, identity: &str| {
        let WorkloadCertificate { chain, key, .. } = issue(authority, identity);
        caller.get(Some(&Shown { chain, key })).is_ok_and(|answer| answer.starts_with("HTTP/1.1 503"))
    };
    let carts = "spiffe://other.example/ns/shop/sa/carts";
    assert!(is_let_in(&own, RATINGS) && !is_let_in(&other, carts));
    // Another certificate, and another trust domain with its own authority.
    api.say(federated());
    assert!(wait_until(IN_USE, || is_let_in(&other, carts)));
    let second = running.certificate();
    assert_ne!(second["serial_number"], first["serial_number"]);
    assert!(is_let_in(&own, RATINGS) && !is_let_in(&other, RATINGS) && !is_let_in(&own, carts));
    // It goes away, and everything goes on.
    drop(api);
    let ready = |text: &str| wait_until(PATIENCE, || running.admin("/ready").text().contains(text));
    assert!(ready("SPIFFE Workload API agent.sock: "), "{}", running.admin("/ready").text());
    assert_eq!(running.admin("/ready").status(), 200);
    running.says("the certificates that it sent go on");
    let stale = |expected: &str| {
        let stats = running.admin("/stats/prometheus").text();
        stats.lines().any(|line| line.starts_with("outrigger_certificates_stale") && line.ends_with(expected))
    };
    assert!(stale(" 1") && is_let_in(&own, RATINGS) && is_let_in(&other, carts));
    // It comes back.
    let _api = WorkloadApi::start(&socket, two(&own)).unwrap();
    assert!(wait_until(PATIENCE, || !is_let_in(&other, carts)));
    assert!(ready("LIVE\n") && wait_until(PATIENCE, || stale(" 0")));
    assert_ne!(running.certificate()["serial_number"], second["serial_number"]);
    assert!(is_let_in(&own, RATINGS));
}

#[test]
fn which_identity_of_a_workload_api() {
    let folder = folder("identity-spiffe-choice", &own_address(11));
    let own = authority("Example");
    let socket = folder.join("agent.sock");
    let api = WorkloadApi::start(&socket, two(&own)).unwrap();
    let validated = |command: &mut Command| {
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let validate = |arguments: &[&str]| {
        validated(&mut outrigger(&folder, &[&["run", "-f", "mesh.yaml", "--validate"], arguments].concat()))
    };
    let one = ["--workload", "shop/reviews", "--spiffe-socket", "agent.sock"];
    let another = format!("is of {RATINGS}, not of {REVIEWS}");
    let (code, said) = validate(&one);
    assert!(code == Some(0) && !said.contains("not of"), "{said}");
    let (code, said) = validate(&[&one[..], &["--spiffe-hint", "external"]].concat());
    assert!(code == Some(0) && said.contains(&another), "{said}");
    let (code, said) = validate(&[&one[..], &["--spiffe-hint", "nobody"]].concat());
    assert!(code == Some(65) && said.contains("no identity with the hint nobody"), "{said}");
    let (code, _) = validate(&["--all", "--spiffe-socket", "agent.sock"]);
    assert_eq!(code, Some(0));
    // Where the workload's own is not there, the first is used for one, and nothing for several.
    let mut svids = two(&own);
    svids.svids.truncate(1);
    api.say(svids);
    let (code, said) = validate(&one);
    assert!(code == Some(0) && said.contains(&another), "{said}");
    let (code, said) = validate(&["--all", "--spiffe-socket", "agent.sock"]);
    assert!(code == Some(65) && said.contains(&format!("it has no identity {REVIEWS} for this process")), "{said}");
    // As SPIFFE's libraries are told of it.
    let mut command = outrigger(&folder, &["run", "-f", "mesh.yaml", "--validate", "--workload", "shop/reviews"]);
    let (code, said) = validated(command.env("SPIFFE_ENDPOINT_SOCKET", format!("unix://{}", socket.display())));
    assert!(code == Some(0) && said.contains(&another), "{said}");
    let (code, said) = validate(&["--workload", "shop/reviews", "--spiffe-socket", "tcp://127.0.0.1:8081"]);
    assert!(code == Some(65) && said.contains("anybody could read the keys"), "{said}");
}
