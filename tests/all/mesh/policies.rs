//! AuthorizationPolicy on who clients are by their certificates, through every proxy between.

use super::authorities::mesh_config;
use super::identity::{MALLORY, OK, RATINGS, REVIEWS, equal, peer_authentication, three, trial};
use super::{Described, Network, OUTBOUND, Sidecars, gateway, workload};
use libtest_mimic::Trial;
use outrigger_tests::caller::{Caller, Shown};
use outrigger_tests::live::wait_until;
use outrigger_tests::raw::{After, Upstream};
use outrigger_tests::tools;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("policies::attributes_of_callers", attributes),
        trial("policies::trust_domains", trust_domains),
        trial("policies::gateways", gateways),
        trial("policies::the_rule_that_closes_a_connection", closed_by),
        trial("policies::what_no_service_has", registry_only),
    ]
}

/// A policy for reviews.
fn policy(action: &str, rule: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: reviews, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: reviews}}}}, action: {action}, rules: [{rule}]}}
"
    )
}

/// Action, rule, and whether ratings and mallory are let in.
const ROWS: [(&str, &str, [bool; 2]); 15] = [
    ("ALLOW", "{from: [{source: {principals: [cluster.local/ns/shop/sa/ratings]}}]}", [true, false]),
    ("ALLOW", "{from: [{source: {principals: ['*/sa/ratings']}}]}", [true, false]),
    ("ALLOW", "{from: [{source: {notPrincipals: ['*/sa/ratings']}}]}", [false, true]),
    ("ALLOW", "{from: [{source: {namespaces: [shop]}}]}", [true, true]),
    ("ALLOW", "{from: [{source: {namespaces: [shops]}}]}", [false, false]),
    ("ALLOW", "{from: [{source: {serviceAccounts: [ratings]}}]}", [true, false]),
    ("ALLOW", "{from: [{source: {serviceAccounts: [other/ratings]}}]}", [false, false]),
    ("ALLOW", "{from: [{source: {ipBlocks: [127.0.0.0/8]}}]}", [true, true]),
    ("ALLOW", "{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}", [false, false]),
    ("ALLOW", "{to: [{operation: {ports: ['9080']}}]}", [true, true]),
    ("ALLOW", "{to: [{operation: {ports: ['9081']}}]}", [false, false]),
    (
        "ALLOW",
        "{when: [{key: connection.sni, values: [outbound_.9080_._.reviews.shop.svc.cluster.local]}]}",
        [true, true],
    ),
    (
        "ALLOW",
        "{when: [{key: connection.sni, values: [outbound_.80_._.reviews.shop.svc.cluster.local]}]}",
        [false, false],
    ),
    ("DENY", "{from: [{source: {principals: ['*/mallory']}}]}", [true, false]),
    ("DENY", "{from: [{source: {notNamespaces: [shop]}}]}", [true, true]),
];

fn attributes() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let mesh = three(network, &upstream) + &peer_authentication("STRICT");
    let sidecars = Sidecars::start(network, &mesh)?;
    for (action, rule, let_in) in ROWS {
        sidecars.reload(&(mesh.clone() + &policy(action, rule)))?;
        for (caller, let_in) in [RATINGS, MALLORY].into_iter().zip(let_in) {
            let status = if let_in { 200 } else { 403 };
            equal(&format!("{action} {rule} for {caller}"), sidecars.call(caller, "reviews", "")?.status(), status)?;
        }
    }
    Ok(())
}

/// A principal of `cluster.local` stands for the mesh's own trust domain and its aliases.
fn trust_domains() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let config = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: '{trustDomain: new.example, trustDomainAliases: [cluster.local]}'}
";
    // Certificates are of the trust domain that was there before.
    let mesh = three(network, &upstream) + &peer_authentication("STRICT") + config;
    let sidecars = Sidecars::start(network, &mesh)?;
    let by_new = policy("ALLOW", "{from: [{source: {principals: [new.example/ns/shop/sa/ratings]}}]}");
    sidecars.reload(&(mesh.clone() + &by_new))?;
    equal("by the new name", sidecars.call(RATINGS, "reviews", "")?.status(), 200)?;
    equal("another", sidecars.call(MALLORY, "reviews", "")?.status(), 403)?;
    let alone = mesh.replace(", trustDomainAliases: [cluster.local]", "");
    sidecars.reload(&alone)?;
    equal("without the alias", sidecars.call(RATINGS, "reviews", "")?.status(), 503)
}

/// The access log of a connection without HTTP has the rule that it was closed by.
fn closed_by() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let log = tools::target_directory().join(format!("closed-{}.log", std::process::id()));
    let config = format!(
        "---
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: 'accessLogFile: {}'}}
",
        log.display()
    );
    let described = Described { name: "reviews", host: REVIEWS, app: upstream.port };
    let rules = policy("DENY", "{from: [{source: {principals: ['*/mallory']}}]}");
    let rest = workload(network, &described, "TCP") + &peer_authentication("STRICT") + &config;
    let sidecars = Sidecars::start(network, &(rest.clone() + &rules))?;
    let caller = sidecars.caller(REVIEWS).offering(&["istio"]);
    sidecars.issue("mallory");
    let mallory = Shown::read(&sidecars.certificates("mallory"))?;
    let closed = || caller.secured(Some(&mallory)).and_then(|mut connection| connection.rest());
    let logged = |text: &str| {
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        let found = wait_until(Duration::from_secs(15), || read().contains(text));
        if found { Ok(()) } else { Err(format!("no {text} in {}", read())) }
    };
    equal("what the refused gets", closed().unwrap_or_default(), String::new())?;
    logged("rbac_access_denied_matched_policy[ns[shop]-policy[reviews]-rule[0]]")?;
    sidecars.reload(&(rest + &policy("ALLOW", "{from: [{source: {principals: ['*/ratings']}}]}")))?;
    equal("what it gets then", closed().unwrap_or_default(), String::new())?;
    logged("rbac_access_denied_matched_policy[none]")?;
    std::fs::remove_file(&log).map_err(|error| error.to_string())
}

/// A gateway has an identity, too; and may ask for one.
fn gateways() -> Result<(), String> {
    const GATEWAY: u8 = 4;
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let address = network.address(GATEWAY);
    let servers = format!(
        "  - {{port: {{number: 8080, name: http, protocol: HTTP}}, bind: {address}, hosts: ['*']}}
  - {{port: {{number: 8443, name: https, protocol: HTTPS}}, bind: {address}, hosts: ['*'], tls: {{mode: ISTIO_MUTUAL}}}}"
    );
    let gateway = gateway(address, &servers);
    let allowed = policy("ALLOW", "{from: [{source: {principals: [cluster.local/ns/shop/sa/gateway]}}]}");
    let mesh = three(network, &upstream) + &peer_authentication("STRICT") + &gateway + &allowed;
    let sidecars = Sidecars::start(network, &mesh)?;
    let door = Caller::new(SocketAddr::from((address, 8080)));
    let (answer, _) = door.bytes(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    equal(&format!("through the gateway, {answer:?}"), answer.starts_with("HTTP/1.1 200"), true)?;
    equal("not through the gateway", sidecars.call(RATINGS, "reviews", "")?.status(), 403)?;
    let shown = Shown::read(&sidecars.certificates("ratings"))?;
    let door = Caller::new(SocketAddr::from((address, 8443)));
    let answer = door.get(Some(&shown))?;
    equal(&format!("with a certificate, {answer:?}"), answer.starts_with("HTTP/1.1 200"), true)?;
    equal("without one", door.get(None).is_err(), true)?;
    Ok(())
}

/// REGISTRY_ONLY: nothing leaves for what no service has, whatever it speaks. Istio resets what is no HTTP, here it is
/// told as a client of HTTP would be.
fn registry_only() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let elsewhere = Upstream::answering(OK, After::Keep)?;
    let mesh = three(network, &upstream) + &mesh_config("outboundTrafficPolicy: {mode: REGISTRY_ONLY}");
    let _sidecars = Sidecars::start(network, &mesh)?;
    let outbound = SocketAddr::from((network.address(RATINGS), OUTBOUND));
    let place = format!("127.0.0.1:{}", elsewhere.port);
    let http = |start: String| format!("{start} HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\n\r\n").into_bytes();
    let rows: [(&str, Vec<u8>, &str); 5] = [
        ("a request", http("GET /".to_owned()), "HTTP/1.1 502"),
        ("as to a proxy", http(format!("GET http://{place}/")), "HTTP/1.1 502"),
        ("a tunnel", http(format!("CONNECT {place}")), "HTTP/1.1 502"),
        ("TLS", Caller::new(outbound).asking("elsewhere.example").hello()?, "HTTP/1.1 400"),
        ("bytes", b"SSH-2.0-x\r\n".to_vec(), "HTTP/1.1 400"),
    ];
    for (what, bytes, expected) in rows {
        let (answer, _) = Caller::new(outbound).bytes(&bytes)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        equal(&format!("{what}: {answer:?}"), answer.starts_with(expected), true)?;
    }
    equal("connections elsewhere", elsewhere.connections(), 0)
}
