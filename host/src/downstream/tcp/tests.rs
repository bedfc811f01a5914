use super::*;
use crate::filter_chain::FilterChain;
use crate::filter_chain::test_plugin::{GuestText, TestHost, connection_properties, run};
use crate::telemetry::{Registry, Reporter, TcpMetrics, TcpTelemetry};
use crate::upstream::circuit_breakers::Resource;
use crate::upstream::{ClusterSet, SharedCluster};
use crate::wasm::Plugin;
use compiler::snapshot;
use serde_json::json;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, spawn_local};

/// A proxy for one cluster, and what is shared of that.
struct Proxy {
    worker: Rc<Worker>,
    manager: Rc<TcpManager>,
    cluster: Arc<SharedCluster>,
}

/// What became of a connection: flags and details.
type Outcome = JoinHandle<(String, String)>;

impl Proxy {
    fn new(endpoints: &[SocketAddr], plugins: Vec<Rc<Plugin>>, more: serde_json::Value) -> Self {
        let endpoints: Vec<_> = endpoints.iter().map(|address| json!({ "address": address })).collect();
        let mut config = json!({ "name": "c", "endpoints": endpoints, "loadBalancing": "roundRobin" });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config: snapshot::Cluster = serde_json::from_value(config).unwrap();
        let cluster =
            Arc::new(SharedCluster::new(config, None, &Registry::default(), std::time::Instant::now()).unwrap());
        let clusters: ClusterSet =
            [("c".to_owned(), Rc::new(Cluster::new(cluster.clone(), None, 0)))].into_iter().collect();
        let config: snapshot::TcpProxy =
            serde_json::from_value(json!({ "cluster": "c", "idleTimeout": "2s" })).unwrap();
        let chain = Rc::new(FilterChain::new(plugins));
        let direction = snapshot::Direction::Outbound;
        let reporter = Reporter { direction, workload: Arc::default(), service: None };
        let metrics = TcpMetrics::new(Registry::default(), reporter);
        let telemetry = TcpTelemetry { metrics, access_log: None };
        let manager = TcpManager::new(Arc::new(config), direction, chain, Rc::new(clusters), telemetry);
        Self { worker: Worker::new(1), manager: Rc::new(manager), cluster }
    }

    /// Before any connection.
    fn manager(&mut self) -> &mut TcpManager {
        Rc::get_mut(&mut self.manager).unwrap()
    }

    fn serve(&self, transport: crate::http::Transport) -> Outcome {
        let accepted = Accepted { transport, properties: connection_properties() };
        let mut connection = Connection::new(self.worker.clone(), self.manager.clone(), accepted);
        spawn_local(async move {
            let ending = poll_fn(|cx| connection.poll(cx)).await;
            let told = (connection.flags.to_string(), connection.stream.state.borrow().details.to_string());
            connection.close(ending).await;
            told
        })
    }

    /// A client's connection to it.
    async fn connect(&self) -> (TcpStream, Outcome) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        (client, self.serve(Box::new(accepted)))
    }

    fn open_connections(&self) -> u32 {
        self.cluster.breakers.current(Resource::Connection)
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    listener().await.1
}

async fn read_all(stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.map(|_| all).map_err(|error| error.kind())
}

/// Makes sure that the two are connected: bytes have come through.
async fn greet(client: &mut TcpStream, server: &mut TcpStream) {
    server.write_all(b"!").await.unwrap();
    client.read_exact(&mut [0]).await.unwrap();
}

fn told(flags: &str, details: &str) -> (String, String) {
    (flags.to_owned(), details.to_owned())
}

#[test]
fn both_directions_end_by_themselves() {
    run(false, async {
        for plugins in [0, 2] {
            let host = TestHost::new();
            let plugins = (0..plugins).map(|number| host.plugin(&number.to_string(), &GuestText::logging())).collect();
            let (upstream, address) = listener().await;
            let proxy = Proxy::new(&[address], plugins, json!({}));
            let (mut client, outcome) = proxy.connect().await;
            let (mut server, _) = upstream.accept().await.unwrap();
            // The server speaks first.
            server.write_all(b"220 ready").await.unwrap();
            let mut banner = [0; 9];
            client.read_exact(&mut banner).await.unwrap();
            assert_eq!(&banner, b"220 ready");
            client.write_all(b"ping").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(read_all(&mut server).await.unwrap(), b"ping");
            assert_eq!(proxy.open_connections(), 1);
            server.write_all(b"pong").await.unwrap();
            drop(server);
            assert_eq!(read_all(&mut client).await.unwrap(), b"pong");
            assert_eq!(outcome.await.unwrap(), told("-", ""));
            assert_eq!(proxy.open_connections(), 0);
            assert_eq!(proxy.cluster.breakers.current(Resource::Request), 0);
        }
    });
}

#[test]
fn many_bytes_at_once_both_ways() {
    const SIZE: usize = 8 << 20;
    run(false, async {
        for plugins in [0, 1] {
            let host = TestHost::new();
            let plugins = (0..plugins).map(|_| host.plugin("p", &GuestText::logging())).collect();
            let (upstream, address) = listener().await;
            let proxy = Proxy::new(&[address], plugins, json!({}));
            let (client, outcome) = proxy.connect().await;
            let (server, _) = upstream.accept().await.unwrap();
            let bytes: Rc<Vec<u8>> = Rc::new((0..SIZE).map(|index| index.to_le_bytes()[index % 3]).collect());
            let exchange = |stream: TcpStream| {
                let bytes = bytes.clone();
                spawn_local(async move {
                    let (mut read, mut write) = stream.into_split();
                    let sent = bytes.clone();
                    spawn_local(async move {
                        write.write_all(&sent).await.unwrap();
                        write.shutdown().await.unwrap();
                    });
                    let mut all = Vec::new();
                    read.read_to_end(&mut all).await.unwrap();
                    assert!(all == *bytes);
                })
            };
            let (client, server) = (exchange(client), exchange(server));
            client.await.unwrap();
            server.await.unwrap();
            assert_eq!(outcome.await.unwrap(), told("-", ""));
        }
    });
}

#[test]
fn a_cut_is_seen_on_the_other_side() {
    run(false, async {
        for plugins in [0, 1] {
            let host = TestHost::new();
            let guest = GuestText::silent().on("upstream_connection_close", "").on("downstream_connection_close", "");
            let plugins = || (0..plugins).map(|_| host.plugin("p", &guest)).collect();
            let (upstream, address) = listener().await;
            let proxy = Proxy::new(&[address], plugins(), json!({}));
            let (mut client, outcome) = proxy.connect().await;
            let (mut server, _) = upstream.accept().await.unwrap();
            greet(&mut client, &mut server).await;
            server.set_zero_linger().unwrap();
            drop(server);
            assert_eq!(read_all(&mut client).await, Err(ErrorKind::ConnectionReset));
            assert_eq!(outcome.await.unwrap(), told("UR", "upstream_remote_disconnect"));

            let (mut client, outcome) = proxy.connect().await;
            let (mut server, _) = upstream.accept().await.unwrap();
            greet(&mut client, &mut server).await;
            client.set_zero_linger().unwrap();
            drop(client);
            assert_eq!(read_all(&mut server).await, Err(ErrorKind::ConnectionReset));
            assert_eq!(outcome.await.unwrap(), told("-", "downstream_remote_disconnect"));
            let expected: &[&str] = match proxy.manager.chain.plugins().len() {
                0 => &[],
                _ => &[
                    "p upstream_connection_close 2",
                    "p downstream_connection_close 1",
                    "p downstream_connection_close 2",
                ],
            };
            assert_eq!(host.take_lines(), expected);
        }
    });
}

#[test]
fn an_endpoint_that_refuses_resets_the_client() {
    run(false, async {
        let proxy = Proxy::new(
            &[nobody().await],
            Vec::new(),
            json!({ "outlierDetection": { "consecutive5xxErrors": 1, "maxEjectionPercent": 100 } }),
        );
        let (mut client, outcome) = proxy.connect().await;
        assert_eq!(read_all(&mut client).await, Err(ErrorKind::ConnectionReset));
        let details = "upstream_reset_before_response_started{remote_connection_failure}";
        assert_eq!(outcome.await.unwrap(), told("UF,URX", details));
        assert_eq!((proxy.cluster.stats.connect_failures.value(), proxy.open_connections()), (1, 0));
        assert!(proxy.cluster.endpoints[0].is_ejected(), "outlier detection is told");
        let (mut client, outcome) = proxy.connect().await;
        assert_eq!(read_all(&mut client).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(outcome.await.unwrap(), told("UH", "no_healthy_upstream"));
    });
}

#[test]
fn as_many_endpoints_are_tried_as_may_be() {
    run(false, async {
        let (upstream, address) = listener().await;
        let mut proxy = Proxy::new(&[nobody().await, nobody().await, address], Vec::new(), json!({}));
        proxy.manager().connect_attempts = 3;
        for _ in 0..3 {
            let (mut client, _outcome) = proxy.connect().await;
            let (mut server, _) = upstream.accept().await.unwrap();
            server.write_all(b"x").await.unwrap();
            drop(server);
            assert_eq!(read_all(&mut client).await.unwrap(), b"x");
        }
    });
}

#[test]
fn a_connection_too_many_is_reset() {
    run(false, async {
        let (upstream, address) = listener().await;
        let limits = json!({ "circuitBreakers": { "maxConnections": 1, "maxRequests": 0 } });
        let proxy = Proxy::new(&[address], Vec::new(), limits);
        let (first, outcome_of_first) = proxy.connect().await;
        let (server, _) = upstream.accept().await.unwrap();
        let (mut second, outcome) = proxy.connect().await;
        assert_eq!(read_all(&mut second).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(outcome.await.unwrap(), told("UO", "upstream_reset_before_response_started{overflow}"));
        assert_eq!(proxy.cluster.stats.connection_overflows.value(), 1);
        drop((first, server));
        outcome_of_first.await.unwrap();
        let (_third, _) = proxy.connect().await;
        upstream.accept().await.unwrap();
    });
}

#[test]
fn without_a_cluster_the_client_is_reset() {
    run(false, async {
        let mut proxy = Proxy::new(&[], Vec::new(), json!({}));
        let (mut client, outcome) = proxy.connect().await;
        assert_eq!(read_all(&mut client).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(outcome.await.unwrap(), told("UH", "no_healthy_upstream"));
        Arc::make_mut(&mut proxy.manager().config).cluster = "other".into();
        let (mut client, outcome) = proxy.connect().await;
        assert_eq!(read_all(&mut client).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(outcome.await.unwrap(), told("NC", "cluster_not_found"));
    });
}

#[test]
fn silence_ends_a_connection() {
    run(false, async {
        let (upstream, address) = listener().await;
        let proxy = Proxy::new(&[address], Vec::new(), json!({}));
        let (mut client, outcome) = proxy.connect().await;
        let (mut server, _) = upstream.accept().await.unwrap();
        let now = std::cell::Cell::new(tokio::time::Instant::now());
        let second = || {
            now.set(now.get() + Duration::from_secs(1));
            proxy.worker.sweep(now.get());
        };
        for text in ["a", "b"] {
            // Bytes begin the two seconds anew.
            second();
            second();
            client.write_all(text.as_bytes()).await.unwrap();
            server.read_exact(&mut [0]).await.unwrap();
        }
        for _ in 0..3 {
            assert!(!outcome.is_finished());
            second();
        }
        assert_eq!(read_all(&mut client).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(read_all(&mut server).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(outcome.await.unwrap(), told("SI", "stream_idle_timeout"));
    });
}

/// Stops in `on_new_connection`; continues when the client has sent five bytes, which it replaces.
fn gate() -> GuestText {
    GuestText::logging().on("new_connection", "(i32.const 1)").data(8192, b"HELLO").on(
        "downstream_data",
        "(if (i32.ge_u (local.get $a) (i32.const 5)) (then (drop
           (call $proxy_set_buffer_bytes (i32.const 2) (i32.const 0) (i32.const 100) (i32.const 8192) (i32.const 5)))))
         (i32.and (i32.lt_u (local.get $a) (i32.const 5)) (i32.eqz (local.get $b)))",
    )
}

#[test]
fn a_plugin_holds_the_connect_and_edits() {
    run(false, async {
        let host = TestHost::new();
        let (upstream, address) = listener().await;
        let proxy = Proxy::new(&[address], vec![host.plugin("p", &gate())], json!({}));
        let (mut client, outcome) = proxy.connect().await;
        client.write_all(b"abc").await.unwrap();
        while !host.take_lines().contains(&"p downstream_data 3 0".to_owned()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(proxy.cluster.stats.connections.value(), 0);
        client.write_all(b"de").await.unwrap();
        let (mut server, _) = upstream.accept().await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut server).await.unwrap(), b"HELLO");
        drop(server);
        assert_eq!(read_all(&mut client).await.unwrap(), b"");
        assert_eq!(outcome.await.unwrap(), told("-", ""));
    });
}

#[test]
fn a_connection_held_too_long_is_cut() {
    run(true, async {
        let host = TestHost::new();
        let patient = host.plugin("p", &GuestText::logging());
        let holding = host.plugin_with("q", &gate(), |settings| settings.limits.pause = Duration::from_secs(3));
        let proxy = Proxy::new(&[], vec![patient, holding], json!({}));
        let (mut client, transport) = tokio::io::duplex(100);
        let began = Instant::now();
        let outcome = proxy.serve(Box::new(transport));
        client.write_all(b"abc").await.unwrap();
        assert_eq!(outcome.await.unwrap(), told("SI", "filter_held_stream_too_long"));
        assert_eq!(began.elapsed().as_secs(), 3);
        let lines = host.take_lines();
        assert_eq!(lines[lines.len() - 4], "q downstream_connection_close 1");
    });
}

#[test]
fn a_client_that_a_plugin_sends_away_gets_what_has_passed() {
    run(false, async {
        let host = TestHost::new();
        let close = "(drop (call $proxy_close_stream (i32.const 2))) (i32.const 0)";
        let guest = GuestText::logging().on("downstream_data", close);
        let (upstream, address) = listener().await;
        let proxy = Proxy::new(&[address], vec![host.plugin("p", &guest)], json!({}));
        let (mut client, outcome) = proxy.connect().await;
        let (mut server, _) = upstream.accept().await.unwrap();
        server.write_all(b"hi").await.unwrap();
        client.read_exact(&mut [0; 2]).await.unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(read_all(&mut client).await.unwrap(), b"");
        assert_eq!(read_all(&mut server).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(outcome.await.unwrap(), told("-", "wasm_close_stream"));
    });
}

#[test]
fn a_trap_resets_both_sides() {
    run(false, async {
        let host = TestHost::new();
        let guest = GuestText::logging().on("upstream_data", "unreachable");
        let (upstream, address) = listener().await;
        let proxy = Proxy::new(&[address], vec![host.plugin("p", &guest)], json!({}));
        let (mut client, outcome) = proxy.connect().await;
        let (mut server, _) = upstream.accept().await.unwrap();
        server.write_all(b"hi").await.unwrap();
        assert_eq!(read_all(&mut client).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(read_all(&mut server).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(outcome.await.unwrap(), told("-", "wasm_fail_stream"));
    });
}

/// Through whole proxies: listeners, workers' threads, clusters of snapshots.
mod whole {
    use super::*;
    use crate::tls::test_certificates::{Authority, downstream, upstream};
    use compiler::snapshot::{DownstreamTls, UpstreamTls};
    use std::io::{Read, Write};
    use std::net::Shutdown;

    /// A proxy with one listener, `l`, that forwards bytes to an endpoint.
    fn proxy(endpoint: SocketAddr, server: Option<DownstreamTls>, client: Option<UpstreamTls>) -> crate::Proxy {
        let mut chain = json!({ "networkFilter": { "tcpProxy": { "cluster": "c" } } });
        let mut cluster = json!({ "name": "c", "endpoints": [{ "address": endpoint }] });
        if let Some(tls) = server {
            chain["transportSocket"] = serde_json::to_value(tls).unwrap();
        }
        if let Some(tls) = client {
            cluster["transportSocket"] = serde_json::to_value(tls).unwrap();
        }
        let snapshot = json!({
            "workers": 1,
            "listeners": [{ "name": "l", "address": "127.0.0.1:0", "filterChains": [chain] }],
            "clusters": [cluster],
        });
        let options = crate::Options::default();
        crate::Proxy::start(serde_json::from_value(snapshot).unwrap(), options).unwrap()
    }

    fn connect(proxy: &crate::Proxy) -> std::net::TcpStream {
        std::net::TcpStream::connect(proxy.address("l").unwrap()).unwrap()
    }

    #[test]
    fn a_listener_that_forwards_bytes() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = proxy(server.local_addr().unwrap(), None, None);
        let mut client = connect(&proxy);
        client.write_all(b"abc").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut server = server.accept().unwrap().0;
        assert_eq!(std::io::read_to_string(&server).unwrap(), "abc");
        server.write_all(b"def").unwrap();
        drop(server);
        assert_eq!(std::io::read_to_string(&client).unwrap(), "def");
        proxy.drain().unwrap();
    }

    /// Client, proxy, TLS, proxy, server: the ends and the cuts pass on, each as what it is.
    #[test]
    fn tls_between_two_proxies() {
        let authority = Authority::new("root");
        let server_tls = downstream(authority.issue(&["spiffe://td/ns/a/sa/b"]));
        let client_tls = upstream(&authority, "spiffe://td/ns/a/sa/b");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let far = proxy(listener.local_addr().unwrap(), Some(server_tls), None);
        let near = proxy(far.address("l").unwrap(), None, Some(client_tls));
        let connected = || {
            let (mut client, mut server) = (connect(&near), listener.accept().unwrap().0);
            server.write_all(b"220 ready").unwrap();
            client.read_exact(&mut [0; 9]).unwrap();
            (client, server)
        };

        let (mut client, mut server) = connected();
        client.write_all(b"abc").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(std::io::read_to_string(&server).unwrap(), "abc");
        server.write_all(b"def").unwrap();
        drop(server);
        assert_eq!(std::io::read_to_string(&client).unwrap(), "def");

        let (mut client, server) = connected();
        socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);

        let (client, mut server) = connected();
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(server.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        near.drain().unwrap();
        far.drain().unwrap();
    }

    #[test]
    fn an_endpoint_that_proves_nothing_resets_the_client() {
        let authority = Authority::new("root");
        let server_tls = downstream(authority.issue(&["spiffe://td/ns/a/sa/other"]));
        let client_tls = upstream(&authority, "spiffe://td/ns/a/sa/b");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let far = proxy(listener.local_addr().unwrap(), Some(server_tls), None);
        let near = proxy(far.address("l").unwrap(), None, Some(client_tls));
        let mut client = connect(&near);
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
