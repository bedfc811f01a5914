//! The binary as a process: certificates that it makes, reads, renews and takes away.

use outrigger_tests::live::wait_until;
use outrigger_tests::raw::Socket;
use outrigger_tests::raw::http1::{self, Kind};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

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
    // Addresses of this process alone.
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let folder = folder("identity-all", &format!("127.{}.{low}.9", 128 | (high & 63)));
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
