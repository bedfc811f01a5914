//! Every page over a real socket, from a double of the proxy.

use super::*;
use crate::telemetry::{LogStyle, LogWriter, process_log};
use crate::upstream::SharedCluster;
use serde_json::{Value as Json, json};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy that is what a test says, and notes what it is told to do.
struct Double {
    readiness: Mutex<Readiness>,
    refused: Mutex<Option<String>>,
    snapshot: Arc<Snapshot>,
    clusters: Arc<SharedClusters>,
    registry: Registry,
    log: OnceLock<LogControl>,
    told: Mutex<Vec<&'static str>>,
}

impl Double {
    fn new() -> Arc<Self> {
        let snapshot: Snapshot = serde_json::from_value(json!({
            "listeners": [{ "name": "web", "address": "127.0.0.1:8080", "filterChains": [{
                "networkFilter": { "httpConnectionManager": {
                    "destination": { "cluster": "shop" },
                    "plugins": [{ "name": "p", "module": "m", "configuration": { "clientSecret": "s3cret", "n": 1 },
                        "environment": [["API_KEY", "abc"]] }],
                } },
            }] }],
            "clusters": [{ "name": "shop", "endpoints": [
                { "address": "10.0.0.1:80", "weight": 3, "locality": { "region": "eu" } },
                { "address": "[::1]:81", "priority": 1 },
            ] }, { "name": "cart" }],
        }))
        .unwrap();
        let registry = Registry::for_threads(1);
        let made = snapshot.clusters.iter().map(|config| {
            let cluster = SharedCluster::new(config.clone(), None, &registry, Instant::now()).unwrap();
            (config.name.clone(), Arc::new(cluster))
        });
        Arc::new(Self {
            readiness: Mutex::new(Readiness::Live),
            refused: Mutex::default(),
            clusters: Arc::new(made.collect()),
            snapshot: Arc::new(snapshot),
            registry,
            log: OnceLock::new(),
            told: Mutex::default(),
        })
    }

    fn tell(&self, what: &'static str) {
        self.told.lock().unwrap().push(what);
    }
}

impl ProxyStatus for Double {
    fn readiness(&self) -> Readiness {
        self.readiness.lock().unwrap().clone()
    }

    fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap().clone()
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        Some(self.snapshot.clone())
    }

    fn clusters(&self) -> Arc<SharedClusters> {
        self.clusters.clone()
    }

    fn listeners(&self) -> Vec<(String, SocketAddr)> {
        vec![("web".into(), "127.0.0.1:8080".parse().unwrap()), ("six".into(), "[::1]:80".parse().unwrap())]
    }

    fn vms(&self) -> Vec<VmReport> {
        let running = VmReport {
            plugin: "authz".into(),
            worker: 1,
            running: true,
            memory: 1 << 20,
            callbacks: 7,
            callback_time: Duration::from_micros(90),
            ..VmReport::default()
        };
        let ended = VmReport {
            plugin: "authz".into(),
            ended: 2,
            last_end: Some("a callback computed for more than 100 ms\nforged::line".into()),
            ..VmReport::default()
        };
        vec![running, ended]
    }

    fn certificates(&self) -> Vec<CertificateReport> {
        Vec::new()
    }

    fn stale_certificates(&self) -> Option<String> {
        None
    }

    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn log(&self) -> Option<&LogControl> {
        self.log.get()
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(61_900)
    }

    fn workers(&self) -> usize {
        2
    }

    fn reopen_logs(&self) {
        self.tell("reopen");
    }

    fn drain_listeners(&self, inbound_only: bool) {
        self.tell(if inbound_only { "drain inbound" } else { "drain" });
    }

    fn quit(&self) {
        self.tell("quit");
    }
}

/// A server of the double.
struct Server(SocketAddr);

/// Status, headers, body.
type Said = (u16, String, String);

impl Server {
    async fn start(status: Arc<Double>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, status));
        Self(address)
    }

    /// Sends a request and reads until the server closes.
    async fn raw(&self, request: &str) -> Said {
        let mut stream = TcpStream::connect(self.0).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    async fn ask(&self, method: &str, target: &str) -> Said {
        self.raw(&format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.0)).await
    }

    async fn get(&self, target: &str) -> String {
        let (status, _, body) = self.ask("GET", target).await;
        assert_eq!(status, 200, "{target}: {body}");
        body
    }

    async fn json(&self, target: &str) -> Json {
        serde_json::from_str(&self.get(target).await).unwrap()
    }
}

#[tokio::test]
async fn readiness_in_every_state() {
    let double = Double::new();
    let server = Server::start(double.clone()).await;
    let ask = async || {
        let (status, _, body) = server.ask("GET", "/ready").await;
        (status, body)
    };
    assert_eq!(ask().await, (200, "LIVE\n".into()));
    *double.refused.lock().unwrap() = Some("listener web: bad".into());
    let (status, body) = ask().await;
    assert_eq!(status, 200, "a bad save takes nothing out of service");
    assert!(body.starts_with("LIVE\nthe last configuration was refused") && body.ends_with("listener web: bad\n"));
    *double.readiness.lock().unwrap() = Readiness::Draining;
    let (status, body) = ask().await;
    assert!(status == 503 && body.starts_with("DRAINING\n"), "{body}");
    *double.refused.lock().unwrap() = None;
    *double.readiness.lock().unwrap() = Readiness::Initializing("modules are being compiled".into());
    assert_eq!(ask().await, (503, "INITIALIZING\nmodules are being compiled\n".into()));
    assert_eq!(server.get("/live").await, "LIVE\n");
    assert_eq!(server.json("/server_info").await["state"], "INITIALIZING");
}

#[tokio::test]
async fn what_the_process_is() {
    let server = Server::start(Double::new()).await;
    let info = server.json("/server_info").await;
    assert_eq!((&info["state"], &info["uptime_current_epoch"]), (&json!("LIVE"), &json!("61s")));
    assert_eq!(
        (&info["command_line_options"]["concurrency"], &info["refused_configuration"]),
        (&json!(2), &Json::Null)
    );
    assert!(info["version"].as_str().unwrap().starts_with("outrigger/"));
    assert!(server.get("/version").await.starts_with("outrigger "));
    assert!(server.json("/memory").await["resident"].as_u64().unwrap() > 1 << 20);
    assert_eq!(server.json("/certs").await, json!({ "certificates": [] }));
}

#[tokio::test]
async fn metrics_in_every_form() {
    let double = Double::new();
    let counted =
        double.registry.counter("envoy_http_downstream_rq_total", &[("envoy_http_conn_manager_prefix", "web")]);
    counted.add(3);
    let server = Server::start(double).await;
    assert_eq!(server.get("/stats?usedonly").await, "http.web.downstream_rq_total: 3\n");
    let all = server.get("/stats").await;
    assert!(all.contains("cluster.shop.upstream_rq_total: 0\n") && all.contains("cluster.cart.upstream_cx_total: 0\n"));
    assert_eq!(server.get("/stats?filter=%5Ehttp%5C.web&format=text").await, "http.web.downstream_rq_total: 3\n");
    let json = server.json("/stats?usedonly&format=json").await;
    assert_eq!(json, json!({ "stats": [{ "name": "http.web.downstream_rq_total", "value": 3 }] }));
    let line = "envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix=\"web\"} 3";
    for target in ["/metrics", "/stats/prometheus", "/stats?format=prometheus", "/metrics?usedonly&filter=rq"] {
        let (_, head, body) = server.ask("GET", target).await;
        assert!(body.lines().any(|found| found == line), "{target}: {body}");
        assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    }
    for target in
        ["/stats?format=xml", "/stats?filter=(", "/metrics?filter=%5B", "/clusters?format=yaml", "/clusters?filter=*"]
    {
        assert_eq!(server.ask("GET", target).await.0, 400, "{target}");
    }
}

#[tokio::test]
async fn clusters_and_listeners() {
    let double = Double::new();
    let shop = double.clusters["shop"].clone();
    shop.endpoints[1].set_ejected(true);
    let _active = shop.endpoints[0].begin_request();
    let server = Server::start(double).await;
    let text = server.get("/clusters").await;
    for line in [
        "cart::added_via_api::false",
        "shop::default_priority::max_connections::4294967295",
        "shop::10.0.0.1:80::rq_active::1",
        "shop::10.0.0.1:80::health_flags::healthy",
        "shop::10.0.0.1:80::weight::3",
        "shop::10.0.0.1:80::region::eu",
        "shop::[::1]:81::health_flags::/failed_outlier_check",
        "shop::[::1]:81::priority::1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!server.get("/clusters?filter=^s").await.contains("cart"));
    let json = server.json("/clusters?format=json").await;
    let shop = &json["cluster_statuses"][1];
    assert_eq!((&shop["name"], &json["cluster_statuses"][0]["host_statuses"]), (&json!("shop"), &json!([])));
    assert_eq!(shop["host_statuses"][1]["health_status"], json!({ "failed_outlier_check": true }));
    let address = json!({ "socket_address": { "address": "::1", "port_value": 81 } });
    assert_eq!(shop["host_statuses"][1]["address"], address);
    assert_eq!(server.get("/listeners").await, "web::127.0.0.1:8080\nsix::[::1]:80\n");
    let json = server.json("/listeners?format=json").await;
    assert_eq!(json["listener_statuses"][0]["local_address"]["socket_address"]["port_value"], 8080);
}

#[tokio::test]
async fn the_configuration_without_its_secrets() {
    let server = Server::start(Double::new()).await;
    let dump = server.json("/config_dump").await;
    let manager = &dump["snapshot"]["listeners"][0]["filterChains"][0]["networkFilter"]["httpConnectionManager"];
    let plugin = &manager["plugins"][0];
    assert_eq!(plugin["configuration"], json!({ "clientSecret": "[redacted]", "n": 1 }));
    assert_eq!(plugin["environment"], json!([["API_KEY", "[redacted]"]]));
    assert_eq!(dump["snapshot"]["clusters"][0]["name"], "shop");
}

#[tokio::test]
async fn vms_by_plugin_and_worker() {
    let server = Server::start(Double::new()).await;
    let text = server.get("/wasm").await;
    let wanted = "authz::worker_0::running::false\nauthz::worker_0::memory_bytes::0\nauthz::worker_0::callbacks::0\n\
                  authz::worker_0::callback_microseconds::0\nauthz::worker_0::ended::2\n\
                  authz::worker_0::last_end::a callback computed for more than 100 ms forged::line\n\
                  authz::worker_1::running::true\nauthz::worker_1::memory_bytes::1048576\n";
    assert!(text.starts_with(wanted), "{text}");
    let json = server.json("/wasm?format=json").await;
    assert_eq!((&json["vms"][1]["callbacks"], &json["vms"][1]["callback_microseconds"]), (&json!(7), &json!(90)));
    assert_eq!((&json["vms"][0]["ended"], &json["vms"][1]["last_end"]), (&json!(2), &Json::Null));
}

#[tokio::test]
async fn levels_are_shown_and_changed() {
    let double = Double::new();
    let server = Server::start(double.clone()).await;
    assert_eq!(server.ask("POST", "/logging").await.0, 404, "there is no log yet");
    let writer = LogWriter::start(&double.registry).unwrap();
    let path = std::path::Path::new("/dev/null");
    let (subscriber, control) = process_log(writer, path, LogStyle::Text, "info".parse().unwrap());
    assert!(double.log.set(control).is_ok());
    let post = async |target| {
        let (status, _, body) = server.ask("POST", target).await;
        (status, body)
    };
    let shown = "active loggers:\n  admin: info\n  host: info\n  log: info\n  outrigger: info\n  wasm: info\n";
    assert_eq!(post("/logging").await, (200, shown.into()));
    let (_, body) = post("/logging?level=warning&wasm=debug&paths=host::router:trace,admin:off").await;
    for line in ["  host: warn", "  host::router: trace", "  wasm: debug", "  admin: off", "  log: warn"] {
        assert!(body.lines().any(|found| found == line), "{line} in {body}");
    }
    let (status, body) = post("/logging?level=loud&wasm=quiet&host=info&paths=x").await;
    assert_eq!((status, body.lines().count()), (400, 3), "{body}");
    assert!(post("/logging").await.1.contains("  host: warn"), "nothing of a faulty change stands");
    drop(subscriber);
    assert_eq!(post("/logging?level=info").await, (400, "there is no log\n".into()));
}

#[tokio::test]
async fn only_post_changes_anything() {
    let double = Double::new();
    let server = Server::start(double.clone()).await;
    let mutating = ["/quitquitquit", "/drain_listeners", "/reopen_logs", "/logging"];
    for target in mutating {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            let (status, head, _) = server.ask(method, target).await;
            assert!(status == 405 && head.contains("allow: post"), "{method} {target}: {head}");
        }
    }
    assert!(double.told.lock().unwrap().is_empty());
    for target in ["/drain_listeners", "/drain_listeners?inboundonly", "/reopen_logs", "/quitquitquit"] {
        assert_eq!(server.ask("POST", target).await.2, "OK\n", "{target}");
    }
    assert_eq!(*double.told.lock().unwrap(), ["drain", "drain inbound", "reopen", "quit"]);
    for route in routes::ROUTES.iter().filter(|route| !route.mutates) {
        let (status, head, _) = server.ask("POST", route.path).await;
        assert!(status == 405 && head.contains("allow: get"), "{}", route.path);
        let (status, _, body) = server.ask("HEAD", route.path).await;
        assert_eq!((status, body.as_str()), (200, ""), "{}", route.path);
    }
    assert_eq!(routes::ROUTES.iter().filter(|route| route.mutates).count(), mutating.len());
}

#[tokio::test]
async fn pages_from_elsewhere_are_not_served() {
    let double = Double::new();
    let server = Server::start(double.clone()).await;
    let from = async |method: &str, headers: &str| {
        let request = format!("{method} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        server.raw(&request).await.0
    };
    assert_eq!(from("GET /config_dump", "Host: rebound.evil.test\r\n").await, 403);
    assert_eq!(from("GET /nowhere", "Host: rebound.evil.test\r\n").await, 403);
    assert_eq!(from("GET /ready", "Host: localhost:15000\r\n").await, 200);
    assert_eq!(from("GET http://evil.test/ready", "Host: 127.0.0.1\r\n").await, 403);
    assert_eq!(from("POST /quitquitquit", "Host: 127.0.0.1\r\nOrigin: http://evil.test\r\n").await, 403);
    assert_eq!(from("POST /quitquitquit", "Host: 127.0.0.1\r\nOrigin: null\r\n").await, 403);
    assert!(double.told.lock().unwrap().is_empty());
    assert_eq!(from("POST /quitquitquit", "Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n").await, 200);
}

#[tokio::test]
async fn the_list_is_the_same_everywhere() {
    let server = Server::start(Double::new()).await;
    let help = server.get("/help").await;
    let (status, head, unknown) = server.ask("GET", "/nowhere").await;
    assert_eq!((status, unknown), (404, format!("invalid path. {help}")));
    assert!(head.contains("x-content-type-options: nosniff") && head.contains("cache-control: no-cache, max-age=0"));
    let home = server.get("/").await;
    let mut paths: Vec<_> = routes::ROUTES.iter().map(|route| route.path).collect();
    for path in &paths {
        assert!(help.contains(&format!("\n  {path}")) && home.contains(path), "{path}");
    }
    let listed = paths.clone();
    paths.sort();
    assert_eq!(listed, paths);
}

#[tokio::test]
async fn a_client_that_says_nothing_sensible_harms_nobody() {
    let server = Server::start(Double::new()).await;
    assert_eq!(server.raw("\x16\x03\x01 nonsense\r\n\r\n").await.0, 400);
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(40_000));
    assert!(matches!(server.raw(&long).await.0, 400..=499));
    let mut silent = TcpStream::connect(server.0).await.unwrap();
    silent.write_all(b"GET /re").await.unwrap();
    assert_eq!(server.get("/ready").await, "LIVE\n");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_silent_is_cut_off() {
    let server = Server::start(Double::new()).await;
    let mut silent = TcpStream::connect(server.0).await.unwrap();
    silent.write_all(b"GET /ready HTTP/1.1\r\n").await.unwrap();
    let mut text = Vec::new();
    silent.read_to_end(&mut text).await.unwrap();
    assert!(!text.starts_with(b"HTTP/1.1 200"));
}
