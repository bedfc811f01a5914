//! Handshakes in memory: every way in which one must fail, and what is known after one that has not.

use crate::tls::client::{Agreed, ClientTls};
use crate::tls::error::TlsError;
use crate::tls::server::ServerTls;
use crate::tls::test_certificates::{Authority, Change, downstream, shake, upstream};
use compiler::snapshot::{DataSource, DownstreamTls, TlsCertificate, TlsVersion, UpstreamTls};
use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SERVER: &str = "spiffe://prod.example/ns/shop/sa/reviews";
const CLIENT: &str = "spiffe://prod.example/ns/shop/sa/ratings";

fn mutual(authority: &Authority) -> DownstreamTls {
    DownstreamTls {
        trusted_ca: Some(authority.source()),
        require_client_certificate: true,
        trust_domains: vec!["prod.example".into(), "old.example".into()],
        ..downstream(authority.issue(&[SERVER]))
    }
}

fn as_client(authority: &Authority, certificate: Option<TlsCertificate>) -> ClientTls {
    ClientTls::new(&UpstreamTls { certificate, ..upstream(authority, SERVER) }).unwrap()
}

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

#[tokio::test]
async fn application_protocols() {
    let root = Authority::new("root");
    // What the server has, what the client is told to offer, whether it wants HTTP/2; what comes of it.
    let rows: &[(&[&str], &[&str], bool, Agreed)] = &[
        (&["h2", "http/1.1"], &[], true, Agreed::Http2),
        (&["h2", "http/1.1"], &[], false, Agreed::Unsaid),
        (&["h2", "http/1.1"], &["h2", "http/1.1"], true, Agreed::Http2),
        (&["h2", "http/1.1"], &["h2", "http/1.1"], false, Agreed::Http1),
        (&["http/1.1"], &["h2", "http/1.1"], true, Agreed::Http1),
        (&["http/1.1"], &[], true, Agreed::Unsaid),
        (&["h2", "http/1.1"], &["istio"], false, Agreed::Unsaid),
        (&["istio", "h2"], &["istio"], false, Agreed::Unsaid),
        (&[], &["http/1.1"], true, Agreed::Unsaid),
    ];
    for (server, offered, http2, expected) in rows {
        let owned = |list: &[&str]| list.iter().map(|protocol| (*protocol).to_owned()).collect::<Vec<_>>();
        let settings = DownstreamTls { alpn: owned(server), ..downstream(root.issue(&[SERVER])) };
        let client = UpstreamTls { alpn: owned(offered), ..upstream(&root, SERVER) };
        let (server_tls, client) = (ServerTls::new(&settings).unwrap(), ClientTls::new(&client).unwrap());
        let (secured, connected) = shake(&server_tls, &client, None, *http2).await;
        assert!(secured.is_ok());
        assert_eq!(connected.unwrap().1, *expected, "{server:?} {offered:?} {http2}");
    }
}

#[tokio::test]
async fn sessions_are_resumed_with_who_the_client_is() {
    let root = Authority::new("root");
    let server = ServerTls::new(&mutual(&root)).unwrap();
    let client = as_client(&root, Some(root.issue(&[CLIENT])));
    let mut kinds = Vec::new();
    for round in 0..3 {
        if round == 2 {
            server.reload().unwrap();
        }
        let (secured, connected) = shake(&server, &client, None, false).await;
        let (mut secured, (mut stream, _)) = (secured.unwrap(), connected.unwrap());
        assert_eq!(secured.peer.unwrap().uri_sans, [CLIENT]);
        // The tickets come before what the server says first.
        secured.stream.write_all(b"x").await.unwrap();
        secured.stream.flush().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        kinds.push(stream.get_ref().1.handshake_kind());
    }
    let [full, resumed] = [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)];
    assert_eq!(kinds, [full, resumed, full]);
}

#[tokio::test]
async fn one_of_several_certificates_by_server_name() {
    let root = Authority::new("root");
    let mut settings = downstream(root.issue(&["first.example"]));
    settings.certificates.push(root.issue(&["*.w.example", "W.example"]));
    settings.certificates.push(root.issue(&["a.w.example"]));
    let server = ServerTls::new(&settings).unwrap();
    let client = UpstreamTls { danger_skip_verify: true, auto_sni: true, ..UpstreamTls::default() };
    let client = ClientTls::new(&client).unwrap();
    for (asked, expected) in [
        (Some("first.example"), "first.example"),
        (Some("b.w.example"), "*.w.example"),
        (Some("w.example"), "*.w.example"),
        (Some("A.W.example"), "a.w.example"),
        (Some("b.a.w.example"), "first.example"),
        (None, "first.example"),
    ] {
        let (secured, _) = shake(&server, &client, asked, false).await;
        assert_eq!(secured.unwrap().local.dns_sans[0], expected, "{asked:?}");
    }
}

#[tokio::test]
async fn a_reload_reads_the_files_again_or_changes_nothing() {
    let root = Authority::new("root");
    let folder = std::env::temp_dir().join(format!("outrigger-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let files = TlsCertificate {
        certificate_chain: DataSource::File(folder.join("chain.pem")),
        private_key: DataSource::File(folder.join("key.pem")),
    };
    let write = |certificate: &TlsCertificate, key: &TlsCertificate| {
        let (DataSource::Inline(chain), DataSource::Inline(key)) = (&certificate.certificate_chain, &key.private_key)
        else {
            unreachable!()
        };
        std::fs::write(folder.join("chain.pem"), chain).unwrap();
        std::fs::write(folder.join("key.pem"), key).unwrap();
    };
    let (old, new) = (root.issue(&[SERVER, "old"]), root.issue(&[SERVER, "new"]));
    write(&old, &old);
    let server = ServerTls::new(&downstream(files)).unwrap();
    let client = as_client(&root, None);
    let served = async || shake(&server, &client, None, false).await.0.unwrap().local.dns_sans.clone();
    assert_eq!(served().await, ["old"]);
    write(&new, &old);
    let faults = server.reload().unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].ends_with("key.pem): the private key is not that of the certificate"), "{faults:?}");
    assert_eq!(served().await, ["old"]);
    write(&new, &new);
    server.reload().unwrap();
    assert_eq!(served().await, ["new"]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn every_fault_of_a_transport_socket_at_once() {
    let root = Authority::new("root");
    let inline = |text: &str| DataSource::Inline(text.to_owned());
    let (good, other) = (root.issue(&[SERVER]), root.issue(&[SERVER]));
    let mut settings = DownstreamTls {
        trusted_ca: Some(inline("")),
        cipher_suites: vec!["ECDHE-NONE".into()],
        ..downstream(TlsCertificate { private_key: other.private_key, ..good.clone() })
    };
    settings.certificates.push(TlsCertificate {
        certificate_chain: DataSource::File("/nonexistent/chain.pem".into()),
        private_key: inline("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"),
    });
    settings.certificates.push(TlsCertificate { certificate_chain: inline("x"), private_key: inline("y") });
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    settings.certificates.push(TlsCertificate { certificate_chain: inline(damaged), ..good.clone() });
    let faults = ServerTls::new(&settings).err().unwrap();
    let expected = [
        "cipherSuites: \"ECDHE-NONE\" is no cipher suite of TLS 1.2",
        "cipherSuites: none of them has forward secrecy and an authenticated cipher",
        "trustedCa (inline): there is no PEM certificate in it",
        "certificates[0].privateKey (inline): the private key is not that of the certificate",
        "certificates[1].certificateChain (/nonexistent/chain.pem): No such file or directory (os error 2)",
        "certificates[1].privateKey (inline): the private key is encrypted, and there is nothing to decrypt it with",
        "certificates[2].certificateChain (inline): there is no PEM certificate in it",
        "certificates[2].privateKey (inline): there is no PEM private key in it",
    ];
    assert_eq!(faults[..expected.len()], expected);
    assert_eq!(faults.len(), expected.len() + 1, "{faults:?}");
    assert!(faults[8].starts_with("certificates[3].certificateChain (inline): "), "{}", faults[8]);

    let no_ca = DownstreamTls { require_client_certificate: true, ..downstream(good.clone()) };
    assert_eq!(ServerTls::new(&no_ca).err().unwrap().len(), 1);
    let none = DownstreamTls { certificates: Vec::new(), ..downstream(good) };
    assert_eq!(ServerTls::new(&none).err().unwrap(), ["certificates: there is none"]);

    let nameless = UpstreamTls { trusted_ca: Some(root.source()), ..UpstreamTls::default() };
    let faults = ClientTls::new(&nameless).err().unwrap();
    assert!(faults.len() == 1 && faults[0].starts_with("subjectAltNames: there is none"), "{faults:?}");
    let sni = UpstreamTls { sni: Some("a b".into()), trusted_ca: Some(inline(damaged)), ..UpstreamTls::default() };
    let faults = ClientTls::new(&sni).err().unwrap();
    assert_eq!(faults[0], "sni: \"a b\" is no server name");
    assert!(faults[1].starts_with("trustedCa (inline): certificate 1 cannot be a CA: "), "{faults:?}");
}

#[tokio::test]
async fn versions_and_cipher_suites() {
    let root = Authority::new("root");
    let certificate = root.issue(&[SERVER]);
    let suite = |name: &str| DownstreamTls { cipher_suites: vec![name.into()], ..downstream(certificate.clone()) };
    let newest = DownstreamTls { min_protocol_version: TlsVersion::Tls13, ..downstream(certificate.clone()) };
    let rows = [
        (downstream(certificate.clone()), Ok("TLSv1.2")),
        (suite("ECDHE-ECDSA-AES128-GCM-SHA256"), Ok("TLSv1.2")),
        (suite("ECDHE-RSA-AES128-GCM-SHA256"), Err("NoCommonAlgorithm")),
        (newest, Err("NoCommonVersion")),
    ];
    for (settings, expected) in rows {
        let server = ServerTls::new(&settings).unwrap();
        let (near, far) = tokio::io::duplex(64 << 10);
        let (secured, _) = tokio::join!(super::test_certificates::accept(&server, far), connect_with_tls12(near));
        match (secured, expected) {
            (Ok(secured), Ok(version)) => assert_eq!(secured.version, Some(version)),
            (Err(error), Err(expected)) => assert!(format!("{error:?}").starts_with(expected), "{error}"),
            (secured, expected) => panic!("{:?} instead of {expected:?}", secured.err()),
        }
    }
}

/// A client of TLS 1.2 that verifies nothing.
async fn connect_with_tls12(io: tokio::io::DuplexStream) {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = super::verify::UpstreamVerifier {
        roots: None,
        algorithms: provider.signature_verification_algorithms,
        expected: super::verify::ExpectedName::Any,
    };
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(verifier))
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let _ = connector.connect(super::test_certificates::ADDRESS.into(), io).await;
}
