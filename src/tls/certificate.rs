//! A chain of certificates with the key of its first one: taken whole or not at all.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject, SectionKind},
    },
    sign::CertifiedKey,
};

use super::facts::{self, Facts};

/// A chain longer than this is somebody's whole store, and each handshake would carry it.
const LONGEST_CHAIN: usize = 16;

/// A certificate that can be shown, with its chain, its key, and what it says. Cheap to clone.
#[derive(Clone)]
pub struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    facts: Arc<Facts>,
}

/// Why a certificate is not taken: what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("the certificate's file is empty")]
    Empty,
    #[error("the certificate's file holds no certificate (no `-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    #[error("the certificate's file is cut off: `{0}` is missing")]
    CutOff(String),
    #[error("the certificate's file is no PEM: {0}")]
    Garbage(String),
    #[error("certificate {place} of the chain cannot be read: {why}")]
    Unreadable { place: usize, why: String },
    #[error("the chain has {0} certificates; at most {LONGEST_CHAIN} are shown to clients")]
    TooLong(usize),
    #[error("the key's file is empty")]
    EmptyKey,
    #[error("the key's file holds no private key (no `-----BEGIN PRIVATE KEY-----`)")]
    NoKey,
    #[error("the key is encrypted; `openssl pkey -in KEY -out PLAIN` decrypts it")]
    Encrypted,
    #[error("the key's file is cut off: `{0}` is missing")]
    KeyCutOff(String),
    #[error("the key's file is no PEM: {0}")]
    GarbageKey(String),
    #[error("the key cannot be used: {0}")]
    UnusableKey(String),
    #[error("the key is not the certificate's: it belongs to another one")]
    Mismatch,
    #[error(
        "the key is that of certificate {0} of the chain; the server's own certificate must stand first"
    )]
    WrongOrder(usize),
    #[error("the certificate expired at {0}")]
    Expired(String),
    #[error("the certificate is not valid before {0}")]
    NotYetValid(String),
}

impl CertificateError {
    /// Whether it is the key's file that must change.
    pub fn is_of_key(&self) -> bool {
        matches!(
            self,
            Self::EmptyKey
                | Self::NoKey
                | Self::Encrypted
                | Self::KeyCutOff(_)
                | Self::GarbageKey(_)
                | Self::UnusableKey(_)
                | Self::Mismatch
        )
    }
}

impl Certificate {
    /// Reads a chain and a key from PEM; both may stand in one file, and be given twice. Everything is judged but the time.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain = read_chain(chain)?;
        let key = read_key(key)?;
        Self::of(chain, &key)
    }

    pub(super) fn of(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let mut facts = Vec::with_capacity(chain.len());
        for (index, certificate) in chain.iter().enumerate() {
            facts.push(
                Facts::of(certificate).map_err(|why| CertificateError::Unreadable {
                    place: index + 1,
                    why,
                })?,
            );
        }
        let provider = super::provider::provider();
        let key = signing(&provider, chain, key)?;
        Ok(Self {
            key: Arc::new(key),
            facts: Arc::new(facts.swap_remove(0)),
        })
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The first of the chain, as it stands.
    pub fn der(&self) -> &CertificateDer<'static> {
        // A chain has at least one, or it is not taken.
        &self.key.cert[0]
    }

    /// Whether it may be shown at this time.
    pub fn at(&self, now: SystemTime) -> Result<(), CertificateError> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if now > self.facts.not_after {
            return Err(CertificateError::Expired(moment(self.facts.not_after)));
        }
        if now < self.facts.not_before {
            return Err(CertificateError::NotYetValid(moment(self.facts.not_before)));
        }
        Ok(())
    }
}

/// Equal where a client could not tell the difference.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.key, &other.key)
            || (self.facts.fingerprint == other.facts.fingerprint
                && self.key.cert == other.key.cert)
    }
}

impl Eq for Certificate {}

/// Never the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({:?})", self.facts.names)
    }
}

fn read_chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    if text.trim_ascii().is_empty() {
        return Err(CertificateError::Empty);
    }
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| match error {
            pem::Error::MissingSectionEnd { end_marker } => {
                CertificateError::CutOff(end_line(&end_marker))
            }
            other => CertificateError::Garbage(other.to_string()),
        })?;
    match chain.len() {
        0 => Err(CertificateError::NoCertificate),
        1..=LONGEST_CHAIN => Ok(chain),
        more => Err(CertificateError::TooLong(more)),
    }
}

fn read_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateError> {
    if text.trim_ascii().is_empty() {
        return Err(CertificateError::EmptyKey);
    }
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text);
    for section in sections {
        let (kind, bytes) = section.map_err(|error| match error {
            pem::Error::MissingSectionEnd { end_marker } => {
                CertificateError::KeyCutOff(end_line(&end_marker))
            }
            other => CertificateError::GarbageKey(other.to_string()),
        })?;
        if let Some(key) = PrivateKeyDer::from_pem(kind, bytes) {
            return Ok(key);
        }
    }
    let encrypted = b"ENCRYPTED";
    if text
        .windows(encrypted.len())
        .any(|window| window == encrypted)
    {
        return Err(CertificateError::Encrypted);
    }
    Err(CertificateError::NoKey)
}

fn signing(
    provider: &CryptoProvider,
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<CertifiedKey, CertificateError> {
    let key = provider
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|error| CertificateError::UnusableKey(error.to_string()))?;
    // rustls has a comparison of its own, which refuses the proofs of RFC 8737 for an extension it does not know.
    let place = {
        let public = key.public_key().ok_or_else(|| {
            CertificateError::UnusableKey("it does not tell its public half".into())
        })?;
        chain
            .iter()
            .position(|certificate| facts::public_key(certificate) == Some(&*public))
    };
    match place {
        Some(0) => Ok(CertifiedKey::new(chain, key)),
        Some(place) => Err(CertificateError::WrongOrder(place + 1)),
        None => Err(CertificateError::Mismatch),
    }
}

fn end_line(marker: &[u8]) -> String {
    format!("-----END {}-----", String::from_utf8_lossy(marker))
}

fn moment(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| "a time beyond the year 9999".into(),
        |moment| moment.to_string(),
    )
}
