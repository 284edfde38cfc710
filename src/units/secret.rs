use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret's bytes. Never printed, wiped when dropped, compared in time that depends on the lengths alone.
#[derive(Clone)]
pub struct Secret {
    bytes: Zeroizing<Vec<u8>>,
    source: Option<SecretSource>,
}

/// Where a secret came from, as the file names it: what is shown in its stead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    File(String),
    Env(String),
    /// Of systemd.
    Credential(String),
}

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Zeroizing::new(bytes),
            source: None,
        }
    }

    pub fn from(source: SecretSource, bytes: Vec<u8>) -> Self {
        Self {
            bytes: Zeroizing::new(bytes),
            source: Some(source),
        }
    }

    pub fn source(&self) -> Option<&SecretSource> {
        self.source.as_ref()
    }

    /// For keying a MAC; never for printing.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    pub fn matches(&self, given: &[u8]) -> bool {
        self.bytes.ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Equality decides whether an edit changed the secret or its reference.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.matches(&other.bytes)
    }
}

impl Eq for Secret {}
