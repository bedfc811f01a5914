//! Mutual TLS between workloads: who is let in, as whom, and what everybody else sees.

use super::{Described, Network, Sidecars, workload};
use host::ca::{Authority, DEFAULT_LIFETIME, SpiffeId};
use libtest_mimic::{Failed, Trial};
use outrigger_tests::caller::{Secured, Shown};
use outrigger_tests::live::wait_until;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::{After, Ended, Upstream};
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("identity::strict_with_principals", strict_with_principals),
        trial("identity::permissive", permissive),
        trial("identity::disabled", disabled),
        trial("identity::modes_change_while_it_runs", modes_change),
        trial("identity::who_is_not_let_in", not_let_in),
        trial("identity::rotation", rotation),
        trial("identity::rotation_under_load", rotation_under_load),
        trial("identity::two_clusters_of_one_root", two_clusters),
        trial("identity::connections_without_http", connections),
        trial("identity::servers_that_speak_first", speaks_first),
    ]
}

pub(super) fn trial(name: &str, run: fn() -> Result<(), String>) -> Trial {
    Trial::test(format!("mesh::{name}"), move || run().map_err(Failed::from))
}

pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
pub(super) const GET: &str = "GET / HTTP/1.1\r\nhost: reviews:9080\r\n\r\n";

/// Hosts of the workloads on a test's network.
pub(super) const REVIEWS: u8 = 1;
pub(super) const RATINGS: u8 = 2;
pub(super) const MALLORY: u8 = 3;

pub(super) fn peer_authentication(mode: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: shop}}
spec: {{mtls: {{mode: {mode}}}}}
"
    )
}

/// Reviews may be called by ratings alone.
pub(super) const RATINGS_ALONE: &str = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews, namespace: shop}
spec:
  selector: {matchLabels: {app: reviews}}
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/ratings]}}]}]
";

/// Three workloads; the application of reviews is an upstream.
pub(super) fn three(network: Network, upstream: &Upstream) -> String {
    let described = [("reviews", REVIEWS, upstream.port), ("ratings", RATINGS, 1), ("mallory", MALLORY, 1)];
    let each = described.map(|(name, host, app)| workload(network, &Described { name, host, app }, "HTTP"));
    each.concat()
}

pub(super) fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?}, not {expected:?}")) }
}

/// What the application is told of its client.
pub(super) fn client_certificate(upstream: &Upstream) -> Result<Option<String>, String> {
    upstream.wait_for(1)?;
    let requests = upstream.take();
    Ok(requests.first().and_then(|request| request.header("x-forwarded-client-cert")))
}

fn strict_with_principals() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let istio = three(network, &upstream) + &peer_authentication("STRICT") + RATINGS_ALONE;
    let mut sidecars = Sidecars::start(network, &istio)?;
    // A client cannot say who it is but by its certificate.
    let forged = "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/shop/sa/admin\r\n";
    equal("ratings", sidecars.call(RATINGS, "reviews", forged)?.status(), 200)?;
    let told = client_certificate(&upstream)?.unwrap_or_default();
    let (by, uri) = ("By=spiffe://cluster.local/ns/shop/sa/reviews;", "URI=spiffe://cluster.local/ns/shop/sa/ratings");
    if !(told.starts_with(by) && told.ends_with(uri) && !told.contains("admin")) {
        return Err(format!("the application is told {told:?}"));
    }
    let refused = sidecars.call(MALLORY, "reviews", "")?;
    equal("mallory", (refused.status(), refused.text().as_str()), (403, "RBAC: access denied"))?;
    let plain = sidecars.caller(REVIEWS).bytes(GET.as_bytes())?;
    equal("in plain text", plain.0, Vec::new())?;
    sidecars.rejected("reviews", "plaintext")?;
    equal("requests of the refused", upstream.take().len(), 0)
}

fn permissive() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let mut sidecars = Sidecars::start(network, &three(network, &upstream))?;
    equal("through sidecars", sidecars.call(RATINGS, "reviews", "")?.status(), 200)?;
    if client_certificate(&upstream)?.is_none() {
        return Err("a sidecar has called another in plain text".to_owned());
    }
    let mut plain = sidecars.caller(REVIEWS).plain()?;
    plain.send(GET)?;
    let answer = http1::read(&mut plain, Kind::Response("GET"))?.ok_or("no answer")?;
    equal("in plain text", answer.status(), 200)?;
    equal("of whom nothing is known", client_certificate(&upstream)?, None)?;
    // TLS that is not the mesh's is nobody's on a port of HTTP.
    let foreign = sidecars.caller(REVIEWS).offering(&["http/1.1"]).get(None);
    equal("other TLS is closed", foreign.is_err(), true)?;
    let without = sidecars.caller(REVIEWS).get(None);
    equal("without a certificate it is closed", without.is_err(), true)?;
    sidecars.rejected("reviews", "no_certificate")
}

fn disabled() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let sidecars = Sidecars::start(network, &(three(network, &upstream) + &peer_authentication("DISABLE")))?;
    equal("through sidecars", sidecars.call(RATINGS, "reviews", "")?.status(), 200)?;
    equal("of whom nothing is known", client_certificate(&upstream)?, None)
}

/// Connections that are there are no way around a mode that has come.
fn modes_change() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let services = three(network, &upstream);
    let sidecars = Sidecars::start(network, &services)?;
    let mut plain = sidecars.caller(REVIEWS).plain()?;
    plain.send(GET)?;
    let answer = http1::read(&mut plain, Kind::Response("GET"))?.ok_or("no answer")?;
    equal("in plain text", answer.status(), 200)?;
    sidecars.reload(&(services.clone() + &peer_authentication("STRICT")))?;
    let later = plain.send(GET).and_then(|()| http1::read(&mut plain, Kind::Response("GET")));
    if let Ok(Some(answer)) = later {
        return Err(format!("in plain text after STRICT: {}", answer.start));
    }
    equal("through sidecars", sidecars.call(RATINGS, "reviews", "")?.status(), 200)?;
    sidecars.reload(&(services + &peer_authentication("DISABLE")))?;
    equal("through sidecars without", sidecars.call(RATINGS, "reviews", "")?.status(), 200)
}

/// A certificate as no CA of a mesh would make it.
fn odd(authority: &rcgen::CertifiedIssuer<'_, KeyPair>, uris: &[&str], name: Option<&str>, days: [i32; 2]) -> Shown {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI(Ia5String::try_from(*uri).unwrap())).collect();
    [params.not_before, params.not_after] = days.map(|year| rcgen::date_time_ymd(year, 1, 1));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Shown { chain: certificate.pem(), key: key.serialize_pem() }
}

fn not_let_in() -> Result<(), String> {
    const RATINGS_ID: &str = "spiffe://cluster.local/ns/shop/sa/ratings";
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let mut sidecars = Sidecars::start(network, &(three(network, &upstream) + &peer_authentication("STRICT")))?;
    // The mesh trusts one more CA, which makes what no CA of a mesh should.
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "odd");
    let odd_authority = rcgen::CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let roots = sidecars.certificates("reviews").join("root-cert.pem");
    let bundle = fs::read_to_string(&roots).unwrap() + &odd_authority.pem();
    fs::write(&roots, bundle).unwrap();
    sidecars.reread("reviews")?;
    let foreign = Authority::root("Elsewhere", SystemTime::now())?;
    let foreign = foreign.issue(&RATINGS_ID.parse::<SpiffeId>()?, DEFAULT_LIFETIME, SystemTime::now())?;
    let now = [2020, 2120];
    let made = |uris: &[&str], name, days| odd(&odd_authority, uris, name, days);
    let rows = [
        (made(&[RATINGS_ID], None, [2020, 2021]), "expired"),
        (made(&[RATINGS_ID], None, [2119, 2120]), "not_valid_yet"),
        (Shown { chain: foreign.chain, key: foreign.key }, "unknown_issuer"),
        (made(&["spiffe://cluster.local.evil/ns/shop/sa/ratings"], None, now), "wrong_trust_domain"),
        (made(&[], None, now), "no_identity"),
        (made(&[], Some(RATINGS_ID), now), "no_identity"),
        (made(&[RATINGS_ID, "spiffe://evil.example/ns/shop/sa/ratings"], None, now), "wrong_trust_domain"),
        (made(&["https://cluster.local/ns/shop/sa/ratings"], None, now), "malformed_identity"),
    ];
    let caller = sidecars.caller(REVIEWS);
    for (shown, reason) in rows {
        if let Ok(answer) = caller.get(Some(&shown)) {
            return Err(format!("who should have heard {reason:?} was answered {answer:?}"));
        }
        sidecars.rejected("reviews", reason)?;
    }
    // TLS 1.1, in a ClientHello that says no more; half a ClientHello and the end; bytes that are nothing.
    let hello = |version: u8| {
        let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, version];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0, 0x2F, 1, 0]);
        hello
    };
    equal("TLS 1.1", caller.bytes(&hello(2))?.0, vec![21, 3, 1, 0, 2, 2, 70])?;
    sidecars.rejected("reviews", "no_common_version")?;
    let mut half = caller.plain()?;
    half.send(&hello(3)[..20])?;
    half.half_close();
    equal("half a ClientHello", half.rest()?.0, Vec::new())?;
    sidecars.rejected("reviews", "closed")?;
    let (said, ended) = caller.bytes(&[0xEE; 64])?;
    equal("garbage", said, Vec::new())?;
    equal("garbage ends", matches!(ended, Ended::Closed | Ended::Reset), true)?;
    // Nobody else is affected; who has two names of the mesh is both.
    let both = made(&[RATINGS_ID, "spiffe://cluster.local/ns/shop/sa/second"], None, now);
    let answer = caller.get(Some(&both))?;
    equal("with two names", answer.starts_with("HTTP/1.1 200"), true)?;
    let told = client_certificate(&upstream)?.unwrap_or_default();
    equal("both names are told", told.matches(";URI=").count(), 2)?;
    equal("through sidecars", sidecars.call(RATINGS, "reviews", "")?.status(), 200)
}

/// The value of the metric that says whether certificates are older than their files.
fn stale(stats: &str) -> Option<&str> {
    let line = stats.lines().find(|line| line.starts_with("outrigger_certificates_stale"));
    line.and_then(|line| line.rsplit(' ').next())
}

/// New connections have the new certificate, those that are there go on; what is broken changes nothing and is said.
fn rotation() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let sidecars = Sidecars::start(network, &(three(network, &upstream) + &peer_authentication("STRICT")))?;
    let caller = sidecars.caller(REVIEWS);
    let shown = Shown::read(&sidecars.certificates("ratings"))?;
    let ask = |connection: &mut Secured| {
        connection.say(GET.as_bytes())?;
        let answer = connection.until(b"\r\n\r\nok")?;
        if answer.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err(String::from_utf8_lossy(&answer).into_owned()) }
    };
    let mut old = caller.secured(Some(&shown))?;
    ask(&mut old)?;
    let reload = || sidecars.reread("reviews");
    sidecars.issue("reviews");
    reload()?;
    let mut new = caller.secured(Some(&shown))?;
    ask(&mut new)?;
    equal("the certificate is another", old.server() != new.server(), true)?;
    ask(&mut old)?;
    fs::write(sidecars.certificates("reviews").join("key.pem"), "broken").unwrap();
    let fault = reload().err().unwrap_or_default();
    equal("the fault names the file", fault.contains("reviews/key.pem"), true)?;
    let mut still = caller.secured(Some(&shown))?;
    ask(&mut still)?;
    equal("the old certificate stays", still.server(), new.server())?;
    let ready = sidecars.admin(REVIEWS, "/ready")?;
    let said = ready.text();
    equal("it stays ready", ready.status(), 200)?;
    equal("and says why not all is well", said.contains("certificates") && said.contains("key.pem"), true)?;
    let stats = sidecars.admin(REVIEWS, "/stats/prometheus")?.text();
    equal("so does a metric", stale(&stats), Some("1"))?;
    sidecars.issue("reviews");
    reload()?;
    let stats = sidecars.admin(REVIEWS, "/stats/prometheus")?.text();
    equal("until all is well", stale(&stats), Some("0"))?;
    let mut last = caller.secured(Some(&shown))?;
    ask(&mut last)?;
    equal("with the last", last.server() != new.server(), true)?;
    let certificates = sidecars.admin(REVIEWS, "/certs")?.text();
    let named = certificates.contains("spiffe://cluster.local/ns/shop/sa/reviews");
    equal("/certs shows it", named, true)?;
    Ok(())
}

/// Certificates are exchanged while requests go on: none fails.
fn rotation_under_load() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let sidecars = Sidecars::start(network, &(three(network, &upstream) + &peer_authentication("STRICT")))?;
    under_load(&sidecars, |go_on| {
        for _ in 0..5 {
            for workload in ["reviews", "ratings"] {
                sidecars.issue(workload);
                sidecars.reread(workload)?;
            }
            go_on()?;
        }
        Ok(())
    })
}

/// Changes something while ratings call reviews, and none of the calls fails. What the change is given lets some calls
/// go on.
pub(super) fn under_load(
    sidecars: &Sidecars,
    change: impl FnOnce(&dyn Fn() -> Result<(), String>) -> Result<(), String>,
) -> Result<(), String> {
    let (done, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let calls = || {
            while !done.load(Ordering::Relaxed) {
                // Half of them on connections of their own.
                let close = if begun.fetch_add(1, Ordering::Relaxed) % 2 == 0 { "" } else { "connection: close\r\n" };
                equal("a call", sidecars.call(RATINGS, "reviews", close)?.status(), 200)?;
            }
            Ok(())
        };
        let callers = [scope.spawn(calls), scope.spawn(calls)];
        let go_on = || {
            let seen = begun.load(Ordering::Relaxed);
            let more = wait_until(Duration::from_secs(15), || begun.load(Ordering::Relaxed) > seen + 20);
            equal("calls go on", more, true)
        };
        let changed = change(&go_on);
        done.store(true, Ordering::Relaxed);
        let ended = callers.map(|caller| caller.join().map_err(|_| "a caller has panicked".to_owned())?);
        ended.into_iter().chain([changed]).collect()
    })
}

/// Intermediates of one root accept each other's workloads; of another root nobody is accepted, on either side.
fn two_clusters() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let mut sidecars = Sidecars::start(network, &(three(network, &upstream) + &peer_authentication("STRICT")))?;
    let there = sidecars.root.intermediate("Example", "there", SystemTime::now())?;
    sidecars.issue_by(&there, "ratings");
    sidecars.reread("ratings")?;
    equal("from the other cluster", sidecars.call(RATINGS, "reviews", "")?.status(), 200)?;
    sidecars.issue_by(&Authority::root("Elsewhere", SystemTime::now())?, "mallory");
    sidecars.reread("mallory")?;
    // The caller trusts nobody that the other does: it does not get as far as to show its own.
    equal("from elsewhere", sidecars.call(MALLORY, "reviews", "")?.status(), 503)?;
    let roots = fs::read_to_string(sidecars.certificates("reviews").join("root-cert.pem")).unwrap();
    fs::write(sidecars.certificates("mallory").join("root-cert.pem"), roots).unwrap();
    sidecars.reread("mallory")?;
    equal("from elsewhere, trusting all the same", sidecars.call(MALLORY, "reviews", "")?.status(), 503)?;
    sidecars.rejected("reviews", "unknown_issuer")
}

/// Greets, and answers what it is told.
fn greeting() -> Result<Upstream, String> {
    Upstream::start(|mut visit| {
        visit.socket.send("hello\n")?;
        while let Some(said) = visit.socket.take(5)? {
            visit.socket.send(said)?;
        }
        Ok(())
    })
}

/// One workload of bytes, and two clients with certificates.
fn of_bytes(network: Network, upstream: &Upstream, more: &str) -> Result<(Sidecars, [Shown; 2]), String> {
    let described = Described { name: "reviews", host: REVIEWS, app: upstream.port };
    let sidecars = Sidecars::start(network, &(workload(network, &described, "TCP") + more))?;
    let shown = ["ratings", "mallory"].map(|account| {
        sidecars.issue(account);
        let read = |name: &str| fs::read_to_string(sidecars.certificates(account).join(name)).unwrap();
        Shown { chain: read("cert-chain.pem"), key: read("key.pem") }
    });
    Ok((sidecars, shown))
}

/// Policies decide before a byte is passed on, either way.
fn connections() -> Result<(), String> {
    let (network, upstream) = (Network::new(), greeting()?);
    let (sidecars, [ratings, mallory]) =
        of_bytes(network, &upstream, &(peer_authentication("STRICT") + RATINGS_ALONE))?;
    let caller = sidecars.caller(REVIEWS).offering(&["istio"]);
    let mut allowed = caller.secured(Some(&ratings))?;
    equal("the greeting", allowed.until(b"\n")?, b"hello\n".to_vec())?;
    allowed.say(b"what?")?;
    equal("the answer", allowed.until(b"?")?, b"what?".to_vec())?;
    let mut refused = caller.secured(Some(&mallory))?;
    equal("what the refused gets", refused.rest().unwrap_or_default(), String::new())?;
    equal("connections of the refused", upstream.connections(), 1)?;
    // A DENY rule about requests is about every connection.
    let all = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: posts, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}
";
    let described = Described { name: "reviews", host: REVIEWS, app: upstream.port };
    sidecars.reload(&(workload(network, &described, "TCP") + RATINGS_ALONE + all))?;
    let mut refused = caller.secured(Some(&ratings))?;
    equal("what anybody gets then", refused.rest().unwrap_or_default(), String::new())?;
    equal("connections then", upstream.connections(), 1)
}

/// PERMISSIVE: who says nothing waits for the server, in plain text; TLS that is not the mesh's is the application's.
fn speaks_first() -> Result<(), String> {
    let (network, upstream) = (Network::new(), greeting()?);
    let (sidecars, [ratings, _]) = of_bytes(network, &upstream, "")?;
    let caller = sidecars.caller(REVIEWS);
    let mut plain = caller.plain()?;
    equal("in plain text", plain.take(6)?, Some(b"hello\n".to_vec()))?;
    let mut secured = sidecars.caller(REVIEWS).offering(&["istio"]).secured(Some(&ratings))?;
    equal("secured", secured.until(b"\n")?, b"hello\n".to_vec())?;
    let mut foreign = caller.plain()?;
    let hello = sidecars.caller(REVIEWS).offering(&["http/1.1"]).hello()?;
    foreign.send(&hello)?;
    equal("the greeting before other TLS", foreign.take(6)?, Some(b"hello\n".to_vec()))?;
    equal("other TLS, as it came", foreign.take(5)?, Some(hello[..5].to_vec()))
}
