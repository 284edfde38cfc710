use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret's bytes. Never printed, wiped when dropped, compared in time that depends on the lengths alone.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// For keying a MAC; never for printing.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Equality decides whether an edit changed the secret.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Secret {}
