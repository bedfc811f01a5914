//! What settings lead to: protocols, versions, sessions, certificates, faults.

use super::{CLIENT, SERVER, as_client, mutual};
use crate::tls::client::{Agreed, ClientTls};
use crate::tls::server::ServerTls;
use crate::tls::test_certificates::{self, Authority, downstream, shake, upstream};
use crate::tls::verify;
use compiler::snapshot::{DataSource, DownstreamTls, TlsCertificate, TlsVersion, UpstreamTls};
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
        let (secured, _) = tokio::join!(test_certificates::accept(&server, far), connect_with_tls12(near));
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
    let verifier = verify::UpstreamVerifier {
        roots: None,
        algorithms: provider.signature_verification_algorithms,
        expected: verify::ExpectedName::Any,
    };
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(verifier))
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let _ = connector.connect(test_certificates::ADDRESS.into(), io).await;
}
