//! A certificate is taken whole or not at all, and the error says what is wrong and what to do.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::time::{Duration, SystemTime};

use cutover::tls::{Authorities, Certificate, CertificateError};

use crate::support::{Pair, authority};

fn read(pair: &Pair) -> Result<Certificate, CertificateError> {
    Certificate::new(pair.cert.as_bytes(), pair.key.as_bytes())
}

fn refused(cert: &str, key: &str) -> CertificateError {
    let read = Certificate::new(cert.as_bytes(), key.as_bytes());
    read.map(|_| "taken").unwrap_err()
}

#[test]
fn a_certificate_tells_its_names_its_time_and_its_fingerprint() {
    let pair = authority("root").sign(&["Shop.test", "*.shop.test", "10.0.0.1"], |params| {
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
    });
    let certificate = read(&pair).unwrap();
    let facts = certificate.facts();
    assert_eq!(facts.names, ["shop.test", "*.shop.test"]);
    assert_eq!(facts.all_names(), ["shop.test", "*.shop.test", "10.0.0.1"]);
    assert_eq!(facts.subject, "CN=Shop.test");
    assert_eq!(facts.not_after, 1_927_843_200);
    assert_eq!(facts.fingerprint().len(), 64);
}

#[test]
fn chain_and_key_may_stand_in_one_file() {
    let pair = authority("root").server(&["shop.test"]);
    let both = format!("{}{}", pair.key, pair.cert);
    read(&Pair {
        cert: both.clone(),
        key: both,
    })
    .unwrap();
}

#[test]
fn t_11_what_cannot_be_shown_to_a_client_is_refused_with_its_reason() {
    let root = authority("root");
    let pair = root.server(&["shop.test"]);
    let other = root.server(&["other.test"]);
    let half = &pair.cert[..pair.cert.len() / 2];
    let half_key = &pair.key[..pair.key.len() / 2];
    for (cert, key, says) in [
        ("", &*pair.key, "certificate's file is empty"),
        (" \n", &*pair.key, "certificate's file is empty"),
        (&*pair.cert, "", "key's file is empty"),
        ("what is this?", &*pair.key, "holds no certificate"),
        (&*pair.key, &*pair.key, "holds no certificate"),
        (&*pair.cert, &*pair.cert, "holds no private key"),
        (half, &*pair.key, "cut off: `-----END CERTIFICATE-----`"),
        (
            &*pair.cert,
            half_key,
            "cut off: `-----END PRIVATE KEY-----`",
        ),
        (&*pair.cert, &*other.key, "belongs to another one"),
    ] {
        let error = refused(cert, key).to_string();
        assert!(error.contains(says), "{error:?} says {says:?}");
    }
}

#[test]
fn t_11_a_block_that_holds_no_certificate_is_refused() {
    let pair = authority("root").server(&["shop.test"]);
    let lines: Vec<_> = pair.cert.lines().collect();
    let torn = [&lines[..3], &lines[4..]].concat().join("\n");
    let error = refused(&torn, &pair.key);
    assert!(
        matches!(
            error,
            CertificateError::Unreadable { place: 1, .. } | CertificateError::Garbage(_)
        ),
        "{error}"
    );
    let empty = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
    assert!(matches!(
        refused(empty, &pair.key),
        CertificateError::Unreadable { .. }
    ));
    let letters = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    assert!(matches!(
        refused(letters, &pair.key),
        CertificateError::Garbage(_)
    ));
}

#[test]
fn the_servers_own_certificate_stands_first() {
    let root = authority("root");
    let middle = root.intermediate("middle");
    let pair = middle.server(&["shop.test"]);
    let wrong = format!("{}{}", middle.pem, pair.cert);
    assert_eq!(refused(&wrong, &pair.key), CertificateError::WrongOrder(2));
    let right = format!("{}{}", pair.cert, middle.pem);
    Certificate::new(right.as_bytes(), pair.key.as_bytes()).unwrap();
}

#[test]
fn a_chain_of_a_hundred_is_somebodys_store() {
    let pair = authority("root").server(&["shop.test"]);
    let error = refused(&pair.cert.repeat(100), &pair.key);
    assert_eq!(error, CertificateError::TooLong(100));
}

#[test]
fn an_encrypted_key_is_told_from_none() {
    let pair = authority("root").server(&["shop.test"]);
    let encrypted = pair.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert_eq!(refused(&pair.cert, &encrypted), CertificateError::Encrypted);
}

#[test]
fn t_11_a_certificate_has_its_time() {
    let pair = authority("root").sign(&["shop.test"], |params| {
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 6, 1);
    });
    let certificate = read(&pair).unwrap();
    let at = |seconds| certificate.at(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(
        at(1_893_455_999).unwrap_err().to_string(),
        "the certificate is not valid before 2030-01-01T00:00:00Z"
    );
    at(1_893_456_000).unwrap();
    at(1_906_502_400).unwrap();
    assert_eq!(
        at(1_906_502_401).unwrap_err().to_string(),
        "the certificate expired at 2030-06-01T00:00:00Z"
    );
}

#[test]
fn authorities_are_at_least_one_and_each_a_certificate() {
    let root = authority("root");
    Authorities::new(root.pem.as_bytes()).map(|_| ()).unwrap();
    for (text, says) in [
        (String::new(), "holds no certificate"),
        ("nothing".into(), "holds no certificate"),
        (root.pem[..200].into(), "no PEM"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
            "certificate 1 cannot be read",
        ),
    ] {
        let error = Authorities::new(text.as_bytes()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}: {says}");
    }
}
