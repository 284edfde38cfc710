//! Records of TLS that lead nowhere, of which a client could send any number. What comes after the handshake is in
//! `tests/suites/tls`.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::fs;

use tempfile::TempDir;

use crate::support::{App, PATIENCE, Proxy, authority, endpoint, proxy};

/// A record (RFC 8446 §5.1) that says it has this length.
fn record(kind: u8, length: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 3, 3];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

async fn safe() -> (TempDir, App, Proxy) {
    let folder = tempfile::tempdir().unwrap();
    let pair = authority("root").server(&["shop.test"]);
    let path = |name| folder.path().join(name);
    fs::write(path("cert"), pair.cert).unwrap();
    fs::write(path("key"), pair.key).unwrap();
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener(&format!(
            "tls.certificates = [{{ cert = \"{}\", key = \"{}\" }}]\ntimeouts.handshake = \"60s\"",
            path("cert").display(),
            path("key").display()
        ))
        .pool("blue", 100, &[&app])
        .start();
    (folder, app, proxy)
}

#[tokio::test]
async fn t_06_records_that_lead_to_no_handshake_end_it_long_before_its_time_is_over() {
    let (_folder, app, proxy) = safe().await;
    let floods = [
        ("change_cipher_spec", record(CHANGE_CIPHER_SPEC, 1, &[1])),
        (
            "change_cipher_spec of no meaning",
            record(CHANGE_CIPHER_SPEC, 1, &[2]),
        ),
        ("warnings", record(ALERT, 2, &[1, 100])),
        ("close_notify", record(ALERT, 2, &[1, 0])),
        ("alerts of no meaning", record(ALERT, 2, &[1, 77])),
        ("a fatal alert", record(ALERT, 2, &[2, 40])),
        ("empty handshake records", record(HANDSHAKE, 0, &[])),
        ("empty records", record(APPLICATION_DATA, 0, &[])),
        (
            "data before a key",
            record(APPLICATION_DATA, 100, &[0; 100]),
        ),
        ("records of no type", record(99, 1, &[0])),
        (
            "huge records",
            record(HANDSHAKE, u16::MAX, &vec![1; 65_535]),
        ),
        (
            "a hello of 16 MiB",
            record(
                HANDSHAKE,
                16_384,
                &[&[1, 255, 255, 255][..], &[0; 16_380]].concat(),
            ),
        ),
        (
            "hellos of no meaning",
            record(HANDSHAKE, 5, &[1, 0, 0, 1, 0]),
        ),
        (
            "messages of the server's",
            record(HANDSHAKE, 4, &[2, 0, 0, 0]),
        ),
        ("KeyUpdates", record(HANDSHAKE, 5, &[24, 0, 0, 1, 1])),
    ];
    for (what, bytes) in floods {
        let mut client = proxy.client().await;
        // Bounded, so that what is not ended shows.
        let flood = bytes.repeat((4 << 20) / bytes.len() + 1);
        let _ = client.try_send(&flood).await;
        let closed = tokio::time::timeout(PATIENCE / 2, client.until_closed()).await;
        assert!(closed.is_ok(), "{what}: the connection goes on");
    }
    assert_eq!(app.requests(), [""; 0]);
    proxy
        .until("connections to end", |proxy| {
            proxy.server().gauge().connections()[0].1 == 0
        })
        .await;
}
