//! TLS of gateways: certificates by server name, from Secrets, and clients that may show one; seen by our client, by
//! openssl and by curl.

use super::identity::{OK, equal, three, trial};
use super::{Network, Sidecars, gateway};
use host::ca::{Authority, DEFAULT_LIFETIME};
use libtest_mimic::Trial;
use outrigger_tests::caller::{Caller, Shown};
use outrigger_tests::certs;
use outrigger_tests::raw::{After, Upstream};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("gateways::certificates_by_server_name", by_server_name),
        trial("gateways::clients_that_may_show_one", optional),
        trial("gateways::openssl_and_curl", openssl_and_curl),
    ]
}

const GATEWAY: u8 = 4;

/// Names that the gateway has a certificate for.
const NAMES: [&str; 4] = ["a.example", "b.example", "d.example", "e.example"];

/// A Secret with a certificate for a name, and whom to trust.
fn secret(name: &str) -> Result<String, String> {
    let identity = certs::issue(&[], Some(name))?;
    let text = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    Ok(format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: {}, namespace: shop}}
stringData:
  tls.crt: |
{}  tls.key: |
{}  ca.crt: |
{}",
        name.replace('.', "-"),
        text(&identity.certificate),
        text(&identity.key),
        text(&certs::authority()?)
    ))
}

/// A gateway with a server for each way of TLS, on one port.
fn start(network: Network, upstream: &Upstream) -> Result<(Sidecars, Ipv4Addr), String> {
    let address = network.address(GATEWAY);
    let secrets = NAMES.map(secret).into_iter().collect::<Result<String, _>>()?;
    let servers = format!(
        "  - port: {{number: 8443, name: https-a, protocol: HTTPS}}
    bind: {address}
    hosts: [a.example]
    tls: {{mode: SIMPLE, credentialName: a-example}}
  - port: {{number: 8443, name: https-b, protocol: HTTPS}}
    bind: {address}
    hosts: [b.example]
    tls: {{mode: OPTIONAL_MUTUAL, credentialName: b-example}}
  - port: {{number: 8443, name: https-de, protocol: HTTPS}}
    bind: {address}
    hosts: [d.example, e.example]
    tls: {{mode: SIMPLE, credentialNames: [d-example, e-example]}}
  - port: {{number: 8080, name: http, protocol: HTTP}}
    bind: {address}
    hosts: ['*']
    tls: {{httpsRedirect: true}}"
    );
    let gateway = gateway(address, &servers);
    Ok((Sidecars::start(network, &(three(network, upstream) + &secrets + &gateway))?, address))
}

fn by_server_name() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let (mut sidecars, address) = start(network, &upstream)?;
    let caller = |name: &str| Caller::new(SocketAddr::from((address, 8443))).asking(name);
    for name in NAMES {
        let answer = caller(name).get(None)?;
        equal(&format!("{name}: {answer:?}"), answer.starts_with("HTTP/1.1 200"), true)?;
        let mut connection = caller(name).secured(None)?;
        connection.say(format!("GET / HTTP/1.1\r\nhost: {name}\r\n\r\n").as_bytes())?;
        connection.until(b"\r\n\r\n")?;
        let named = connection.server().windows(name.len()).any(|part| part == name.as_bytes());
        equal(&format!("the certificate of {name}"), named, true)?;
    }
    equal("a name of nobody", caller("c.example").get(None).is_err(), true)?;
    sidecars.rejected("gateway", "no_filter_chain")?;
    // Another server's requests on this one's connection.
    let mut connection = caller("a.example").secured(None)?;
    connection.say(b"GET / HTTP/1.1\r\nhost: b.example\r\nconnection: close\r\n\r\n")?;
    let answer = connection.rest()?;
    equal(&format!("by another name, {answer:?}"), answer.starts_with("HTTP/1.1 404"), true)
}

fn optional() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let (mut sidecars, address) = start(network, &upstream)?;
    let caller = Caller::new(SocketAddr::from((address, 8443))).asking("b.example");
    let client = certs::issue(&["spiffe://clients/a".to_owned()], None)?;
    let known = Shown { chain: client.certificate, key: client.key };
    for (what, shown) in [("without one", None), ("with one", Some(&known))] {
        let answer = caller.get(shown)?;
        equal(&format!("{what}: {answer:?}"), answer.starts_with("HTTP/1.1 200"), true)?;
    }
    let stranger = Authority::root("Stranger", SystemTime::now())?;
    let stranger = stranger.issue(&"spiffe://clients/ns/a/sa/b".parse()?, DEFAULT_LIFETIME, SystemTime::now())?;
    let shown = Shown { chain: stranger.chain, key: stranger.key };
    equal("with one of nobody's", caller.get(Some(&shown)).is_err(), true)?;
    sidecars.rejected("gateway", "unknown_issuer")
}

/// What a program says, on both its outputs.
fn said(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program} has to be installed: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

fn openssl_and_curl() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let (sidecars, address) = start(network, &upstream)?;
    let client = certs::issue(&["spiffe://clients/a".to_owned()], None)?;
    let write = |name: &str, text: &str| {
        let file: PathBuf = sidecars.folder.join(name);
        std::fs::write(&file, text).map_err(|error| error.to_string())?;
        Ok::<_, String>(file.display().to_string())
    };
    let authority = write("authority.pem", &certs::authority()?)?;
    let (certificate, key) = (write("client.pem", &client.certificate)?, write("client.key", &client.key)?);
    let place = format!("{address}:8443");
    for name in NAMES {
        let arguments = ["s_client", "-connect", &place, "-servername", name, "-verify_hostname", name];
        let trusting = ["-CAfile", &authority, "-verify_return_error", "-brief"];
        let said = said("openssl", &[&arguments[..], &trusting].concat())?;
        equal(&said, said.contains("Protocol version: TLSv1.3") && said.contains("Verification: OK"), true)?;
    }
    let old = ["s_client", "-connect", &place, "-servername", "a.example", "-tls1_1", "-cipher", "ALL@SECLEVEL=0"];
    let refused = said("openssl", &old)?;
    equal(&refused, refused.contains("alert protocol version"), true)?;
    let curl = |name: &str, port: u16, more: &[&str]| {
        let scheme = if port == 8443 { "https" } else { "http" };
        let (resolve, url) = (format!("{name}:{port}:{address}"), format!("{scheme}://{name}:{port}/x"));
        let format = "%{http_code} %{http_version} %{redirect_url}";
        let usual = ["-sS", "-o", "/dev/null", "-w", format, "--cacert", &authority, "--resolve", &resolve, &url];
        said("curl", &[&usual[..], more].concat())
    };
    equal("curl", curl("a.example", 8443, &[])?, "200 2 ".to_owned())?;
    let shown = ["--cert", &certificate, "--key", &key, "--http1.1"];
    equal("curl with a certificate", curl("b.example", 8443, &shown)?, "200 1.1 ".to_owned())?;
    equal("curl in plain text", curl("a.example", 8080, &[])?, "301 1.1 https://a.example:8080/x".to_owned())
}
