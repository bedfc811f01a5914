//! Connections to an endpoint on loopback that speaks TLS.

use super::*;
use crate::http::Incoming;
use crate::telemetry::Registry;
use crate::tls::test_certificates::{Authority, downstream, upstream};
use crate::tls::{ServerTls, TIME_LIMIT};
use compiler::snapshot::{self, DownstreamTls, UpstreamTls};
use http_match::HeaderList;
use rustls::server::Acceptor;
use serde_json::json;
use std::future::poll_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

const SERVER: &str = "spiffe://prod.example/ns/shop/sa/reviews";

/// An endpoint that answers every request, and what it has seen.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    /// Server name and application protocol of each connection.
    connections: Rc<RefCell<Vec<(String, String)>>>,
}

impl Server {
    async fn start(settings: DownstreamTls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), connections: Rc::default() };
        let tls = Rc::new(ServerTls::new(&settings).unwrap());
        let started = server.clone();
        spawn_local(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                spawn_local(started.clone().serve(tls.clone(), socket));
            }
        });
        server
    }

    async fn serve(self, tls: Rc<ServerTls>, socket: TcpStream) {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), socket).await.unwrap();
        let name = begun.client_hello().server_name().unwrap_or_default().to_owned();
        let deadline = tokio::time::Instant::now() + TIME_LIMIT;
        let Ok(secured) = tls.accept(begun.accepted, begun.io, deadline).await else { return };
        let protocol = secured.stream.get_ref().1.alpn_protocol().unwrap_or_default().to_owned();
        let protocol = String::from_utf8(protocol).unwrap();
        self.connections.borrow_mut().push((name, protocol.clone()));
        if protocol == "h2" { serve_http2(secured.stream).await } else { serve_http1(secured.stream).await }
    }

    fn seen(&self) -> Vec<(String, String)> {
        self.connections.borrow().clone()
    }

    fn names(&self) -> Vec<String> {
        self.seen().into_iter().map(|(name, _)| name).collect()
    }
}

async fn serve_http1(mut stream: TlsStream<TcpStream>) {
    let mut read = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut read).await {
        if read.ends_with(b"\r\n\r\n") {
            read.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            stream.flush().await.unwrap();
        }
    }
}

async fn serve_http2(stream: TlsStream<TcpStream>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        respond.send_response(http::Response::new(()), true).unwrap();
    }
}

/// A cluster of one endpoint.
fn cluster(address: SocketAddr, tls: UpstreamTls, more: serde_json::Value) -> snapshot::Cluster {
    let mut cluster = json!({"name": "c", "endpoints": [{"address": address}]});
    cluster.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    snapshot::Cluster { transport_socket: Some(tls), ..serde_json::from_value(cluster).unwrap() }
}

fn shared(config: snapshot::Cluster) -> Arc<SharedCluster> {
    Arc::new(SharedCluster::new(config, None, &Registry::default(), Instant::now()).unwrap())
}

fn pool(cluster: &Arc<SharedCluster>) -> Rc<EndpointPool> {
    Rc::new(EndpointPool::new(cluster.clone(), 0, &cluster.endpoints[0]))
}

async fn connected(acquired: Acquired) -> Result<Box<dyn UpstreamPeer>, ConnectFailure> {
    match acquired {
        Acquired::Ready(peer) => Ok(peer),
        Acquired::Pending(connecting) => connecting.await,
        Acquired::Refused(reason) => panic!("{reason:?}"),
    }
}

fn wanted(http2: bool, name: Option<&str>) -> Wanted {
    Wanted { http2, server_name: name.map(Rc::from), ..Wanted::plain() }
}

/// Sends a request and reads its response; whether the connection had served before.
async fn exchange(mut peer: Box<dyn UpstreamPeer>) -> bool {
    let head = [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/")];
    peer.send_headers(&head.into_iter().collect::<HeaderList>(), true).unwrap();
    poll_fn(|cx| peer.poll_flush(cx)).await.unwrap();
    let Incoming::Headers { headers, end } = poll_fn(|cx| peer.poll_incoming(cx)).await.unwrap() else {
        panic!("the head comes first")
    };
    assert_eq!((headers.get(":status"), end), (Some(&b"200"[..]), true));
    let reused = peer.is_reused();
    peer.finish();
    reused
}

async fn request(pool: &Rc<EndpointPool>, wanted: Wanted) -> Result<bool, ConnectFailure> {
    Ok(exchange(connected(pool.acquire(wanted)).await?).await)
}

#[tokio::test]
async fn http1_over_tls_is_pooled() {
    LocalSet::new()
        .run_until(async {
            let root = Authority::new("root");
            let mutual = DownstreamTls {
                trusted_ca: Some(root.source()),
                require_client_certificate: true,
                ..downstream(root.issue(&[SERVER]))
            };
            let server = Server::start(mutual).await;
            let tls = UpstreamTls {
                certificate: Some(root.issue(&["spiffe://prod.example/a"])),
                sni: Some("outbound_.80_._.reviews".into()),
                ..upstream(&root, SERVER)
            };
            let pool = pool(&shared(cluster(server.address, tls, json!({}))));
            assert_eq!(request(&pool, wanted(false, None)).await, Ok(false));
            assert_eq!(request(&pool, wanted(false, None)).await, Ok(true));
            assert_eq!(server.names(), ["outbound_.80_._.reviews"]);
        })
        .await;
}

#[tokio::test]
async fn a_failed_handshake_says_why() {
    LocalSet::new()
        .run_until(async {
            let root = Authority::new("root");
            let server = Server::start(downstream(root.issue(&["spiffe://prod.example/other"]))).await;
            let shared = shared(cluster(server.address, upstream(&root, SERVER), json!({})));
            let pool = pool(&shared);
            for wanted in [wanted(false, None), wanted(true, None), Wanted { tunnel: true, ..Wanted::plain() }] {
                let Err(ConnectFailure::Tls(reason)) = connected(pool.acquire(wanted)).await else {
                    panic!("it is another server")
                };
                let other = "the peer's certificate is for spiffe://prod.example/other, not for ".to_owned();
                assert_eq!(reason.to_string(), other + SERVER);
            }
            assert_eq!((shared.stats.connect_failures.value(), pool.open.get()), (3, 0));
        })
        .await;
}

#[tokio::test]
async fn connections_know_their_end_and_refusals_their_reason() {
    LocalSet::new()
        .run_until(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let config = json!({"name": "c", "endpoints": [{"address": address}]});
            let pool = pool(&shared(serde_json::from_value(config).unwrap()));
            for wanted in [wanted(false, None), Wanted { tunnel: true, ..Wanted::plain() }] {
                let peer = connected(pool.acquire(wanted)).await.unwrap();
                let (_, client) = listener.accept().await.unwrap();
                assert_eq!(peer.local_address(), Some(client));
            }
            drop(listener);
            for wanted in [wanted(false, None), wanted(true, None), Wanted { tunnel: true, ..Wanted::plain() }] {
                let Err(failure) = connected(pool.acquire(wanted)).await else { panic!("nobody listens") };
                assert_eq!(failure.reason().as_deref(), Some("delayed_connect_error: Connection refused"));
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_endpoint_is_given_up() {
    LocalSet::new()
        .run_until(async {
            let root = Authority::new("root");
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let more = json!({"connectTimeout": "3s"});
            let pool = pool(&shared(cluster(address, upstream(&root, SERVER), more)));
            let begun = tokio::time::Instant::now();
            assert_eq!(request(&pool, wanted(false, None)).await, Err(ConnectFailure::Timeout));
            assert_eq!(begun.elapsed().as_secs(), 3);
        })
        .await;
}

#[tokio::test]
async fn connections_are_shared_by_server_name_only() {
    LocalSet::new()
        .run_until(async {
            let root = Authority::new("root");
            let server = Server::start(downstream(root.issue(&["a.example", "b.example"]))).await;
            let tls = UpstreamTls { auto_sni: true, subject_alt_names: Vec::new(), ..upstream(&root, "") };
            let shared = shared(cluster(server.address, tls, json!({})));
            let name = |authority: &str| shared.asked_name(Some(authority.as_bytes()));
            assert_eq!(name("A.Example.:8443").as_deref(), Some("a.example"));
            assert_eq!(shared.asked_name(None), None);
            for http2 in [false, true] {
                let pool = pool(&shared);
                let wanted = |authority| Wanted { http2, server_name: name(authority), ..Wanted::plain() };
                let kind = |reused| if http2 { pool.http2(wanted(reused)) } else { pool.http1(wanted(reused)) };
                for (authority, reused) in [("a.example", false), ("b.example", false), ("a.example", true)] {
                    assert_eq!(exchange(connected(kind(authority)).await.unwrap()).await, reused, "{authority}");
                }
                assert_eq!(server.connections.take().len(), 2);
            }
            let pool = pool(&shared);
            let Err(ConnectFailure::Tls(reason)) = request(&pool, wanted(false, Some("c.example"))).await else {
                panic!("the certificate has no such name")
            };
            assert!(reason.to_string().ends_with("not for c.example"), "{reason}");
        })
        .await;
}

#[tokio::test]
async fn room_is_made_for_another_server_name() {
    LocalSet::new()
        .run_until(async {
            let root = Authority::new("root");
            let server = Server::start(downstream(root.issue(&["a.example"]))).await;
            let tls = UpstreamTls { danger_skip_verify: true, auto_sni: true, ..UpstreamTls::default() };
            let more = json!({"circuitBreakers": {"maxConnections": 1}});
            let pool = pool(&shared(cluster(server.address, tls, more)));
            // Idle connections give way.
            assert_eq!(request(&pool, wanted(false, Some("a.example"))).await, Ok(false));
            assert_eq!(request(&pool, wanted(false, Some("b.example"))).await, Ok(false));
            // Those in use are waited for, and then give way; the request before goes first.
            let busy = connected(pool.acquire(wanted(false, Some("b.example")))).await.unwrap();
            let other = pool.acquire(wanted(false, Some("c.example")));
            let same = pool.acquire(wanted(false, Some("b.example")));
            assert!(exchange(busy).await);
            assert!(exchange(connected(same).await.unwrap()).await);
            assert!(!exchange(connected(other).await.unwrap()).await);
            assert_eq!(server.names(), ["a.example", "b.example", "c.example"]);
            assert_eq!(pool.open.get(), 1);
        })
        .await;
}

#[tokio::test]
async fn http2_as_agreed_on() {
    LocalSet::new()
        .run_until(async {
            let root = Authority::new("root");
            let http2 = json!({"protocol": "http2"});
            let server = Server::start(downstream(root.issue(&[SERVER]))).await;
            let pool_of = |server: &Server, alpn: &[&str]| {
                let alpn = alpn.iter().map(|protocol| (*protocol).to_owned()).collect();
                let tls = UpstreamTls { alpn, ..upstream(&root, SERVER) };
                pool(&shared(cluster(server.address, tls, http2.clone())))
            };
            let pool = pool_of(&server, &[]);
            assert_eq!(request(&pool, Wanted::plain()).await, Ok(false));
            assert_eq!(request(&pool, Wanted::plain()).await, Ok(true));
            // An upgrade is a matter of HTTP/1, and is not agreed away.
            let upgrade = Wanted { upgrade: Some(b"websocket".to_vec()), ..Wanted::plain() };
            assert_eq!(request(&pool, upgrade).await, Ok(false));
            assert_eq!(server.seen().iter().map(|(_, protocol)| protocol.as_str()).collect::<Vec<_>>(), ["h2", ""]);

            let old = DownstreamTls { alpn: vec!["http/1.1".into()], ..downstream(root.issue(&[SERVER])) };
            let server = Server::start(old).await;
            let pool = pool_of(&server, &["h2", "http/1.1"]);
            assert_eq!(request(&pool, Wanted::plain()).await, Ok(false));
            assert_eq!(request(&pool, Wanted::plain()).await, Ok(true));
            assert_eq!(server.seen(), [(String::new(), "http/1.1".to_owned())]);
        })
        .await;
}

#[test]
fn what_has_not_changed_is_kept() {
    let root = Authority::new("root");
    let address = "127.0.0.1:1".parse().unwrap();
    let config = cluster(address, upstream(&root, SERVER), json!({}));
    let first = shared(config.clone());
    let next = |config| SharedCluster::new(config, Some(&first), &Registry::default(), Instant::now());
    let same = next(config.clone()).unwrap();
    assert!(Arc::ptr_eq(first.tls.as_ref().unwrap(), same.tls.as_ref().unwrap()));
    let other = next(cluster(address, upstream(&root, "a.example"), json!({}))).unwrap();
    assert!(!Arc::ptr_eq(first.tls.as_ref().unwrap(), other.tls.as_ref().unwrap()));
    let plain = next(snapshot::Cluster { transport_socket: None, ..config.clone() }).unwrap();
    assert!(plain.tls.is_none());
    let broken = UpstreamTls { sni: Some("a b".into()), ..upstream(&root, SERVER) };
    let faults = next(snapshot::Cluster { transport_socket: Some(broken), ..config }).err().unwrap();
    assert_eq!(faults, ["cluster \"c\" transportSocket.sni: \"a b\" is no server name"]);
}
