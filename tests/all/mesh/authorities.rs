//! Who vouches for workloads: roots that are replaced, those of other trust domains, and files that are broken.

use super::identity::{
    MALLORY, OK, RATINGS, RATINGS_ALONE, REVIEWS, client_certificate, equal, peer_authentication, three, trial,
    under_load,
};
use super::{Network, Sidecars};
use host::ca::{Authority, DEFAULT_LIFETIME, WorkloadCertificate};
use libtest_mimic::Trial;
use outrigger_tests::caller::Shown;
use outrigger_tests::raw::{After, Upstream};
use std::fs;
use std::time::SystemTime;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("authorities::a_root_is_replaced_under_load", root_rotation),
        trial("authorities::of_other_trust_domains", of_other_trust_domains),
        trial("authorities::broken_files_keep_no_configuration_away", broken_files),
    ]
}

fn issue(authority: &Authority, identity: &str) -> Result<WorkloadCertificate, String> {
    authority.issue(&identity.parse()?, DEFAULT_LIFETIME, SystemTime::now())
}

/// What a client shows that an authority vouches for.
pub(super) fn shown(authority: &Authority, identity: &str) -> Result<Shown, String> {
    issue(authority, identity).map(|WorkloadCertificate { chain, key, .. }| Shown { chain, key })
}

/// A MeshConfig by which an authority vouches for workloads of `other.example`.
pub(super) fn trusted_for_their_domain(authority: &Authority) -> Result<String, String> {
    let roots: String = issue(authority, "spiffe://other.example/ns/a/sa/b")?.roots;
    let roots: String = roots.lines().map(|line| format!("    {line}\n")).collect();
    Ok(mesh_config(&format!("caCertificates:\n- trustDomains: [other.example]\n  pem: |\n{roots}")))
}

/// MeshConfig.
pub(super) fn mesh_config(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "---
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
{lines}"
    )
}

/// Everybody trusts both roots, then shows a certificate of the new one, then trusts that alone: no call fails.
fn root_rotation() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let mut sidecars = Sidecars::start(network, &(three(network, &upstream) + &peer_authentication("STRICT")))?;
    let next = Authority::root("Next", SystemTime::now())?;
    let file = |account: &str| sidecars.certificates(account).join("root-cert.pem");
    let old = fs::read_to_string(file("reviews")).map_err(|error| error.to_string())?;
    let new = issue(&next, "spiffe://cluster.local/ns/shop/sa/reviews")?.roots;
    let both = format!("{old}{new}");
    let trust = |account: &str, roots: &str| {
        fs::write(file(account), roots).map_err(|error| error.to_string())?;
        sidecars.reread(account)
    };
    under_load(&sidecars, |go_on| {
        for account in ["reviews", "ratings"] {
            trust(account, &both)?;
            go_on()?;
        }
        for account in ["ratings", "reviews"] {
            sidecars.issue_by(&next, account);
            trust(account, &both)?;
            go_on()?;
        }
        for account in ["reviews", "ratings"] {
            trust(account, &new)?;
            go_on()?;
        }
        Ok(())
    })?;
    trust("mallory", &both)?;
    equal("one of the old root", sidecars.call(MALLORY, "reviews", "")?.status(), 503)?;
    sidecars.rejected("reviews", "unknown_issuer")
}

/// MeshConfig's `caCertificates`: workloads of another trust domain are let in by its own authority, as nobody else.
fn of_other_trust_domains() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let mesh = three(network, &upstream) + &peer_authentication("STRICT");
    let mut sidecars = Sidecars::start(network, &mesh)?;
    let other = Authority::root("Other", SystemTime::now())?;
    let theirs = shown(&other, "spiffe://other.example/ns/shop/sa/carts")?;
    let caller = sidecars.caller(REVIEWS);
    let status = |shown: &Shown| caller.get(Some(shown)).map(|answer| answer.get(9..12).unwrap_or("").to_owned());
    equal("before", status(&theirs).is_err(), true)?;
    sidecars.rejected("reviews", "unknown_issuer")?;
    let mesh = mesh + &trusted_for_their_domain(&other)?;
    sidecars.reload(&mesh)?;
    equal("a workload of theirs", status(&theirs)?, "200".to_owned())?;
    let told = client_certificate(&upstream)?.unwrap_or_default();
    equal(&told, told.contains("URI=spiffe://other.example/ns/shop/sa/carts"), true)?;
    equal("one of our own", sidecars.call(RATINGS, "reviews", "")?.status(), 200)?;
    equal(
        "one that they say is ours",
        status(&shown(&other, "spiffe://cluster.local/ns/shop/sa/ratings")?).is_err(),
        true,
    )?;
    sidecars.rejected("reviews", "unknown_issuer")?;
    let ours = shown(&sidecars.authority, "spiffe://other.example/ns/shop/sa/carts")?;
    equal("one that we say is theirs", status(&ours).is_err(), true)?;
    sidecars.rejected("reviews", "unknown_issuer")?;
    sidecars.reload(&(mesh.clone() + RATINGS_ALONE))?;
    equal("by the policy", status(&theirs)?, "403".to_owned())?;
    let named = RATINGS_ALONE.replace("cluster.local/ns/shop/sa/ratings", "other.example/ns/shop/sa/carts");
    sidecars.reload(&(mesh + &named))?;
    equal("by their name", status(&theirs)?, "200".to_owned())
}

/// What is as before keeps its certificate; what would have to be read anew is refused.
fn broken_files() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let mesh = three(network, &upstream) + &peer_authentication("STRICT");
    let sidecars = Sidecars::start(network, &mesh)?;
    let key = sidecars.certificates("reviews").join("key.pem");
    fs::write(&key, "broken").map_err(|error| error.to_string())?;
    sidecars.reload(&(mesh.clone() + RATINGS_ALONE))?;
    equal("ratings", sidecars.call(RATINGS, "reviews", "")?.status(), 200)?;
    equal("mallory", sidecars.call(MALLORY, "reviews", "")?.status(), 403)?;
    let fault = sidecars.reload(&(mesh + &mesh_config("meshMTLS: {minProtocolVersion: TLSV1_3}"))).err();
    let fault = fault.unwrap_or_default();
    equal(&fault, fault.contains("reviews/key.pem"), true)?;
    equal("ratings still", sidecars.call(RATINGS, "reviews", "")?.status(), 200)
}
