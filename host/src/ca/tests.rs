//! What the CA issues, who trusts it, and when no more.

use super::*;
use crate::tls::{Leaf, TlsError, verify_chain};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(3600);

/// 2027-01-15T08:00:00Z
fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

fn reviews() -> SpiffeId {
    SpiffeId::new("prod.example", "shop", "reviews").unwrap()
}

fn leaf(certificate: &WorkloadCertificate) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(certificate.chain.as_bytes()).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("outrigger-ca-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    folder
}

#[test]
fn a_workloads_certificate_is_as_istio_has_it() {
    let root = Authority::root("Example", noon()).unwrap();
    let issued = root.issue(&reviews(), DEFAULT_LIFETIME, noon()).unwrap();
    assert_eq!((issued.renew_at, issued.not_after), (noon() + 12 * HOUR, noon() + 24 * HOUR));
    let der = leaf(&issued);
    let read = Leaf::read(&der).unwrap();
    assert_eq!(read.properties.uri_sans, ["spiffe://prod.example/ns/shop/sa/reviews"]);
    assert!(!read.is_ca && read.properties.dns_sans.is_empty() && read.properties.subject.is_empty());
    // It begins two minutes ago.
    assert_eq!(read.is_valid_at(unix(noon() - Duration::from_secs(120))), Ok(()));
    assert_eq!(read.is_valid_at(unix(noon() - Duration::from_secs(121))), Err(TlsError::NotValidYet));
    assert_eq!(read.is_valid_at(unix(noon() + 24 * HOUR)), Ok(()));
    assert_eq!(read.is_valid_at(unix(noon() + 24 * HOUR + Duration::from_secs(1))), Err(TlsError::Expired));
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
    let purposes = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.server_auth && purposes.client_auth && !purposes.any);
    // Without a subject the name has to be critical (RFC 5280 section 4.1.2.6).
    assert!(certificate.subject_alternative_name().unwrap().unwrap().critical);
}

#[test]
fn two_clusters_of_one_root_trust_each_other_and_no_other() {
    let root = Authority::root("Example", noon()).unwrap();
    let [east, west] = ["east", "west"].map(|cluster| root.intermediate("Example", cluster, noon()).unwrap());
    let other = Authority::root("Other", noon()).unwrap();
    let [of_east, of_west, foreign] =
        [&east, &west, &other].map(|authority| authority.issue(&reviews(), HOUR, noon()).unwrap());
    assert_eq!(of_east.roots, of_west.roots);
    assert_eq!(verify_chain(&of_east.chain, &of_west.roots, unix(noon())), Ok(()));
    assert_eq!(verify_chain(&of_west.chain, &of_east.roots, unix(noon())), Ok(()));
    assert_eq!(verify_chain(&foreign.chain, &of_east.roots, unix(noon())), Err(TlsError::UnknownIssuer));
    assert_eq!(verify_chain(&of_east.chain, &of_west.roots, unix(noon() + 2 * HOUR)), Err(TlsError::Expired));
    // The leaf and the intermediate: the root is with whoever trusts it.
    assert_eq!(of_east.chain.matches("BEGIN").count(), 2);
}

#[test]
fn an_intermediate_makes_no_authorities() {
    let root = Authority::root("Example", noon()).unwrap();
    let below = root.intermediate("Example", "east", noon()).unwrap().intermediate("Example", "deep", noon()).unwrap();
    let issued = below.issue(&reviews(), HOUR, noon()).unwrap();
    assert!(verify_chain(&issued.chain, &issued.roots, unix(noon())).is_err());
}

#[test]
fn nothing_outlives_its_authority() {
    let root = Authority::root("Example", noon()).unwrap();
    let last_day = noon() + Duration::from_secs(3650 * 86_400) - HOUR;
    let issued = root.issue(&reviews(), DEFAULT_LIFETIME, last_day).unwrap();
    assert_eq!((issued.renew_at, issued.not_after), (last_day + HOUR / 2, last_day + HOUR));
    let expired = root.issue(&reviews(), HOUR, last_day + HOUR).err();
    assert_eq!(expired.as_deref(), Some("the CA's own certificate has expired"));
    let greedy = root.issue(&reviews(), MAX_LIFETIME + HOUR, noon()).err();
    assert_eq!(greedy.as_deref(), Some("a certificate of a workload is valid for 90 days at most"));
}

#[test]
fn folders_keep_authorities_and_their_secrets() {
    let root = Authority::root("Example", noon()).unwrap();
    let folder = folder("kept");
    root.intermediate("Example", "east", noon()).unwrap().write(&folder).unwrap();
    for name in ["ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"] {
        assert_eq!(fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let read = Authority::read(&folder, noon()).unwrap();
    let issued = read.issue(&reviews(), HOUR, noon()).unwrap();
    let by_root = root.issue(&reviews(), HOUR, noon()).unwrap();
    assert_eq!(verify_chain(&issued.chain, &by_root.roots, unix(noon())), Ok(()));
    assert!(root.write(&folder).unwrap_err().to_string().contains("has an authority already"));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn broken_folders() {
    let root = Authority::root("Example", noon()).unwrap();
    let other = Authority::root("Other", noon()).unwrap();
    let place = folder("broken");
    let faults = |name: &str, text: Option<&str>| {
        let _ = fs::remove_dir_all(&place);
        root.intermediate("Example", "east", noon()).unwrap().write(&place).unwrap();
        match text {
            Some(text) => fs::write(place.join(name), text).unwrap(),
            None => fs::remove_file(place.join(name)).unwrap(),
        }
        Authority::read(&place, noon()).err().map(|faults| faults.to_string()).unwrap_or_default()
    };
    let issued = root.issue(&reviews(), HOUR, noon()).unwrap();
    for (name, text, reason) in [
        ("ca-cert.pem", None, "ca-cert.pem: No such file"),
        ("ca-cert.pem", Some("x"), "ca-cert.pem: there is no PEM certificate in it"),
        ("ca-cert.pem", Some(issued.chain.as_str()), "ca-cert.pem: is no CA"),
        ("ca-key.pem", Some("x"), "ca-key.pem: there is no usable PEM key in it"),
        ("ca-key.pem", Some(issued.key.as_str()), "what it issues is not trusted: "),
        ("root-cert.pem", Some(&other.pem().roots), "no CA that is trusted here has issued"),
        ("cert-chain.pem", Some(""), "what it issues is not trusted: "),
    ] {
        let found = faults(name, text);
        assert!(found.contains(reason), "{name} {reason}: {found}");
    }
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn identities() {
    let written = SpiffeId::new("me@example.com", "shop", "reviews").unwrap().to_string();
    assert_eq!(written, "spiffe://me.example.com/ns/shop/sa/reviews");
    assert_eq!(written.parse::<SpiffeId>().unwrap().to_string(), written);
    for bad in [
        "spiffe://prod.example/ns/shop/sa/reviews/x",
        "spiffe://prod.example/ns/shop",
        "spiffe://prod.example/x/shop/sa/reviews",
        "spiffe://prod.example/ns//sa/reviews",
        "spiffe://Prod/ns/shop/sa/reviews",
        "prod.example/ns/shop/sa/reviews",
    ] {
        assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
    }
    assert!(SpiffeId::new("prod.example", "shop/sa/evil", "reviews").is_err());
    assert!(SpiffeId::new("prod.example", "..", "reviews").is_err());
}
