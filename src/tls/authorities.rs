//! Who is believed when they vouch for somebody.

use std::{fmt, sync::Arc};

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, CertificateRevocationListDer,
        pem::{self, PemObject},
    },
};

/// Certificates of those who sign certificates, and what they have taken back. Cheap to clone.
#[derive(Clone)]
pub struct Authorities {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) revoked: Vec<CertificateRevocationListDer<'static>>,
}

/// Why authorities are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    #[error("it holds no certificate (no `-----BEGIN CERTIFICATE-----`)")]
    None,
    #[error("it is no PEM: {0}")]
    Garbage(String),
    #[error("certificate {place} cannot be read: {why}")]
    Unreadable { place: usize, why: String },
    #[error("this system has no root certificates; name a `ca`, or install ca-certificates")]
    NoneOnSystem,
}

impl Authorities {
    /// Reads certificates from PEM; each must be one.
    pub fn new(text: &[u8]) -> Result<Self, AuthoritiesError> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in CertificateDer::pem_slice_iter(text).enumerate() {
            let certificate = certificate.map_err(|error| garbage(&error))?;
            roots
                .add(certificate)
                .map_err(|error| AuthoritiesError::Unreadable {
                    place: index + 1,
                    why: error.to_string(),
                })?;
        }
        if roots.is_empty() {
            return Err(AuthoritiesError::None);
        }
        Ok(Self {
            roots: roots.into(),
            revoked: Vec::new(),
        })
    }

    /// Those that the system trusts. What of them cannot be read is left out: the system's store is not ours to mend.
    pub fn of_system() -> Result<Self, AuthoritiesError> {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a root certificate of the system is left out");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(AuthoritiesError::NoneOnSystem);
        }
        Ok(Self {
            roots: roots.into(),
            revoked: Vec::new(),
        })
    }

    /// Takes revocation lists from PEM besides.
    pub fn without(mut self, text: &[u8]) -> Result<Self, AuthoritiesError> {
        for list in CertificateRevocationListDer::pem_slice_iter(text) {
            self.revoked.push(list.map_err(|error| garbage(&error))?);
        }
        Ok(self)
    }
}

/// Equal where they would judge alike.
impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.roots.roots == other.roots.roots && self.revoked == other.revoked
    }
}

impl Eq for Authorities {}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.roots.len())
    }
}

fn garbage(error: &pem::Error) -> AuthoritiesError {
    AuthoritiesError::Garbage(error.to_string())
}
