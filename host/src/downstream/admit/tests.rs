//! Connections of every kind, in memory and with a paused clock.

use super::*;
use crate::http::Http1Io;
use crate::http::http1::head::Framing;
use crate::tls::ClientTls;
use crate::tls::test_certificates::{ADDRESS, Authority, accept, downstream, upstream};
use compiler::snapshot::{Direction, FilterChain, UpstreamTls};
use proptest::prelude::*;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

const SERVER: &str = "spiffe://prod.example/ns/shop/sa/reviews";

/// Chains for port 80, of bytes unless they are marked `http`; those marked `tls` end it with a certificate of the
/// authority.
fn listener(authority: &Authority, chains: Value) -> ListenerChains {
    let chain = |wanted: &Value| {
        let mut wanted = wanted.clone();
        let tls = wanted.as_object_mut().unwrap().remove("tls").is_some();
        let filter = match wanted.as_object_mut().unwrap().remove("http") {
            Some(_) => json!({"httpConnectionManager": {"destination": {"cluster": "c"}}}),
            None => json!({"tcpProxy": {"cluster": "c"}}),
        };
        let made = json!({"filterChainMatch": wanted, "networkFilter": filter});
        let mut made: FilterChain = serde_json::from_value(made).unwrap();
        made.transport_socket = tls.then(|| downstream(authority.issue(&[SERVER, "a.example"])));
        made
    };
    let filter_chains = chains.as_array().unwrap().iter().map(chain).collect();
    let address = "127.0.0.1:80".parse().unwrap();
    let listener = Listener {
        name: "l".into(),
        address,
        direction: Direction::Inbound,
        use_original_dst: false,
        protocol_detection_timeout: None,
        filter_chains,
    };
    ListenerChains::new(&listener, None).unwrap()
}

async fn admit(chains: &ListenerChains, io: DuplexStream) -> Result<Admitted, Rejected> {
    chains.admit(io, "10.0.0.9:1000".parse().unwrap(), "10.0.0.2:80".parse().unwrap(), 7).await
}

/// What becomes of a client that sends bytes, all at once or one by one, and then waits.
async fn after_sending(
    chains: &ListenerChains,
    bytes: &[u8],
    size: usize,
) -> (Result<Admitted, Rejected>, DuplexStream) {
    let (mut near, far) = duplex(1 << 20);
    let send = async {
        for piece in bytes.chunks(size) {
            // The server may have given up already.
            let _ = near.write_all(piece).await;
            tokio::task::yield_now().await;
        }
    };
    let (admitted, ()) = tokio::join!(admit(chains, far), send);
    (admitted, near)
}

fn reason(admitted: Result<Admitted, Rejected>) -> Rejection {
    admitted.err().unwrap().reason
}

async fn read_back(admitted: Admitted, size: usize) -> Vec<u8> {
    let mut transport = admitted.transport;
    let mut read = vec![0; size];
    transport.read_exact(&mut read).await.unwrap();
    read
}

/// PERMISSIVE: TLS is ended, anything else is served as it is.
fn permissive() -> Value {
    json!([{"transportProtocol": "tls", "tls": 1}, {"transportProtocol": "rawBuffer"}])
}

#[tokio::test(start_paused = true)]
async fn a_lone_raw_chain_is_never_looked_into() {
    let chains = listener(&Authority::new("root"), json!([{}, {"destinationPort": 81, "tls": 1}]));
    let (_near, far) = duplex(64);
    let begun = Instant::now();
    let admitted = admit(&chains, far).await.unwrap();
    assert_eq!((admitted.chain, begun.elapsed()), (0, Duration::ZERO));
    let properties = admitted.properties;
    assert_eq!((properties.id, properties.tls_version, properties.peer.is_none()), (7, None, true));
    assert_eq!(properties.source, properties.direct_peer);
}

#[tokio::test(start_paused = true)]
async fn plaintext_is_given_back_whole() {
    let chains = listener(&Authority::new("root"), permissive());
    let like_tls: &[u8] = &[22, 3, 1, 2, 0, 2, 9];
    for bytes in [b"GET / HTTP/1.1\r\n\r\n", &b"\0"[..], &[22, 3, 5], &[22, 2], like_tls, &[22, 3, 1, 0x49, 0, 1]] {
        for size in [1, 64] {
            let (admitted, _near) = after_sending(&chains, bytes, size).await;
            let admitted = admitted.unwrap();
            assert_eq!(admitted.chain, 1);
            assert_eq!(read_back(admitted, bytes.len()).await, bytes);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_may_come_before_it_is_known() {
    let chains = listener(&Authority::new("root"), permissive());
    let ended = async |bytes: &[u8]| {
        let (mut near, far) = duplex(64);
        near.write_all(bytes).await.unwrap();
        near.shutdown().await.unwrap();
        admit(&chains, far).await
    };
    assert_eq!(reason(ended(b"").await), Rejection::Silent);
    assert_eq!(read_back(ended(&[22, 3, 1]).await.unwrap(), 3).await, [22, 3, 1]);
    assert_eq!(reason(ended(&[22, 3, 1, 0, 9, 1, 0]).await), Rejection::Tls(TlsError::Closed));
}

#[tokio::test(start_paused = true)]
async fn silence() {
    let authority = Authority::new("root");
    let begun = Instant::now();
    // Served, late: plaintext may come yet.
    let chains = json!([{"transportProtocol": "tls", "tls": 1}, {"transportProtocol": "rawBuffer", "http": 1}]);
    let permissive = listener(&authority, chains);
    let (admitted, _near) = after_sending(&permissive, b"", 1).await;
    assert_eq!((admitted.unwrap().chain, begun.elapsed()), (1, TIME_LIMIT));
    for chains in [json!([{"tls": 1}]), json!([{"serverNames": ["a.example"], "tls": 1}])] {
        let begun = Instant::now();
        let (admitted, _near) = after_sending(&listener(&authority, chains), b"", 1).await;
        assert_eq!((reason(admitted), begun.elapsed()), (Rejection::Tls(TlsError::Timeout), TIME_LIMIT));
    }
    // Half a ClientHello, then nothing.
    let hello = client_hello(Some("a.example"), &[]).await;
    let begun = Instant::now();
    let (admitted, _near) = after_sending(&permissive, &hello[..hello.len() / 2], 7).await;
    assert_eq!((reason(admitted), begun.elapsed()), (Rejection::Tls(TlsError::Timeout), TIME_LIMIT));
    // All of it, then nothing: the same clock.
    let begun = Instant::now();
    let (admitted, _near) = after_sending(&permissive, &hello, 1 << 20).await;
    assert_eq!((reason(admitted), begun.elapsed()), (Rejection::Tls(TlsError::Timeout), TIME_LIMIT));
}

/// A byte now and then buys no time, and a thousand that do so no more than one.
#[tokio::test(start_paused = true)]
async fn a_thousand_that_take_their_time() {
    let chains = Rc::new(listener(&Authority::new("root"), json!([{"tls": 1}])));
    let hello: Rc<[u8]> = client_hello(Some("a.example"), &[]).await.into();
    let slowly = |chains: Rc<ListenerChains>, hello: Rc<[u8]>| async move {
        let (mut near, far) = duplex(1 << 10);
        let send = async {
            for byte in hello.iter() {
                tokio::time::sleep(TIME_LIMIT / 20).await;
                // The server gives up in the middle.
                let _ = near.write_all(&[*byte]).await;
            }
        };
        let admitted = async { (admit(&chains, far).await, Instant::now()) };
        let (admitted, ended) = tokio::join!(send, admitted).1;
        (reason(admitted), ended)
    };
    let begun = Instant::now();
    let tasks = LocalSet::new();
    let all: Vec<_> = (0..1000).map(|_| tasks.spawn_local(slowly(chains.clone(), hello.clone()))).collect();
    tasks.await;
    for one in all {
        let (reason, ended) = one.await.unwrap();
        assert_eq!((reason, ended - begun), (Rejection::Tls(TlsError::Timeout), TIME_LIMIT));
    }
}

#[tokio::test(start_paused = true)]
async fn plaintext_and_garbage_where_tls_is_spoken() {
    let chains = listener(&Authority::new("root"), json!([{"tls": 1}]));
    let (admitted, _near) = after_sending(&chains, b"GET / HTTP/1.1\r\n\r\n", 64).await;
    assert_eq!(admitted.err().unwrap().to_string(), "plaintext where TLS is spoken");
    // A record that says it is a ClientHello, and is none.
    let garbage = [&[22, 3, 1, 0, 44, 1, 0, 0, 40][..], &[0xEE; 40]].concat();
    let (admitted, mut near) = after_sending(&chains, &garbage, 64).await;
    assert!(matches!(reason(admitted), Rejection::Tls(TlsError::Malformed(_))));
    let mut alert = [0; 7];
    near.read_exact(&mut alert).await.unwrap();
    assert_eq!(alert[..1], [21]);
}

/// The ClientHello of rustls.
async fn client_hello(name: Option<&str>, protocols: &[Vec<u8>]) -> Vec<u8> {
    let settings = UpstreamTls { danger_skip_verify: true, ..UpstreamTls::default() };
    let (near, mut far) = duplex(1 << 20);
    let client = ClientTls::new(&settings).unwrap().config();
    let name = name.map_or(ServerName::IpAddress(ADDRESS.into()), |name| name.to_owned().try_into().unwrap());
    let connector = TlsConnector::from(client);
    let connecting = connector.with_alpn(protocols.to_vec()).connect(name, near);
    let reading = async {
        let mut head = [0; 5];
        let mut hello = Vec::new();
        // Until the records make up the message whose length is in its first four bytes.
        loop {
            far.read_exact(&mut head).await.unwrap();
            let size = usize::from(head[3]) << 8 | usize::from(head[4]);
            let mut record = vec![0; size];
            far.read_exact(&mut record).await.unwrap();
            hello.extend([&head[..], &record].concat());
            let wanted = 4 + (usize::from(hello[6]) << 16 | usize::from(hello[7]) << 8 | usize::from(hello[8]));
            let got = hello.len() - 5 * hello.len().div_ceil(16389);
            if got >= wanted {
                return hello;
            }
        }
    };
    tokio::select! {
        _ = connecting => unreachable!("nobody has answered"),
        hello = reading => hello,
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_hello_in_any_pieces_and_sizes() {
    let passthrough = json!([{"serverNames": ["*.example"], "transportProtocol": "tls"}, {"transportProtocol": "tls"}]);
    let chains = listener(&Authority::new("root"), passthrough);
    let long: Vec<Vec<u8>> = (0..250).map(|_| vec![b'x'; 255]).collect();
    for (name, protocols, chain) in
        [(Some("A.example"), &long[..0], 0), (None, &long[..0], 1), (Some("a.example"), &long, 0)]
    {
        let hello = client_hello(name, protocols).await;
        for size in [1, 5, 1 << 20] {
            let (admitted, mut near) = after_sending(&chains, &hello, size).await;
            let admitted = admitted.unwrap();
            assert_eq!(admitted.chain, chain);
            let asked = name.unwrap_or_default().to_ascii_lowercase();
            assert_eq!(admitted.properties.requested_server_name, asked);
            assert_eq!(admitted.properties.tls_version, None);
            // Passed on as it came, with what follows.
            near.write_all(b"more").await.unwrap();
            assert_eq!(read_back(admitted, hello.len() + 4).await, [&hello[..], b"more"].concat());
        }
    }
    // More than any client sends.
    let far_too_long = [&[22, 3, 1, 0x40, 0, 1, 1, 0, 0][..], &[0; 1 << 18]].concat();
    let (admitted, _near) = after_sending(&chains, &far_too_long, 1 << 14).await;
    assert!(matches!(reason(admitted), Rejection::Tls(TlsError::Malformed(_))));
}

/// A ClientHello by hand.
fn handmade(version: [u8; 2], ciphers: &[u16], extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let ciphers: Vec<u8> = ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()).collect();
    let extensions = extensions.iter().map(|(kind, bytes)| [&kind.to_be_bytes()[..], &sized(bytes)].concat());
    let extensions = extensions.collect::<Vec<_>>().concat();
    let body = [&version[..], &[7; 32], &[0], &sized(&ciphers), &[1, 0], &sized(&extensions)].concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}

#[tokio::test(start_paused = true)]
async fn what_browsers_put_in_and_old_clients_leave_out() {
    let authority = Authority::new("root");
    let chains = listener(&authority, json!([{"serverNames": ["a.example"], "applicationProtocols": ["h2"]}]));
    let name = [&[0, 12, 0, 0, 9][..], b"a.example"].concat();
    let protocols: &[u8] = &[0, 6, 2, 0x2A, 0x2A, 2, b'h', b'2'];
    let signatures: &[u8] = &[0, 4, 0x1A, 0x1A, 4, 3];
    let hello = handmade(
        [3, 3],
        &[0x0A0A, 0x1301, 0xC02B],
        &[
            (0x1A1A, b""),
            (0, &name),
            (16, protocols),
            (13, signatures),
            (10, &[0, 4, 0x3A, 0x3A, 0, 29]),
            (43, &[6, 0x4A, 0x4A, 3, 4, 3, 3]),
            (0xFE0D, &[0, 0, 1, 0, 1, 9, 0, 0, 0, 4, 1, 2, 3, 4]),
            (0x5A5A, &[0]),
        ],
    );
    let (admitted, _near) = after_sending(&chains, &hello, 3).await;
    assert_eq!(admitted.unwrap().chain, 0);

    // TLS 1.1, with and without what came with 1.2.
    let curves: (u16, &[u8]) = (10, &[0, 2, 0, 23]);
    let chains = listener(&authority, json!([{"tls": 1}]));
    for (extensions, name) in
        [(&[(0, &name[..]), (13, signatures), curves][..], " (server name a.example)"), (&[(0, &name), curves], "")]
    {
        let (admitted, mut near) = after_sending(&chains, &handmade([3, 2], &[0xC009], extensions), 64).await;
        let rejected = admitted.err().unwrap();
        assert_eq!(rejected.to_string(), TlsError::NoCommonVersion.to_string() + name);
        let mut alert = [0; 7];
        near.read_exact(&mut alert).await.unwrap();
        assert_eq!((alert[0], alert[6]), (21, 70));
    }
}

#[tokio::test]
async fn what_no_chain_takes_is_closed() {
    let authority = Authority::new("root");
    let chains = listener(&authority, json!([{"serverNames": ["a.example"], "tls": 1}]));
    for name in [Some("b.example"), None] {
        let hello = client_hello(name, &[]).await;
        let (admitted, mut near) = after_sending(&chains, &hello, 1 << 20).await;
        let rejected = admitted.err().unwrap();
        assert_eq!(rejected.reason, Rejection::NoFilterChain);
        assert_eq!((rejected.flags().to_string().as_str(), rejected.details()), ("NR", "filter_chain_not_found"));
        assert_eq!(rejected.requested_server_name, name.unwrap_or_default());
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
    }
    let (admitted, _near) = after_sending(&chains, b"GET / HTTP/1.1\r\n", 64).await;
    assert_eq!(reason(admitted), Rejection::NoFilterChain);
}

#[tokio::test]
async fn tls_is_ended_and_what_follows_is_read() {
    let authority = Authority::new("root");
    let chains = listener(&authority, json!([{"serverNames": ["a.example"], "tls": 1}, {}]));
    let client =
        ClientTls::new(&UpstreamTls { sni: Some("A.Example".into()), ..upstream(&authority, SERVER) }).unwrap();
    let (near, far) = duplex(1 << 16);
    let (admitted, connected) = tokio::join!(admit(&chains, far), client.connect(near, ADDRESS, None, false));
    let (mut admitted, (mut stream, _)) = (admitted.unwrap(), connected.unwrap());
    let properties = &admitted.properties;
    assert_eq!((admitted.chain, properties.requested_server_name.as_str()), (0, "a.example"));
    assert_eq!((properties.tls_version, properties.peer.is_none()), (Some("TLSv1.3"), true));
    assert_eq!(properties.local.as_ref().unwrap().uri_sans, [SERVER]);
    stream.write_all(b"to the server").await.unwrap();
    stream.flush().await.unwrap();
    let mut read = [0; 13];
    admitted.transport.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"to the server");
    admitted.transport.write_all(b"back").await.unwrap();
    admitted.transport.flush().await.unwrap();
    let mut read = [0; 4];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"back");
}

#[tokio::test(start_paused = true)]
async fn the_last_bytes_of_a_large_message_arrive() {
    let authority = Authority::new("root");
    let chains = listener(&authority, json!([{"tls": 1}]));
    let client = ClientTls::new(&upstream(&authority, SERVER)).unwrap();
    // A connection that takes little at a time, so that TLS has to keep what it was given.
    let (near, far) = duplex(1000);
    let (admitted, connected) = tokio::join!(admit(&chains, far), client.connect(near, ADDRESS, None, false));
    let mut io = Http1Io::new(admitted.unwrap().transport, BytesMut::new());
    io.begin_body(Framing::UntilClose);
    let message = vec![b'x'; 100_000];
    let send = async {
        io.send_data(message.clone().into(), true).unwrap();
        std::future::poll_fn(|cx| io.poll_flush(cx)).await.unwrap();
    };
    let (mut stream, _) = connected.unwrap();
    let mut read = vec![0; message.len()];
    let exchange = async { tokio::join!(send, stream.read_exact(&mut read)).1 };
    tokio::time::timeout(TIME_LIMIT, exchange).await.expect("nothing is held back").unwrap();
    assert_eq!(read, message);
}

#[tokio::test]
async fn a_handshake_through_a_chain_that_passes_it_on() {
    let authority = Authority::new("root");
    let chains = listener(&authority, json!([{"serverNames": ["a.example"], "transportProtocol": "tls"}]));
    let server = crate::tls::ServerTls::new(&downstream(authority.issue(&["a.example"]))).unwrap();
    let settings = UpstreamTls { sni: Some("a.example".into()), ..upstream(&authority, "a.example") };
    let client = ClientTls::new(&settings).unwrap();
    let (near, far) = duplex(1 << 16);
    let (mut inner, behind) = duplex(1 << 16);
    let proxy = async {
        let mut admitted = admit(&chains, far).await.unwrap();
        tokio::io::copy_bidirectional(&mut admitted.transport, &mut inner).await
    };
    let ends = async { tokio::join!(client.connect(near, ADDRESS, None, false), accept(&server, behind)) };
    tokio::select! {
        _ = proxy => unreachable!("the ends are still open"),
        (connected, secured) = ends => assert!(connected.is_ok() && secured.is_ok()),
    }
}

#[test]
fn every_fault_of_a_listener_at_once() {
    let json = json!({
        "name": "inbound",
        "address": "127.0.0.1:80",
        "filterChains": [
            {"networkFilter": {"tcpProxy": {"cluster": "c"}}, "transportSocket": {"certificates": []}},
            {"networkFilter": {"tcpProxy": {"cluster": "c"}}},
        ],
    });
    let listener: Listener = serde_json::from_value(json).unwrap();
    let faults = ListenerChains::new(&listener, None).err().unwrap();
    assert_eq!(
        faults,
        [
            "listener \"inbound\" filterChains[1].filterChainMatch: filterChains[0] takes some of the same connections",
            "listener \"inbound\" filterChains[0].transportSocket.certificates: there is none",
        ]
    );
}

#[test]
fn no_bytes_make_it_panic_and_none_are_lost() {
    let chains =
        listener(&Authority::new("root"), json!([{"transportProtocol": "tls"}, {"transportProtocol": "rawBuffer"}]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let hello = runtime.block_on(client_hello(Some("a.example"), &[b"h2".to_vec()]));
    proptest!(|(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        size in 1usize..400,
    )| {
        let mut bytes = hello.clone();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        runtime.block_on(async {
            let (admitted, _near) = after_sending(&chains, &bytes, size).await;
            if let Ok(admitted) = admitted {
                assert_eq!(read_back(admitted, bytes.len()).await, bytes);
            }
        });
    });
}

/// PERMISSIVE on a port of bytes: a client that waits for the server to speak is served soon, one that has begun to
/// speak is listened to for as long as anybody else.
#[tokio::test(start_paused = true)]
async fn a_server_may_speak_first() {
    let authority = Authority::new("root");
    let chains = json!([{"transportProtocol": "tls", "tls": 1}, {"transportProtocol": "rawBuffer"}]);
    let chains = listener(&authority, chains);
    let begun = Instant::now();
    let (_near, far) = duplex(64);
    let admitted = admit(&chains, far).await.unwrap();
    assert_eq!((admitted.chain, begun.elapsed()), (1, SERVER_FIRST));
    let begun = Instant::now();
    let (mut near, far) = duplex(64);
    let slow = async {
        near.write_all(&[22, 3, 1, 0, 9, 1, 0]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    };
    let (admitted, ()) = tokio::join!(async { (admit(&chains, far).await, begun.elapsed()) }, slow);
    assert_eq!((reason(admitted.0), admitted.1), (Rejection::Tls(TlsError::Timeout), TIME_LIMIT));
}
