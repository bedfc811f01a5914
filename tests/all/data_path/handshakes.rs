//! Handshakes that are refused, towards clients and towards upstreams: what the other side sees, and the log, in both
//! proxies.

use crate::data_path::beside::{Both, Row, compare};
use crate::data_path::{OK, equal, get, route, routed, trial};
use libtest_mimic::Trial;
use outrigger_tests::caller::{Caller, Shown};
use outrigger_tests::certs;
use outrigger_tests::live::wait_until;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::{After, Socket, Upstream, cluster, merged};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(super) fn trials() -> Vec<Trial> {
    vec![trial("handshakes::of_clients", of_clients), trial("handshakes::with_upstreams", with_upstreams)]
}

/// What a client does at a port: what it saw.
type Client = Box<dyn Fn(u16) -> Result<String, String>>;

fn caller(port: u16, name: &str) -> Caller {
    Caller::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).offering(&["http/1.1"]).asking(name)
}

/// The status line of what a client got, or why it got nothing.
fn seen(answer: Result<String, String>) -> Result<String, String> {
    Ok(answer.map_or_else(|error| error, |answer| answer.lines().next().unwrap_or_default().to_owned()))
}

fn of_clients() -> Result<(), String> {
    let server = certs::issue(&[], Some("proxy.test"))?;
    let certificates = json!([{
        "certificateChain": {"inline": server.certificate},
        "privateKey": {"inline": server.key},
    }]);
    let chain = |name: &str, socket: Value| {
        let socket = merged(json!({"certificates": certificates, "alpn": ["http/1.1"]}), &socket);
        json!({"filterChainMatch": {"serverNames": [name], "transportProtocol": "tls"}, "transportSocket": socket})
    };
    let trusting = json!({"requireClientCertificate": true, "trustedCa": {"inline": certs::authority()?}});
    let chains = json!([
        chain("a.test", json!({})),
        chain("mutual.test", trusting),
        chain("new.test", json!({"minProtocolVersion": "TLSV1_3"})),
    ]);
    let rules = json!({"virtualHosts": [{"name": "a", "domains": ["a.test", "mutual.test"], "routes": [
        {"match": [{"uri": {"prefix": "/"}}], "cluster": "up"},
    ]}]});
    let manager = json!({
        "destination": {"clusterHeader": {"name": "x-outrigger-cluster"}},
        "plugins": [{"name": "rules", "module": "header-rules", "configuration": rules}],
        "filterChains": chains,
    });
    let upstream = Upstream::answering(OK, After::Keep)?;
    let both = Both::start(manager, vec![cluster("up", &[upstream.port], json!({}))], json!({}))?;
    let known = certs::issue(&["spiffe://clients/a".to_owned()], None)?;
    let known = Shown { chain: known.certificate, key: known.key };
    let asks = |name: &'static str| -> Client { Box::new(move |port| seen(caller(port, name).get(None))) };
    let old =
        |name: &'static str| -> Client { Box::new(move |port| seen(caller(port, name).with_tls_1_2().get(None))) };
    let same = |text| [text; 2];
    const OK_LINE: &str = "HTTP/1.1 200 OK";
    // Envoy has not read what it closes upon, so that the system resets; either way not a byte comes back.
    const CLOSED: [&str; 2] = ["unexpected end of file", "Connection reset by peer (os error 104)"];
    let rows: Vec<Row<Client>> = vec![
        ("a server's name", asks("a.test"), same(OK_LINE)),
        ("with TLS 1.2", old("a.test"), same(OK_LINE)),
        ("a name of nobody", asks("b.test"), CLOSED),
        ("no name", asks("127.0.0.1"), CLOSED),
        (
            "another authority",
            Box::new(|port| seen(caller(port, "a.test").for_authority("b.test").get(None))),
            same("HTTP/1.1 404 Not Found"),
        ),
        ("an older version than is spoken", old("new.test"), same("received fatal alert: ProtocolVersion")),
        ("no certificate", asks("mutual.test"), same("received fatal alert: CertificateRequired")),
        (
            "no certificate, with TLS 1.2",
            old("mutual.test"),
            // The alert is one of TLS 1.3; clients of 1.2 know it all the same.
            ["received fatal alert: CertificateRequired", "received fatal alert: HandshakeFailure"],
        ),
        ("a certificate", Box::new(move |port| seen(caller(port, "mutual.test").get(Some(&known)))), same(OK_LINE)),
        (
            "plain text",
            Box::new(|port| {
                let (bytes, ended) = caller(port, "a.test").bytes(get("/").as_bytes())?;
                Ok(format!("{} bytes, {ended:?}", bytes.len()))
            }),
            ["0 bytes, Closed", "0 bytes, Reset"],
        ),
    ];
    compare(&rows, |client| both.each(client))?;
    // A client may hear of it before it is counted.
    let counted = || both.served.metric("outrigger_listener_connections_rejected") == 6.0;
    equal("connections of ours that were rejected are counted", wait_until(Duration::from_secs(30), counted), true)
}

fn with_upstreams() -> Result<(), String> {
    let greets = Upstream::start(|mut visit| visit.socket.send("220 welcome\r\n"))?;
    let closes = Upstream::start(|_| Ok(()))?;
    let trusting = json!({"transportSocket": {"trustedCa": {"inline": certs::authority()?}, "sni": "up.test"}});
    let once = json!({"retries": {"attempts": 0}});
    let names = ["greets", "closes"];
    let routes = names.map(|name| route(&format!("/{name}"), name, once.clone()));
    let ports = [greets.port, closes.port];
    let clusters = names.iter().zip(ports).map(|(name, port)| cluster(name, &[port], trusting.clone())).collect();
    let both = Both::start(routed(routes.to_vec()), clusters, json!({}))?;
    // Why is each one's own words, and in the log alone.
    let same = [UNREACHABLE; 2];
    let rows: Vec<Row<&str>> = vec![("what is no TLS", "/greets", same), ("a close", "/closes", same)];
    compare(&rows, |path| {
        let logged = both.logged(|port| {
            let mut client = Socket::connect(port)?;
            client.send(get(path))?;
            let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
            Ok(format!("{} {}", answer.status(), answer.text()))
        })?;
        Ok(logged.map(|line| line.split('|').next().unwrap_or_default().to_owned()))
    })
}

const UNREACHABLE: &str = "503 upstream connect error or disconnect/reset before headers. reset reason: remote connection \
    failure; 503 UF upstream_reset_before_response_started{remote_connection_failure";
