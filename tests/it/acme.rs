//! Certificates are got from a real authority (Debian's pebble), kept, and renewed.
#![cfg(feature = "acme")]
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{path::Path, sync::Arc, time::Duration};

use cutover::{
    acme::{Issued, Job, Keeper, Method, News, Outcome},
    tls::{Acceptor, Challenges, ServerSettings, Tickets, Version},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc::UnboundedReceiver, watch},
    task::JoinHandle,
};

use crate::support::{Pebble, pebble, within};

/// A keeper, with what it has and what it tells.
struct Kept {
    keeper: Keeper,
    issued: watch::Receiver<Issued>,
    news: UnboundedReceiver<News>,
    challenges: Arc<Challenges>,
}

fn keeper(state_dir: &Path) -> Kept {
    let challenges = Arc::<Challenges>::default();
    let (keeper, issued, news) = Keeper::new(state_dir, challenges.clone());
    Kept {
        keeper,
        issued,
        news,
        challenges,
    }
}

impl Kept {
    async fn outcome(&mut self) -> Outcome {
        let news = within("news of a certificate", self.news.recv()).await;
        news.unwrap().outcome
    }

    fn fingerprint(&self) -> Option<String> {
        let issued = self.issued.borrow();
        issued.values().next().map(|one| one.facts().fingerprint())
    }
}

fn job(pebble: &Pebble, method: Method) -> Job {
    Job {
        directory: pebble.directory.clone(),
        host: "shop.test".into(),
        email: Some("ops@shop.test".into()),
        ca: Some(pebble.ca.clone().into()),
        method,
        renew_before: Duration::from_hours(24),
    }
}

/// Answers as a listener in clear text does.
fn answer_http(listener: TcpListener, challenges: Arc<Challenges>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let answer = match challenges.answer(path) {
                Some(proof) => format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{proof}",
                    proof.len()
                ),
                None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    .into(),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
}

async fn port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn a_certificate_is_got_by_http_kept_and_found_again_after_a_restart() {
    let (listener, http) = port().await;
    let Some(pebble) = pebble(http, 1, 3600).await else {
        return;
    };
    let state = tempfile::tempdir().unwrap();
    let mut first = keeper(state.path());
    let server = answer_http(listener, first.challenges.clone());
    first.keeper.keep(vec![job(&pebble, Method::Http01)]);
    assert_eq!(first.fingerprint(), None);
    let outcome = first.outcome().await;
    assert!(matches!(outcome, Outcome::Obtained { .. }), "{outcome:?}");
    let fingerprint = first.fingerprint().unwrap();
    drop(first);
    server.abort();
    let mut second = keeper(state.path());
    second.keeper.keep(vec![job(&pebble, Method::Http01)]);
    assert_eq!(
        second.fingerprint(),
        Some(fingerprint),
        "at once, from disk"
    );
    second.keeper.keep(Vec::new());
    assert_eq!(second.fingerprint(), None, "nobody wants it any more");
}

/// Answers as a listener with TLS does that has no certificate yet.
fn answer_tls(listener: TcpListener, challenges: Arc<Challenges>) -> JoinHandle<()> {
    let acceptor = Acceptor::new(ServerSettings {
        certificates: Vec::new(),
        min_version: Version::Tls12,
        h1: true,
        h2: true,
        client_auth: None,
        strict_sni: false,
        tickets: Tickets::new().unwrap(),
        challenges,
    });
    let acceptor = acceptor.unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let refused = acceptor.accept(stream).await;
            assert!(refused.is_err(), "nobody is let in");
        }
    })
}

#[tokio::test]
async fn a_certificate_is_got_by_a_handshake_and_renewed_before_its_end() {
    let (listener, tls) = port().await;
    let Some(pebble) = pebble(1, tls, 8).await else {
        return;
    };
    let state = tempfile::tempdir().unwrap();
    let mut kept = keeper(state.path());
    let server = answer_tls(listener, kept.challenges.clone());
    kept.keeper.keep(vec![job(&pebble, Method::TlsAlpn01)]);
    let outcome = kept.outcome().await;
    assert!(matches!(outcome, Outcome::Obtained { .. }), "{outcome:?}");
    let first = kept.issued.borrow().values().next().unwrap().clone();
    let outcome = kept.outcome().await;
    assert!(matches!(outcome, Outcome::Obtained { .. }), "{outcome:?}");
    let second = kept.issued.borrow().values().next().unwrap().clone();
    assert_ne!(first.facts().fingerprint, second.facts().fingerprint);
    first
        .at(std::time::SystemTime::now())
        .expect("still valid when it is replaced");
    server.abort();
}

#[tokio::test]
async fn a_proof_that_is_not_found_fails_with_what_the_authority_says() {
    let (listener, http) = port().await;
    let Some(pebble) = pebble(http, 1, 3600).await else {
        return;
    };
    let state = tempfile::tempdir().unwrap();
    let mut kept = keeper(state.path());
    let server = answer_http(listener, Arc::default());
    kept.keeper.keep(vec![job(&pebble, Method::Http01)]);
    match kept.outcome().await {
        Outcome::Failed { why, again } => {
            assert!(
                why.contains("404") || why.contains("Invalid response"),
                "{why}"
            );
            assert!(again >= Duration::from_mins(1));
        }
        other @ Outcome::Obtained { .. } => panic!("{other:?}"),
    }
    server.abort();
}

#[tokio::test]
async fn an_authority_that_is_not_there_is_tried_again() {
    let nobody = Pebble::nobody();
    let state = tempfile::tempdir().unwrap();
    let mut kept = keeper(state.path());
    kept.keeper.keep(vec![job(&nobody, Method::Http01)]);
    let outcome = kept.outcome().await;
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
}
