//! What a client and a listener agree on, and what a client is told with which they don't.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::sync::Arc;

use cutover::tls::{
    Accepted, Acceptor, Alpn, Authorities, Certificate, ClientAuth, ClientSettings, Connected,
    Failure, Secure, ServerSettings, Tickets, Trust, Version,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedCipherSuite,
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::support::{Authority, Pair, authority, within};

fn certificate(pair: &Pair) -> Certificate {
    Certificate::new(pair.cert.as_bytes(), pair.key.as_bytes()).unwrap()
}

fn authorities(of: &Authority) -> Authorities {
    Authorities::new(of.pem.as_bytes()).unwrap()
}

fn settings(pairs: &[&Pair]) -> ServerSettings {
    ServerSettings {
        certificates: pairs.iter().map(|pair| certificate(pair)).collect(),
        min_version: Version::Tls12,
        h1: true,
        h2: true,
        client_auth: None,
        strict_sni: false,
        tickets: Tickets::new().unwrap(),
        challenges: Arc::default(),
    }
}

fn client(root: &Authority, (h1, h2): (bool, bool)) -> ClientSettings {
    let trust = Trust::Authorities(authorities(root));
    ClientSettings::new(trust, None, None, (h1, h2)).unwrap()
}

/// What came of it on either side.
async fn meet(
    acceptor: &Acceptor,
    client: &ClientSettings,
    host: &str,
) -> (
    Result<Secure, Failure>,
    Result<Connected<DuplexStream>, String>,
) {
    let (near, far) = duplex(64 << 10);
    let server = async {
        let accepted = acceptor.accept(near).await;
        match accepted {
            Ok(Accepted { mut stream, secure }) => {
                // A client of TLS 1.3 learns what we think of its certificate when it reads.
                let _ = stream.write_all(b"!").await;
                Ok(secure)
            }
            Err(refused) => Err(refused.failure),
        }
    };
    let client = async {
        let mut connected = client.connect(far, host).await.map_err(|e| e.to_string())?;
        let mut byte = [0];
        let read = connected.stream.read_exact(&mut byte).await;
        read.map_err(|error| error.to_string())?;
        Ok(connected)
    };
    within("the handshake", async { tokio::join!(server, client) }).await
}

/// What is answered to bytes that are no hello of a client's.
async fn tell(acceptor: &Acceptor, bytes: &[u8]) -> (Failure, Vec<u8>) {
    let (near, mut far) = duplex(64 << 10);
    far.write_all(bytes).await.unwrap();
    let failure = match within("a refusal", acceptor.accept(near)).await {
        Ok(_) => panic!("accepted"),
        Err(refused) => refused.failure,
    };
    let mut answer = Vec::new();
    within("the end", far.read_to_end(&mut answer))
        .await
        .unwrap();
    (failure, answer)
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let (root, other) = (authority("root"), authority("other"));
    let first = other.server(&["first.test"]);
    let shop = root.server(&["shop.test", "*.shop.test"]);
    let acceptor = Acceptor::new(settings(&[&first, &shop])).unwrap();
    for host in ["shop.test", "SHOP.test", "eu.shop.test"] {
        let (secure, connected) = meet(&acceptor, &client(&root, (true, true)), host).await;
        let secure = secure.unwrap();
        assert_eq!(secure.sni.as_deref(), Some(&*host.to_ascii_lowercase()));
        assert_eq!((secure.version, secure.alpn), (Version::Tls13, Alpn::H2));
        assert!(connected.unwrap().h2);
    }
    let (_, connected) = meet(&acceptor, &client(&root, (true, true)), "a.b.shop.test").await;
    assert!(connected.is_err(), "only one label stands for the star");
}

#[tokio::test]
async fn t_04_an_unknown_name_gets_the_first_certificate_or_an_alert() {
    let root = authority("root");
    let pair = root.server(&["shop.test", "10.0.0.1"]);
    let lenient = Acceptor::new(settings(&[&pair])).unwrap();
    let strict = Acceptor::new(ServerSettings {
        strict_sni: true,
        ..settings(&[&pair])
    })
    .unwrap();
    let trusting = ClientSettings::new(Trust::Anybody, None, None, (true, false)).unwrap();
    for host in ["other.test", "10.0.0.1"] {
        let (secure, _) = meet(&lenient, &trusting, host).await;
        secure.map(|_| ()).unwrap();
        let (secure, connected) = meet(&strict, &trusting, host).await;
        assert_eq!(secure.map(|_| ()), Err(Failure::Sni));
        let said = connected.map(|_| ()).unwrap_err();
        assert!(
            said.contains("UnrecogniZedName") || said.contains("UnrecognisedName"),
            "{said}"
        );
    }
    let (secure, _) = meet(&strict, &client(&root, (true, false)), "Shop.Test.").await;
    secure.map(|_| ()).unwrap();
}

#[tokio::test]
async fn a_listener_without_a_certificate_says_so_by_an_alert() {
    let acceptor = Acceptor::new(settings(&[])).unwrap();
    let trusting = ClientSettings::new(Trust::Anybody, None, None, (true, false)).unwrap();
    let (secure, connected) = meet(&acceptor, &trusting, "shop.test").await;
    assert_eq!(secure.map(|_| ()), Err(Failure::NoCertificate));
    let said = connected.map(|_| ()).unwrap_err();
    assert!(said.contains("InternalError"), "{said}");
}

#[tokio::test]
async fn t_05_the_protocol_is_the_servers_first_choice_of_the_clients() {
    let root = authority("root");
    let pair = root.server(&["shop.test"]);
    let both = Acceptor::new(settings(&[&pair])).unwrap();
    let only = |h1, h2| {
        Acceptor::new(ServerSettings {
            h1,
            h2,
            ..settings(&[&pair])
        })
        .unwrap()
    };
    for (acceptor, offers, agreed) in [
        (&both, (true, true), Ok(Alpn::H2)),
        (&both, (true, false), Ok(Alpn::H1)),
        (&both, (false, true), Ok(Alpn::H2)),
        (&both, (false, false), Ok(Alpn::H1)),
        (&only(true, false), (true, true), Ok(Alpn::H1)),
        (&only(true, false), (false, true), Err(Failure::Alpn)),
        (&only(false, true), (true, true), Ok(Alpn::H2)),
        (&only(false, true), (true, false), Err(Failure::Alpn)),
        (&only(false, true), (false, false), Err(Failure::Alpn)),
    ] {
        let (secure, _) = meet(acceptor, &client(&root, offers), "shop.test").await;
        assert_eq!(secure.map(|secure| secure.alpn), agreed, "{offers:?}");
    }
}

#[tokio::test]
async fn t_09_clients_show_certificates_that_are_right() {
    let (root, strangers) = (authority("root"), authority("strangers"));
    let pair = root.server(&["shop.test"]);
    let demanding = |required| {
        let auth = ClientAuth {
            authorities: authorities(&root),
            required,
        };
        Acceptor::new(ServerSettings {
            client_auth: Some(auth),
            ..settings(&[&pair])
        })
        .unwrap()
    };
    let with = |pair: Option<&Pair>| {
        let own = pair.map(certificate);
        let trust = Trust::Authorities(authorities(&root));
        ClientSettings::new(trust, own.as_ref(), None, (true, false)).unwrap()
    };
    let expired = root.sign(&["late"], |params| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let middle = root.intermediate("middle");
    let through = {
        let pair = middle.client("through");
        Pair {
            cert: format!("{}{}", pair.cert, middle.pem),
            key: pair.key,
        }
    };
    for (required, shown, outcome) in [
        (true, Some(root.client("ann")), Ok(Some("CN=ann"))),
        (true, Some(through), Ok(Some("CN=through"))),
        (true, None, Err(Failure::ClientCertificateMissing)),
        (false, None, Ok(None)),
        (false, Some(root.client("ann")), Ok(Some("CN=ann"))),
        (
            true,
            Some(strangers.client("eve")),
            Err(Failure::PeerCertificate),
        ),
        (
            false,
            Some(strangers.client("eve")),
            Err(Failure::PeerCertificate),
        ),
        (true, Some(expired), Err(Failure::PeerCertificate)),
        // For servers only.
        (
            true,
            Some(root.server(&["ann"])),
            Err(Failure::PeerCertificate),
        ),
    ] {
        let (secure, _) = meet(&demanding(required), &with(shown.as_ref()), "shop.test").await;
        let identity = secure.map(|secure| secure.identity.map(|who| who.0.subject.clone()));
        assert_eq!(identity, outcome.map(|who| who.map(Into::into)));
    }
}

#[tokio::test]
async fn t_14_http_in_clear_text_is_told_that_this_is_tls() {
    let acceptor = Acceptor::new(settings(&[&authority("root").server(&["shop.test"])])).unwrap();
    let (failure, answer) = tell(&acceptor, b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await;
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(failure, Failure::NotTls);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())));
    let (failure, answer) = tell(&acceptor, b"\x00\x01\x02\x03").await;
    assert_eq!((failure, answer), (Failure::NotTls, Vec::new()));
}

#[tokio::test]
async fn requests_for_other_hosts_are_not_covered_where_certificates_are_asked_for() {
    let root = authority("root");
    let pair = root.server(&["shop.test", "*.eu.shop.test", "10.0.0.1"]);
    let open = Acceptor::new(settings(&[&pair])).unwrap();
    let guarded = Acceptor::new(ServerSettings {
        client_auth: Some(ClientAuth {
            authorities: authorities(&root),
            required: false,
        }),
        ..settings(&[&pair])
    })
    .unwrap();
    let client = client(&root, (true, false));
    let open = meet(&open, &client, "shop.test").await.0.unwrap();
    let guarded = meet(&guarded, &client, "shop.test").await.0.unwrap();
    for (host, covered) in [
        ("shop.test", true),
        ("SHOP.test.", true),
        ("de.eu.shop.test", true),
        ("10.0.0.1", true),
        ("eu.shop.test", false),
        ("a.de.eu.shop.test", false),
        ("10.0.0.2", false),
        ("[::1]", false),
        ("", false),
    ] {
        assert!(open.covers(host), "{host}");
        assert_eq!(guarded.covers(host), covered, "{host}");
    }
}

#[tokio::test]
async fn t_13_an_endpoint_is_verified_and_the_error_says_why_it_failed() {
    let (root, strangers) = (authority("root"), authority("strangers"));
    let expired = root.sign(&["shop.test"], |params| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    for (pair, says) in [
        (root.server(&["shop.test"]), None),
        (expired, Some("has expired")),
        (root.server(&["other.test"]), Some("is for")),
        (
            strangers.server(&["shop.test"]),
            Some("nobody who is trusted"),
        ),
    ] {
        let acceptor = Acceptor::new(settings(&[&pair])).unwrap();
        let (_, connected) = meet(&acceptor, &client(&root, (true, false)), "shop.test").await;
        match (connected, says) {
            (Ok(_), None) => {}
            (Err(said), Some(says)) => assert!(said.contains(says), "{said}: {says}"),
            (outcome, says) => panic!("{:?} instead of {says:?}", outcome.map(|_| ())),
        }
        let trusting = ClientSettings::new(Trust::Anybody, None, None, (true, false)).unwrap();
        let (_, connected) = meet(&acceptor, &trusting, "shop.test").await;
        connected.map(|_| ()).unwrap();
    }
}

#[tokio::test]
async fn an_endpoint_may_have_another_name_than_its_host() {
    let root = authority("root");
    let acceptor = Acceptor::new(settings(&[&root.server(&["inner.test"])])).unwrap();
    let trust = Trust::Authorities(authorities(&root));
    let named = ClientSettings::new(trust, None, Some("inner.test"), (true, false)).unwrap();
    let (secure, connected) = meet(&acceptor, &named, "10.1.2.3").await;
    connected.map(|_| ()).unwrap();
    assert_eq!(secure.unwrap().sni.as_deref(), Some("inner.test"));
}

#[tokio::test]
async fn clients_get_aes_128_and_those_without_aes_in_hardware_what_they_ask_for() {
    let root = authority("root");
    let acceptor = Acceptor::new(settings(&[&root.server(&["shop.test"])])).unwrap();
    for (version, order, chosen) in [
        (&TLS13, ["AES_256", "AES_128", "CHACHA20"], "AES_128"),
        (&TLS13, ["AES_256", "CHACHA20", ""], "AES_256"),
        (&TLS13, ["CHACHA20", "AES_128", "AES_256"], "CHACHA20"),
        (&TLS12, ["AES_256", "AES_128", "CHACHA20"], "AES_128"),
        (&TLS12, ["CHACHA20", "AES_256", "AES_128"], "CHACHA20"),
    ] {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        let place = |suite: &SupportedCipherSuite| {
            let name = format!("{:?}", suite.suite());
            order
                .iter()
                .position(|part| !part.is_empty() && name.contains(part))
        };
        provider
            .cipher_suites
            .retain(|suite| place(suite).is_some());
        provider.cipher_suites.sort_by_key(place);
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(root.pem.as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = duplex(64 << 10);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let connect = connector.connect("shop.test".try_into().unwrap(), far);
        let (accepted, connected) = within("the handshake", async {
            tokio::join!(acceptor.accept(near), connect)
        })
        .await;
        connected.unwrap();
        let stream = accepted.map_err(|refused| refused.detail).unwrap().stream;
        let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap();
        let suite = format!("{:?}", suite.suite());
        assert!(suite.contains(chosen), "{order:?}: {suite}");
    }
}
