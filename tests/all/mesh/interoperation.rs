//! Our sidecars and stock Envoy's in one mesh, each as the server and as the client of the other.

use super::identity::{
    GET, MALLORY, OK, RATINGS, RATINGS_ALONE, REVIEWS, client_certificate, equal, peer_authentication, three, trial,
};
use super::{Network, Sidecars};
use libtest_mimic::Trial;
use outrigger_tests::raw::{After, Upstream};
use outrigger_tests::tools;

pub(super) fn trials() -> Vec<Trial> {
    match tools::envoy() {
        Err(reason) if !tools::required() => {
            vec![Trial::test(format!("mesh::envoy (not here: {reason})"), || Ok(())).with_ignored_flag(true)]
        }
        _ => vec![trial("envoy::as_the_server", server), trial("envoy::as_the_client", client)],
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

/// Both say the same of the caller.
fn told(upstream: &Upstream) -> Result<(), String> {
    let told = client_certificate(upstream)?.unwrap_or_default();
    let (by, rest) = told.split_once(";Hash=").unwrap_or_default();
    let (_, names) = rest.split_once(';').unwrap_or_default();
    let expected =
        ("By=spiffe://cluster.local/ns/shop/sa/reviews", "Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/ratings");
    equal("what the application is told", (by, names), expected)
}
