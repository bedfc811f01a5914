//! Our sidecars and stock Envoy's in one mesh, each as the server and as the client of the other.

use super::authorities::{shown, trusted_for_their_domain};
use super::identity::{
    GET, MALLORY, OK, RATINGS, RATINGS_ALONE, REVIEWS, client_certificate, equal, peer_authentication, three, trial,
};
use super::{Network, Sidecars};
use host::ca::Authority;
use libtest_mimic::Trial;
use outrigger_tests::raw::{After, Upstream};
use outrigger_tests::tools;
use std::time::SystemTime;

pub(super) fn trials() -> Vec<Trial> {
    match tools::envoy() {
        Err(reason) if !tools::required() => {
            vec![Trial::test(format!("mesh::envoy (not here: {reason})"), || Ok(())).with_ignored_flag(true)]
        }
        _ => vec![
            trial("envoy::as_the_server", server),
            trial("envoy::as_the_client", client),
            trial("envoy::of_other_trust_domains", of_other_trust_domains),
        ],
    }
}

fn mesh(network: Network, upstream: &Upstream) -> String {
    three(network, upstream) + &peer_authentication("STRICT") + RATINGS_ALONE
}

fn server() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let (sidecars, _envoy) = Sidecars::start_with(network, &mesh(network, &upstream), Some("reviews"))?;
    equal("ratings", sidecars.call(RATINGS, "reviews", "")?.status(), 200)?;
    told(&upstream)?;
    let refused = sidecars.call(MALLORY, "reviews", "")?;
    equal("mallory", (refused.status(), refused.text().as_str()), (403, "RBAC: access denied"))?;
    equal("in plain text", sidecars.caller(REVIEWS).bytes(GET.as_bytes())?.0, Vec::new())?;
    equal("without a certificate", sidecars.caller(REVIEWS).get(None).is_err(), true)
}

fn client() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let (sidecars, _envoy) = Sidecars::start_with(network, &mesh(network, &upstream), Some("ratings"))?;
    equal("ratings", sidecars.call(RATINGS, "reviews", "")?.status(), 200)?;
    told(&upstream)
}

/// An authority vouches for its own trust domain alone there too.
fn of_other_trust_domains() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let other = Authority::root("Other", SystemTime::now())?;
    let mesh = three(network, &upstream) + &peer_authentication("STRICT") + &trusted_for_their_domain(&other)?;
    let (sidecars, _envoy) = Sidecars::start_with(network, &mesh, Some("reviews"))?;
    equal("one of our own", sidecars.call(RATINGS, "reviews", "")?.status(), 200)?;
    let caller = sidecars.caller(REVIEWS);
    let theirs = caller.get(Some(&shown(&other, "spiffe://other.example/ns/shop/sa/carts")?))?;
    equal(&format!("a workload of theirs, {theirs:?}"), theirs.starts_with("HTTP/1.1 200"), true)?;
    for (authority, identity) in [
        (&other, "spiffe://cluster.local/ns/shop/sa/ratings"),
        (&sidecars.authority, "spiffe://other.example/ns/shop/sa/carts"),
        (&other, "spiffe://third.example/ns/shop/sa/carts"),
    ] {
        equal(identity, caller.get(Some(&shown(authority, identity)?)).is_err(), true)?;
    }
    Ok(())
}

/// Both say the same of the caller.
fn told(upstream: &Upstream) -> Result<(), String> {
    let told = client_certificate(upstream)?.unwrap_or_default();
    let (by, rest) = told.split_once(";Hash=").unwrap_or_default();
    let (_, names) = rest.split_once(';').unwrap_or_default();
    let expected =
        ("By=spiffe://cluster.local/ns/shop/sa/reviews", "Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/ratings");
    equal("what the application is told", (by, names), expected)
}
