use super::*;
use crate::filter_chain::test_plugin::run;
use crate::upstream::SharedCluster;
use compiler::snapshot;
use http_match::HeaderList;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, spawn_local};

mod grpc;
mod guests;
mod http;

/// A worker's services over one cluster, `c`.
struct Caller {
    services: Rc<WorkerServices>,
    cluster: Arc<SharedCluster>,
}

impl Caller {
    fn new(address: SocketAddr, more: serde_json::Value) -> Self {
        let mut config = json!({ "name": "c", "endpoints": [{ "address": address }] });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config: snapshot::Cluster = serde_json::from_value(config).unwrap();
        let cluster = Arc::new(SharedCluster::new(config, None, &Registry::default(), Instant::now()).unwrap());
        let clusters: ClusterSet =
            [("c".to_owned(), Rc::new(Cluster::new(cluster.clone(), None, 0)))].into_iter().collect();
        let services = WorkerServices::new(Worker::new(1), Registry::default(), unbounded_channel().0, None);
        services.set_clusters(Rc::new(clusters));
        Self { services, cluster }
    }

    /// Everything that was in use has been given back.
    fn assert_idle(&self) {
        use crate::upstream::circuit_breakers::Resource;
        assert_eq!(self.cluster.breakers.current(Resource::Request), 0);
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Somebody listens, but answers nothing.
async fn silent() -> (TcpListener, SocketAddr) {
    listener().await
}

/// Reads an HTTP/1 request to its end.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut buffer = [0; 4096];
        let size = stream.read(&mut buffer).await.unwrap();
        text += str::from_utf8(&buffer[..size]).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(size > 0, "{text}");
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|n| n.parse().unwrap());
        let chunked = head.contains("transfer-encoding: chunked");
        if (!chunked && body.len() >= length.unwrap_or(0)) || (chunked && body.ends_with("\r\n\r\n")) {
            return text;
        }
    }
}

/// Serves one HTTP/1 connection with these responses; the requests.
fn answer(listener: TcpListener, responses: &'static [&'static str]) -> JoinHandle<Vec<String>> {
    spawn_local(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut requests = Vec::new();
        for response in responses {
            requests.push(read_request(&mut stream).await);
            stream.write_all(response.as_bytes()).await.unwrap();
        }
        requests
    })
}

fn list(headers: &[(&str, &str)]) -> HeaderList {
    headers.iter().copied().collect()
}

/// As text, one line for each, without what depends on time.
fn text(headers: &HeaderList) -> String {
    let line = |(name, value): (&[u8], &[u8])| format!("{}: {}\n", name.escape_ascii(), value.escape_ascii());
    headers.iter().filter(|(name, _)| *name != b"x-envoy-upstream-service-time").map(line).collect()
}

#[test]
fn clocks_and_chance() {
    run(true, async {
        let caller = Caller::new(([127, 0, 0, 1], 1).into(), json!({}));
        let services = &caller.services;
        let before = services.monotonic();
        assert!(before > 0 && services.monotonic() >= before);
        assert!(services.now() > SystemTime::UNIX_EPOCH);
        let (mut first, mut second) = ([0; 33], [0; 33]);
        services.random(&mut first);
        services.random(&mut second);
        assert_ne!(first, second);
        assert!(services.has_cluster("c") && !services.has_cluster("d"));
        services.set_clusters(Rc::default());
        assert!(!services.has_cluster("c"));
    });
}

#[test]
fn a_log_for_guests() {
    let lines: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let kept = lines.clone();
    let log: GuestLog = Arc::new(move |level, plugin: &str, line: &str| {
        kept.lock().unwrap().push(format!("{level:?} {plugin} {line}"));
    });
    let services = WorkerServices::new(Worker::new(1), Registry::default(), unbounded_channel().0, Some(log));
    assert_eq!(services.log_level(), LogLevel::Info);
    services.log(LogLevel::Warn, "p", "careful");
    assert_eq!(*lines.lock().unwrap(), ["Warn p careful"]);
}
