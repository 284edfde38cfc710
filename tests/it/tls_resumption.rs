//! Sessions that are taken up again carry no right from where they were begun to where they are not given.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{
    collections::VecDeque,
    fmt, fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use rustls::{
    ClientConfig, HandshakeKind, NamedGroup, RootCertStore,
    client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{App, Authority, Pair, Proxy, authority, endpoint, proxy, within};

/// Tickets, whoever gave them: a client that shows them everywhere.
#[derive(Default)]
struct Anywhere(Mutex<VecDeque<Tls13ClientSessionValue>>);

impl fmt::Debug for Anywhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anywhere")
    }
}

impl ClientSessionStore for Anywhere {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.lock().unwrap().push_back(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap().pop_back()
    }
}

/// A client with one store of tickets.
struct Visitor(TlsConnector, Arc<Anywhere>);

fn visitor(root: &Authority, pair: Option<&Pair>) -> Visitor {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root.pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = CertificateDer::pem_slice_iter(pair.cert.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let store = Arc::new(Anywhere::default());
    config.resumption = Resumption::store(store.clone());
    Visitor(TlsConnector::from(Arc::new(config)), store)
}

impl Visitor {
    /// How the handshake went, and the head of the answer to a request; an error where there was none.
    async fn visit(
        &self,
        address: SocketAddr,
        host: &'static str,
    ) -> Result<HandshakeKind, String> {
        let visit = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from(host).unwrap();
            let mut stream = self.0.connect(name, stream).await?;
            let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            Ok(kind(&stream))
        };
        let visited: std::io::Result<_> = within("a visit", visit).await;
        visited.map_err(|error| error.to_string())
    }

    fn tickets(&self) -> usize {
        self.1.0.lock().unwrap().len()
    }
}

fn kind(stream: &TlsStream<TcpStream>) -> HandshakeKind {
    stream.get_ref().1.handshake_kind().unwrap()
}

/// Certificates for two hosts, and who vouches for clients.
struct Shelf {
    folder: TempDir,
    root: Authority,
    clients: Authority,
    app: App,
}

impl Shelf {
    async fn new() -> Self {
        let shelf = Self {
            folder: tempfile::tempdir().unwrap(),
            root: authority("root"),
            clients: authority("clients"),
            app: endpoint("blue").start().await,
        };
        for name in ["shop", "more"] {
            let pair = shelf.root.server(&[&format!("{name}.test")]);
            fs::write(shelf.path(&format!("{name}.pem")), pair.cert).unwrap();
            fs::write(shelf.path(&format!("{name}.key")), pair.key).unwrap();
        }
        fs::write(shelf.path("clients.pem"), &shelf.clients.pem).unwrap();
        shelf
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn tls(&self, more: &str) -> String {
        let path = |name: &str, kind| self.path(&format!("{name}.{kind}"));
        let pair = |name: &str| {
            format!(
                "{{ cert = {:?}, key = {:?} }}",
                path(name, "pem"),
                path(name, "key")
            )
        };
        format!(
            "tls.certificates = [{}, {}]\n{more}\n",
            pair("shop"),
            pair("more")
        )
    }

    fn start(&self, more: &str) -> Proxy {
        proxy()
            .listener(&self.tls(more))
            .pool("blue", 100, &[&self.app])
            .start()
    }

    fn guarded(&self) -> String {
        format!(
            "tls.client_auth = {{ ca = {:?} }}",
            self.path("clients.pem")
        )
    }

    /// Gives the listener other rules.
    fn change(&self, proxy: &Proxy, more: &str) {
        let text = format!(
            "[[listeners]]\naddress = \"{}\"\n{}[services.app]\npools.blue.endpoints = [\"{}\"]\n",
            proxy.address,
            self.tls(more),
            self.app.address
        );
        proxy.listen(&text).unwrap();
    }

    fn told(&self) -> String {
        self.app.requests().pop().unwrap_or_default()
    }
}

const SHOP: &str = "shop.test";

#[tokio::test]
async fn t_10_who_comes_back_is_who_it_was() {
    let shelf = Shelf::new().await;
    let proxy = shelf.start(&shelf.guarded());
    let ann = visitor(&shelf.root, Some(&shelf.clients.client("ann")));
    assert_eq!(
        ann.visit(proxy.address, SHOP).await,
        Ok(HandshakeKind::Full)
    );
    assert!(ann.tickets() > 0);
    assert_eq!(
        ann.visit(proxy.address, SHOP).await,
        Ok(HandshakeKind::Resumed)
    );
    assert!(
        shelf.told().contains("x-client-cert-names: ann\r\n"),
        "{}",
        shelf.told()
    );
}

#[tokio::test]
async fn t_10_a_ticket_of_a_time_without_client_certificates_is_worth_nothing_when_they_are_asked_for()
 {
    let shelf = Shelf::new().await;
    let proxy = shelf.start("");
    let visitor = visitor(&shelf.root, None);
    visitor.visit(proxy.address, SHOP).await.unwrap();
    assert_eq!(
        visitor.visit(proxy.address, SHOP).await,
        Ok(HandshakeKind::Resumed)
    );
    assert!(visitor.tickets() > 0);
    shelf.change(&proxy, &shelf.guarded());
    let heard = shelf.app.requests().len();
    // Until the worker has heard of it the old rule holds.
    within("a refusal", async {
        while visitor.visit(proxy.address, SHOP).await.is_ok() {}
    })
    .await;
    for _ in 0..4 {
        visitor.visit(proxy.address, SHOP).await.unwrap_err();
    }
    assert!(shelf.app.requests().len() < heard + 10);
}

#[tokio::test]
async fn t_10_a_ticket_is_worth_nothing_once_another_authority_vouches_for_clients() {
    let shelf = Shelf::new().await;
    let proxy = shelf.start(&shelf.guarded());
    let ann = visitor(&shelf.root, Some(&shelf.clients.client("ann")));
    ann.visit(proxy.address, SHOP).await.unwrap();
    assert_eq!(
        ann.visit(proxy.address, SHOP).await,
        Ok(HandshakeKind::Resumed)
    );
    // In the same file, under the same name.
    let others = authority("others");
    fs::write(shelf.path("clients.pem"), &others.pem).unwrap();
    shelf.change(&proxy, &shelf.guarded());
    within("a refusal", async {
        while ann.visit(proxy.address, SHOP).await.is_ok() {}
    })
    .await;
    ann.visit(proxy.address, SHOP).await.unwrap_err();
    let bob = visitor(&shelf.root, Some(&others.client("bob")));
    assert_eq!(
        bob.visit(proxy.address, SHOP).await,
        Ok(HandshakeKind::Full)
    );
}

#[tokio::test]
async fn t_10_a_ticket_of_one_host_takes_up_nothing_at_another() {
    let shelf = Shelf::new().await;
    let proxy = shelf.start("");
    let visitor = visitor(&shelf.root, None);
    visitor.visit(proxy.address, SHOP).await.unwrap();
    let before = visitor.tickets();
    assert_eq!(
        visitor.visit(proxy.address, "more.test").await,
        Ok(HandshakeKind::Full)
    );
    assert!(before > 0, "there was a ticket to show");
    assert_eq!(
        visitor.visit(proxy.address, "more.test").await,
        Ok(HandshakeKind::Resumed)
    );
}

#[tokio::test]
async fn t_10_a_ticket_of_an_open_listener_opens_no_guarded_one() {
    let shelf = Shelf::new().await;
    let (open, guarded) = (shelf.start(""), shelf.start(&shelf.guarded()));
    let visitor = visitor(&shelf.root, None);
    visitor.visit(open.address, SHOP).await.unwrap();
    assert!(visitor.tickets() > 0);
    let heard = shelf.app.requests().len();
    visitor.visit(guarded.address, SHOP).await.unwrap_err();
    assert_eq!(shelf.app.requests().len(), heard);
    // Two listeners of one process, too.
    let address = crate::support::free_address();
    let text = format!(
        "[[listeners]]\naddress = \"{}\"\n{}[[listeners]]\naddress = \"{address}\"\n{}[services.app]\npools.blue.endpoints = [\"{}\"]\n",
        open.address,
        shelf.tls(""),
        shelf.tls(&shelf.guarded()),
        shelf.app.address
    );
    open.listen(&text).unwrap();
    visitor.visit(open.address, SHOP).await.unwrap();
    assert!(visitor.tickets() > 0);
    visitor.visit(address, SHOP).await.unwrap_err();
}
