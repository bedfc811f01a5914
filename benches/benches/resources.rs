//! How long it takes from Istio's resources to what a proxy runs: a Service and a VirtualService for each of many services,
//! in one file, and with the word `endpoints` a DestinationRule and two WorkloadEntries for each; how long after one of
//! them has changed; how much memory. `cargo bench -p outrigger-benches --bench resources -- 10000 endpoints`

use compiler::{Mesh, Settings, Workload};
use istio_api::{DocumentCache, File, Options, read_files};
use rustix::time::{ClockId, clock_gettime};
use std::fmt::Write;
use std::fs;
use std::sync::Arc;

/// How often each thing is done; the fastest counts.
const ROUNDS: usize = 5;

fn main() {
    let services = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(10_000);
    let endpoints = std::env::args().any(|argument| argument == "endpoints");
    let file = Arc::new(File { name: "mesh.yaml".into(), text: mesh(services, endpoints) });
    println!("{services} services, {} kB", file.text.len() / 1000);
    let files = std::slice::from_ref(&file);
    let (read, resources) = fastest(|| read_files(files, &Options::default()));
    let resources = resources.unwrap_or_else(|faults| panic!("{faults}"));
    println!("read: {read} ms");
    let (joined, mesh) = fastest(|| Mesh::new(&resources));
    println!("joined: {joined} ms");
    let workload = Workload { namespace: "ns-0".to_owned(), name: "client".to_owned(), ..Workload::default() };
    let (compiled, snapshot) = fastest(|| mesh.sidecar(&workload, &Settings::default()).map(|made| made.snapshot));
    let snapshot = snapshot.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(snapshot.clusters.len(), if endpoints { 3 * services + 1 } else { services + 1 });
    println!("compiled for a sidecar: {compiled} ms");
    println!("most memory so far: {} MiB", most_memory() >> 10);
    drop((snapshot, mesh));
    let mut known = DocumentCache::default();
    known.read_files(files, &Options::default()).unwrap_or_else(|faults| panic!("{faults}"));
    let mut weights = (0..90).map(|weight| format!("weight: {weight}"));
    let (whole, _) = fastest(|| {
        let weight = weights.next().unwrap_or_default();
        let text = file.text.replacen("weight: 90", &weight, 1);
        let changed = Arc::new(File { name: "mesh.yaml".into(), text });
        let resources = known.read_files(&[changed], &Options::default()).unwrap_or_else(|faults| panic!("{faults}"));
        let made = Mesh::new(&resources).sidecar(&workload, &Settings::default());
        made.map(|made| made.snapshot.clusters.len()).unwrap_or_default()
    });
    println!("from a change to the new snapshot: {whole} ms; most memory so far: {} MiB", most_memory() >> 10);
    let source = &resources.virtual_services[services - 1].source;
    let (place, _) = fastest(|| (0..1000).map(|_| source.place("spec.http[0].timeout").line).sum::<usize>());
    println!("a place: {place} us");
    let wrong = Arc::new(File { name: "wrong.yaml".into(), text: file.text.replace("weight: 90", "weigth: 90") });
    let (faulty, faults) = fastest(|| read_files(std::slice::from_ref(&wrong), &Options::default()));
    assert_eq!(faults.map(|_| ()).map_err(|faults| faults.faults.len()), Err(services));
    println!("read, with a fault in each VirtualService: {faulty} ms");
}

/// In milliseconds of CPU: all of it is done by one thread, and others may be at work on the machine.
fn fastest<T>(mut run: impl FnMut() -> T) -> (i64, T) {
    let now = || clock_gettime(ClockId::ProcessCPUTime);
    let mut timed = || {
        let start = now();
        let done = run();
        let end = now();
        ((end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1_000_000, done)
    };
    let mut best = timed();
    for _ in 1..ROUNDS {
        let next = timed();
        if next.0 < best.0 {
            best = next;
        }
    }
    best
}

/// The most memory that the process has had, in KiB.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn mesh(services: usize, endpoints: bool) -> String {
    let mut text = String::new();
    for i in 0..services {
        let namespace = i % 100;
        let address = format!("{}.{}", i / 256 % 256, i % 256);
        let subset = |name: &str| if endpoints { format!("\n        subset: {name}") } else { String::new() };
        let (v1, v2) = (subset("v1"), subset("v2"));
        let written = write!(
            text,
            "\
apiVersion: v1
kind: Service
metadata:
  name: svc-{i}
  namespace: ns-{namespace}
  labels:
    app: svc-{i}
spec:
  clusterIP: 10.0.{address}
  ports:
  - name: http
    port: 80
    targetPort: 8080
  selector:
    app: svc-{i}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: svc-{i}
  namespace: ns-{namespace}
spec:
  hosts:
  - svc-{i}
  http:
  - match:
    - uri:
        prefix: /api/v1
      headers:
        end-user:
          exact: jason
    route:
    - destination:
        host: svc-{i}{v2}
      weight: 90
    - destination:
        host: svc-{i}{v1}
      weight: 10
    timeout: 5s
  - route:
    - destination:
        host: svc-{i}
---
"
        );
        written.expect("a text takes everything");
        if !endpoints {
            continue;
        }
        let written = write!(
            text,
            "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: svc-{i}
  namespace: ns-{namespace}
spec:
  host: svc-{i}
  subsets:
  - name: v1
    labels:
      version: v1
  - name: v2
    labels:
      version: v2
---
"
        );
        written.expect("a text takes everything");
        for version in [1, 2] {
            let written = write!(
                text,
                "\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: svc-{i}-v{version}
  namespace: ns-{namespace}
  labels:
    app: svc-{i}
    version: v{version}
spec:
  address: 10.{version}.{address}
---
"
            );
            written.expect("a text takes everything");
        }
    }
    text
}
