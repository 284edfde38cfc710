//! The one provider of cryptography, and which versions of the protocol it is used for.

use std::sync::Arc;

use rustls::{
    CipherSuite, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    version::{TLS12, TLS13},
};

/// Given to rustls wherever it asks, so that nothing depends on what else is linked.
///
/// Its suites are those of Mozilla's "intermediate" recommendation without finite-field Diffie-Hellman: TLS 1.3's three,
/// and ECDHE with `AES-GCM` or `ChaCha20` for TLS 1.2. Keys are agreed on with X25519MLKEM768 first, which a later quantum computer does not undo.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// That for clients, of whose suites `AES-128-GCM` comes first: it is as safe for as long as anybody can foresee, and its hash,
/// SHA-256, is made by hardware where SHA-384 is a sixth of all that a handshake costs.
pub(super) fn server_provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let rank = |suite: &SupportedCipherSuite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    };
    provider.cipher_suites.sort_by_key(rank);
    Arc::new(provider)
}

/// Whether a client would rather not have AES: it has none in hardware, and knows best.
pub(super) fn prefers_chacha20(offered: &[CipherSuite]) -> bool {
    let known = offered.iter().find_map(|suite| match suite {
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Some(true),
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS13_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Some(false),
        _ => None,
    });
    known == Some(true)
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
