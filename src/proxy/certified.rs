//! Telling the app who a client is that has shown a certificate: `X-Client-Cert-*`. What clients send of these is dropped,
//! whoever they are: an app that trusts the field trusts us.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{
    client::Client,
    head::{CLIENT_CERTIFICATE, Field, Fields},
};
use crate::tls::Identity;

const FIELDS: usize = 6;
const NAMES: [HeaderName; FIELDS] = [
    HeaderName::from_static("x-client-cert-verify"),
    HeaderName::from_static("x-client-cert-subject"),
    HeaderName::from_static("x-client-cert-issuer"),
    HeaderName::from_static("x-client-cert-serial"),
    HeaderName::from_static("x-client-cert-fingerprint"),
    HeaderName::from_static("x-client-cert-names"),
];

/// What a field's value may not hold, and what the encoding itself needs.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');
/// In a list, what stands between its items, too.
const ITEM: &AsciiSet = &ENCODED.add(b',').add(b' ');

/// A client's certificate as header values, in the order of `NAMES`.
pub(super) struct Certified([HeaderValue; FIELDS]);

impl Certified {
    pub(super) fn of(Identity(facts): &Identity) -> Self {
        let names = facts.all_names().into_iter().chain(facts.others.clone());
        let names: Vec<_> = names
            .map(|name| utf8_percent_encode(&name, ITEM).to_string())
            .collect();
        Self([
            HeaderValue::from_static("success"),
            value(&utf8_percent_encode(&facts.subject, ENCODED).to_string()),
            value(&utf8_percent_encode(&facts.issuer, ENCODED).to_string()),
            value(&facts.serial),
            value(&facts.fingerprint()),
            value(&names.join(", ")),
        ])
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Replaces what a request says of its client's certificate by what the handshake has proved.
pub(super) fn write(headers: &mut HeaderMap, fields: Fields, client: &Client) {
    if fields.has(Field::ClientCertificate) {
        remove(headers);
    }
    if let Some(certified) = &client.certified {
        for (name, value) in NAMES.into_iter().zip(&certified.0) {
            if !value.is_empty() {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// Removes what somebody else says of a client's certificate.
pub(super) fn remove(headers: &mut HeaderMap) {
    let claims = |name: &HeaderName| name.as_str().starts_with(CLIENT_CERTIFICATE);
    if headers.keys().any(claims) {
        let claimed = headers.keys().filter(|name| claims(name));
        for name in claimed.cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
    }
}
