//! What a certificate says of itself.

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Of one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Facts {
    /// DNS names it is for, in lower case, wildcards as `*.example.com`.
    pub names: Vec<String>,
    /// IP addresses it is for.
    pub addresses: Vec<IpAddr>,
    /// Mail addresses and URIs (such as a SPIFFE id) it is for.
    pub others: Vec<String>,
    /// Whose it is, and who says so: in the order of the certificate, as `C=DE, O=Example, CN=shop`.
    pub subject: String,
    pub issuer: String,
    /// In hexadecimal.
    pub serial: String,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    /// SHA-256 of the certificate as it stands.
    pub fingerprint: [u8; 32],
}

impl Facts {
    /// Reads a certificate. Nothing is verified.
    pub(super) fn of(der: &[u8]) -> Result<Self, String> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err(format!("{} bytes too many", rest.len()));
        }
        let mut facts = Self {
            names: Vec::new(),
            addresses: Vec::new(),
            others: Vec::new(),
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            serial: hex(parsed.raw_serial()),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            fingerprint: Sha256::digest(der).into(),
        };
        let names = parsed.subject_alternative_name();
        for name in names
            .map_err(|error| format!("its subjectAltName: {error}"))?
            .into_iter()
            .flat_map(|extension| &extension.value.general_names)
        {
            facts.take(name);
        }
        Ok(facts)
    }

    fn take(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.names.push(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => self.addresses.extend(address(bytes)),
            GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                self.others.push((*name).to_owned());
            }
            // Nobody is found by these.
            _ => {}
        }
    }

    /// In hexadecimal, lower case, without colons.
    pub fn fingerprint(&self) -> String {
        hex(&self.fingerprint)
    }

    /// All it is for, in one list.
    pub fn all_names(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(ToString::to_string);
        self.names.iter().cloned().chain(addresses).collect()
    }
}

/// Of a certificate that was read before, as it stands in it.
pub(super) fn public_key(der: &[u8]) -> Option<&[u8]> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(parsed.tbs_certificate.subject_pki.raw)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
