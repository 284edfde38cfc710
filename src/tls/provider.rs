//! The one provider of cryptography, and which versions of the protocol it is used for.

use std::sync::Arc;

use rustls::{
    SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    version::{TLS12, TLS13},
};

/// Given to rustls wherever it asks, so that nothing depends on what else is linked.
///
/// Its suites are those of Mozilla's "intermediate" recommendation without finite-field Diffie-Hellman: TLS 1.3's three,
/// and ECDHE with `AES-GCM` or `ChaCha20` for TLS 1.2. A client's own order is kept, as recommended there: it knows whether it
/// has AES in hardware. Keys are agreed on with X25519MLKEM768 first, which a later quantum computer does not undo.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The oldest version of TLS that is spoken; TLS 1.1 and older are not (RFC 8996).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    #[default]
    Tls12,
    Tls13,
}

impl Version {
    pub(super) fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
        match self {
            Self::Tls12 => BOTH,
            Self::Tls13 => &BOTH[..1],
        }
    }

    pub fn as_number(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}
