//! How long reading Istio's resources takes: a Service and a VirtualService for each of many services, in one file.
//! `cargo bench -p outrigger-benches --bench resources -- 10000`

use istio_api::{File, Options, read_files};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

/// How often each thing is done; the fastest counts.
const ROUNDS: usize = 5;

fn main() {
    let services = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(10_000);
    let file = Arc::new(File { name: "mesh.yaml".into(), text: mesh(services) });
    println!("{services} Services and VirtualServices, {} kB", file.text.len() / 1000);
    let (read, resources) = fastest(|| read_files(std::slice::from_ref(&file), &Options::default()));
    let resources = resources.unwrap_or_else(|faults| panic!("{faults}"));
    println!("read: {read} ms");
    let source = &resources.virtual_services[services - 1].source;
    let (place, _) = fastest(|| (0..1000).map(|_| source.place("spec.http[0].timeout").line).sum::<usize>());
    println!("a place: {place} us");
    let wrong = Arc::new(File { name: "wrong.yaml".into(), text: file.text.replace("weight: 90", "weigth: 90") });
    let (faulty, faults) = fastest(|| read_files(std::slice::from_ref(&wrong), &Options::default()));
    assert_eq!(faults.map(|_| ()).map_err(|faults| faults.faults.len()), Err(services));
    println!("read, with a fault in each VirtualService: {faulty} ms");
}

/// In milliseconds.
fn fastest<T>(mut run: impl FnMut() -> T) -> (u128, T) {
    let mut timed = || {
        let start = Instant::now();
        let done = run();
        (start.elapsed().as_millis(), done)
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

fn mesh(services: usize) -> String {
    let mut text = String::new();
    for i in 0..services {
        let namespace = i % 100;
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
  clusterIP: 10.0.{}.{}
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
        host: svc-{i}
        subset: v2
      weight: 90
    - destination:
        host: svc-{i}
        subset: v1
      weight: 10
    timeout: 5s
  - route:
    - destination:
        host: svc-{i}
---
",
            i / 256 % 256,
            i % 256,
        );
        written.expect("a text takes everything");
    }
    text
}
