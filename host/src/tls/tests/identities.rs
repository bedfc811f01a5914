//! Who may connect, and to whom.

use super::{CLIENT, SERVER, as_client, mutual};
use crate::tls::client::ClientTls;
use crate::tls::error::TlsError;
use crate::tls::server::ServerTls;
use crate::tls::test_certificates::{Authority, Change, downstream, shake, upstream};
use compiler::snapshot::{DataSource, DownstreamTls, TrustBundle, UpstreamTls};
use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn both_sides_know_each_other() {
    let authority = Authority::new("root");
    let server = ServerTls::new(&mutual(&authority)).unwrap();
    let second = "spiffe://old.example/ns/shop/sa/ratings";
    let own = authority.issue_with(&[CLIENT, "ratings.example", second, "b.example"], &|params| {
        params.distinguished_name.push(DnType::OrganizationName, "Shop, Inc.");
        params.distinguished_name.push(DnType::CommonName, "ratings");
    });
    let client = as_client(&authority, Some(own.clone()));
    let (secured, connected) = shake(&server, &client, None, false).await;
    let (secured, _) = (secured.unwrap(), connected.unwrap());
    assert_eq!(secured.version, Some("TLSv1.3"));
    assert_eq!(secured.local.uri_sans, [SERVER]);
    let peer = secured.peer.unwrap();
    assert_eq!(peer.uri_sans, [CLIENT, second]);
    assert_eq!(peer.dns_sans, ["ratings.example", "b.example"]);
    assert_eq!(peer.subject, r"CN=ratings,O=Shop\, Inc.");
    let DataSource::Inline(pem) = own.certificate_chain else { unreachable!() };
    assert_eq!(peer.pem, pem.replace('\r', ""));
    assert_eq!(peer.sha256.len(), 64);
}

/// What the server says of a client with such a certificate, and whether the client is told.
async fn refused(sans: &[&str], change: Change<'_>, by: &Authority, trusted: &Authority) -> TlsError {
    let server = ServerTls::new(&mutual(trusted)).unwrap();
    refused_with(&server, as_client(trusted, Some(by.issue_with(sans, change)))).await
}

async fn refused_with(server: &ServerTls, client: ClientTls) -> TlsError {
    let (secured, connected) = shake(server, &client, None, false).await;
    // In TLS 1.3 the client is done before the server has seen its certificate.
    let (mut stream, _) = connected.unwrap();
    let told = TlsError::from(stream.read_u8().await.unwrap_err());
    assert!(matches!(told, TlsError::Refused(_)), "{told}");
    secured.err().unwrap()
}

#[tokio::test]
async fn clients_that_are_refused() {
    let root = Authority::new("root");
    let plain: Change<'_> = &|_| {};
    let rows: &[(&[&str], Change<'_>, TlsError)] = &[
        (&[CLIENT], &|params| params.not_after = date_time_ymd(2020, 1, 1), TlsError::Expired),
        (&[CLIENT], &|params| params.not_before = date_time_ymd(3020, 1, 1), TlsError::NotValidYet),
        (
            &["spiffe://prod.example.evil/ns/shop/sa/ratings"],
            plain,
            TlsError::WrongTrustDomain("prod.example.evil".into()),
        ),
        (&[CLIENT, "spiffe://evil/a"], plain, TlsError::WrongTrustDomain("evil".into())),
        (&["ratings.example"], plain, TlsError::NoIdentity),
        (&[], &|params| params.distinguished_name.push(DnType::CommonName, CLIENT), TlsError::NoIdentity),
        (
            &["spiffe://prod.example/ns/shop/sa/ratings\0.evil"],
            plain,
            TlsError::UnprintableName("spiffe://prod.example/ns/shop/sa/ratings\0.evil".into()),
        ),
        (&[CLIENT, "a.example\n"], plain, TlsError::UnprintableName("a.example\n".into())),
        (&["spiffe://prod.example/a/../b"], plain, TlsError::MalformedIdentity("spiffe://prod.example/a/../b".into())),
        (&["https://prod.example/a"], plain, TlsError::MalformedIdentity("https://prod.example/a".into())),
        (&[CLIENT], &|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), TlsError::CaAsLeaf),
        (
            &[CLIENT],
            &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            TlsError::WrongPurpose,
        ),
    ];
    for (sans, change, reason) in rows {
        assert_eq!(&refused(sans, *change, &root, &root).await, reason, "{sans:?}");
    }
    let other = Authority::new("other");
    assert_eq!(refused(&[CLIENT], plain, &other, &root).await, TlsError::UnknownIssuer);
    // A root of the same name with another key.
    let imposter = Authority::new("root");
    let reason = refused(&[CLIENT], plain, &imposter, &root).await;
    assert!(matches!(reason, TlsError::UnknownIssuer | TlsError::BadSignature), "{reason}");
    let server = ServerTls::new(&mutual(&root)).unwrap();
    assert_eq!(refused_with(&server, as_client(&root, None)).await, TlsError::NoCertificate);
}

#[tokio::test]
async fn a_certificate_that_is_asked_for_and_not_required() {
    let root = Authority::new("root");
    let settings = DownstreamTls { require_client_certificate: false, ..mutual(&root) };
    let server = ServerTls::new(&settings).unwrap();
    let (secured, _) = shake(&server, &as_client(&root, None), None, false).await;
    assert!(secured.unwrap().peer.is_none());
    let (secured, _) = shake(&server, &as_client(&root, Some(root.issue(&[CLIENT]))), None, false).await;
    assert_eq!(secured.unwrap().peer.unwrap().uri_sans, [CLIENT]);
    let stranger = as_client(&root, Some(Authority::new("other").issue(&[CLIENT])));
    assert_eq!(refused_with(&server, stranger).await, TlsError::UnknownIssuer);
}

#[tokio::test]
async fn without_trust_domains_any_name_of_the_ca_will_do() {
    let root = Authority::new("root");
    let server = ServerTls::new(&DownstreamTls { trust_domains: Vec::new(), ..mutual(&root) }).unwrap();
    for sans in [&["spiffe://elsewhere/a"][..], &["ratings.example"], &[]] {
        let (secured, _) = shake(&server, &as_client(&root, Some(root.issue(sans))), None, false).await;
        let peer = secured.unwrap().peer.unwrap();
        assert_eq!(peer.uri_sans.len() + peer.dns_sans.len(), sans.len());
    }
}

/// What a client says of a server with such a certificate.
async fn mistrusted(sans: &[&str], change: Change<'_>, by: &Authority, settings: UpstreamTls, asked: &str) -> String {
    let server = ServerTls::new(&downstream(by.issue_with(sans, change))).unwrap();
    let client = ClientTls::new(&settings).unwrap();
    let (secured, connected) = shake(&server, &client, Some(asked).filter(|name| !name.is_empty()), false).await;
    match connected {
        Ok(_) => "fine".to_owned(),
        Err(reason) => {
            // The server is told.
            assert!(matches!(secured.err(), Some(TlsError::Refused(_) | TlsError::Closed)));
            reason.to_string()
        }
    }
}

#[tokio::test]
async fn servers_by_their_names() {
    let root = Authority::new("root");
    let listed = |name: &str| upstream(&root, name);
    let sni =
        |name: &str| UpstreamTls { sni: Some(name.to_owned()), subject_alt_names: Vec::new(), ..upstream(&root, "") };
    let auto = UpstreamTls { auto_sni: true, subject_alt_names: Vec::new(), ..upstream(&root, "") };
    let any = UpstreamTls { danger_skip_name_check: true, ..sni("outbound_.8080_.v1_.reviews.shop") };
    let rows: &[(&[&str], UpstreamTls, &str, &str)] = &[
        (&[SERVER], listed(SERVER), "", "fine"),
        (&["a.example", SERVER], listed(SERVER), "", "fine"),
        (&["a.example"], listed("a.example"), "", "fine"),
        (&["*.w.example"], listed("a.w.example"), "", "fine"),
        (&["127.0.0.1"], listed("127.0.0.1"), "", "fine"),
        (
            &[CLIENT],
            listed(SERVER),
            "",
            "the peer's certificate is for spiffe://prod.example/ns/shop/sa/ratings, not for spiffe://prod.example/ns/shop/sa/reviews",
        ),
        (
            &["spiffe://prod.example/ns/shop/sa/reviews.evil"],
            listed(SERVER),
            "",
            "the peer's certificate is for spiffe://prod.example/ns/shop/sa/reviews.evil, not for spiffe://prod.example/ns/shop/sa/reviews",
        ),
        (
            &[],
            listed(SERVER),
            "",
            "the peer's certificate is for no name, not for spiffe://prod.example/ns/shop/sa/reviews",
        ),
        (&["a.example"], sni("a.example"), "", "fine"),
        (&["a.example"], sni("b.example"), "", "the peer's certificate is for a.example, not for b.example"),
        (&["a.example"], auto.clone(), "a.example", "fine"),
        (&["127.0.0.1"], auto.clone(), "127.0.0.1", "fine"),
        (&["::1"], auto.clone(), "[::1]", "fine"),
        (&["a.example"], auto.clone(), "b.example", "the peer's certificate is for a.example, not for b.example"),
        (&["a.example"], auto.clone(), "b_:", "\"b_:\" is no server name"),
        (&[CLIENT], any, "", "fine"),
    ];
    for (sans, settings, asked, expected) in rows {
        let found = mistrusted(sans, &|_| {}, &root, settings.clone(), asked).await;
        assert_eq!(&found, expected, "{sans:?} {settings:?} {asked}");
    }
}

#[tokio::test]
async fn servers_that_are_not_trusted() {
    let (root, other) = (Authority::new("root"), Authority::new("other"));
    let say = |error: TlsError| error.to_string();
    let rows: &[(&Authority, Change<'_>, String)] = &[
        (&other, &|_| {}, say(TlsError::UnknownIssuer)),
        (&root, &|params| params.not_after = date_time_ymd(2020, 1, 1), say(TlsError::Expired)),
        (&root, &|params| params.not_before = date_time_ymd(3020, 1, 1), say(TlsError::NotValidYet)),
        (&root, &|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), say(TlsError::CaAsLeaf)),
        (
            &root,
            &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            say(TlsError::WrongPurpose),
        ),
    ];
    for (by, change, expected) in rows {
        assert_eq!(&mistrusted(&[SERVER], *change, by, upstream(&root, SERVER), "").await, expected);
        let careless = UpstreamTls { danger_skip_verify: true, ..upstream(&root, "nobody") };
        assert_eq!(mistrusted(&[SERVER], *change, by, careless, "").await, "fine");
    }
}

#[tokio::test]
async fn without_a_trusted_ca_the_system_decides() {
    let settings = UpstreamTls { trusted_ca: None, ..upstream(&Authority::new("unused"), SERVER) };
    match ClientTls::new(&settings) {
        Ok(client) => {
            let server = ServerTls::new(&downstream(Authority::new("root").issue(&[SERVER]))).unwrap();
            let (_, connected) = shake(&server, &client, None, false).await;
            assert_eq!(connected.err().unwrap(), TlsError::UnknownIssuer);
        }
        // A machine without any.
        Err(faults) => assert!(faults.len() == 1 && faults[0].starts_with("trustedCa: absent"), "{faults:?}"),
    }
}

/// An authority vouches for identities of its own trust domain, on either side, and for no others.
#[tokio::test]
async fn trust_domains_have_their_own_authorities() {
    let [root, other, extra] = ["root", "other", "extra"].map(Authority::new);
    let bundle = |domains: &[&str], authority: &Authority| TrustBundle {
        trust_domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        trusted_ca: authority.source(),
    };
    let trust_bundles = vec![bundle(&["other.example"], &other), bundle(&[], &extra)];
    let theirs = "spiffe://other.example/ns/shop/sa/carts";
    let mut settings = DownstreamTls { trust_bundles: trust_bundles.clone(), ..mutual(&root) };
    settings.trust_domains.push("other.example".to_owned());
    let server = ServerTls::new(&settings).unwrap();
    let rows: &[(&Authority, &[&str], Option<TlsError>)] = &[
        (&root, &[CLIENT], None),
        (&other, &[theirs], None),
        (&extra, &[CLIENT], None),
        (&extra, &[theirs], None),
        (&other, &[CLIENT], Some(TlsError::UnknownIssuer)),
        (&root, &[theirs], Some(TlsError::UnknownIssuer)),
        (&other, &["carts.example"], Some(TlsError::UnknownIssuer)),
        (&other, &["spiffe://other.example.evil/a"], Some(TlsError::UnknownIssuer)),
        (&extra, &["spiffe://evil.example/a"], Some(TlsError::WrongTrustDomain("evil.example".into()))),
        (&other, &[theirs, CLIENT], Some(TlsError::SeveralTrustDomains)),
        (&root, &[CLIENT, theirs], Some(TlsError::SeveralTrustDomains)),
    ];
    for (by, sans, refusal) in rows {
        let client = as_client(&root, Some(by.issue(sans)));
        match refusal {
            None => {
                let (secured, _) = shake(&server, &client, None, false).await;
                assert_eq!(secured.unwrap().peer.unwrap().uri_sans, *sans);
            }
            Some(refusal) => assert_eq!(&refused_with(&server, client).await, refusal, "{sans:?}"),
        }
        let upstream = UpstreamTls { trust_bundles: trust_bundles.clone(), ..upstream(&root, sans[0]) };
        let expected = match refusal {
            // What is of no trust domain of ours is not called by its name.
            None | Some(TlsError::WrongTrustDomain(_)) => "fine".to_owned(),
            Some(refusal) => refusal.to_string(),
        };
        assert_eq!(mistrusted(sans, &|_| {}, by, upstream, "").await, expected, "{sans:?}");
    }
}
