//! What a handshake has proved of the one on the other end.

use std::sync::Arc;

use rustls::{CommonState, ProtocolVersion};

use super::{
    certificate::Certificate,
    facts::Facts,
    names::{covers, normal},
    provider::Version,
};

/// What was agreed on with a client, for as long as its connection lives.
#[derive(Clone)]
pub struct Secure {
    pub version: Version,
    pub alpn: Alpn,
    /// The name it asked for, in lower case and without a last dot.
    pub sni: Option<Box<str>>,
    /// Whose certificate was verified.
    pub identity: Option<Arc<Identity>>,
    /// The certificate it was shown, where clients have to show one too.
    guarded: Option<Certificate>,
}

/// The protocol that was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// Also where the client asked for nothing.
    H1,
    H2,
}

/// The verified owner of a connection's other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity(pub Facts);

impl Secure {
    pub(super) fn new(
        common: &CommonState,
        sni: Option<&str>,
        identity: Option<Identity>,
        guarded: Option<Certificate>,
    ) -> Self {
        Self {
            version: match common.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
                _ => Version::Tls13,
            },
            alpn: match common.alpn_protocol() {
                Some(b"h2") => Alpn::H2,
                _ => Alpn::H1,
            },
            sni: sni.and_then(normal).map(Into::into),
            identity: identity.map(Arc::new),
            guarded,
        }
    }

    /// Whether requests for `host` may come over this connection. Where clients are asked for certificates, a request for a
    /// host that the certificate shown to the client does not name belongs on a connection of its own
    /// (421, RFC 9110 §15.5.20): it may be guarded otherwise elsewhere.
    pub fn covers(&self, host: &str) -> bool {
        self.guarded
            .as_ref()
            .is_none_or(|certificate| covers(certificate.facts(), host))
    }
}
