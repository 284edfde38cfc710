//! Why a handshake came to nothing, in the few words that a metric can carry.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// The reason of a handshake that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The peer was gone before the end.
    Closed,
    /// It took too long.
    Timeout,
    /// Too many handshakes were under way.
    Limit,
    /// What came is no TLS, such as HTTP in clear text.
    NotTls,
    /// No version in common.
    Version,
    /// No cipher suite, group or signature in common.
    Cipher,
    /// No protocol in common (ALPN).
    Alpn,
    /// No certificate has the name that the client asked for.
    Sni,
    /// There is no certificate (yet).
    NoCertificate,
    /// A client certificate was demanded and none shown.
    ClientCertificateMissing,
    /// The peer's certificate is expired, revoked, for something else, or signed by somebody who is not believed.
    PeerCertificate,
    /// The peer did not take what it was shown, and said so by an alert.
    Alert,
    /// The peer broke the protocol.
    Protocol,
    /// None: an authority looked for a proof (RFC 8737), which is all it wanted.
    Challenge,
    /// Our own fault.
    Internal,
}

impl Failure {
    pub const ALL: [Self; 15] = [
        Self::Closed,
        Self::Timeout,
        Self::Limit,
        Self::NotTls,
        Self::Version,
        Self::Cipher,
        Self::Alpn,
        Self::Sni,
        Self::NoCertificate,
        Self::ClientCertificateMissing,
        Self::PeerCertificate,
        Self::Alert,
        Self::Protocol,
        Self::Challenge,
        Self::Internal,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::NotTls => "not_tls",
            Self::Version => "version",
            Self::Cipher => "cipher",
            Self::Alpn => "alpn",
            Self::Sni => "sni",
            Self::NoCertificate => "no_certificate",
            Self::ClientCertificateMissing => "client_certificate_missing",
            Self::PeerCertificate => "peer_certificate",
            Self::Alert => "alert",
            Self::Protocol => "protocol",
            Self::Challenge => "challenge",
            Self::Internal => "internal",
        }
    }

    /// What is behind an error of a stream that speaks TLS.
    pub(super) fn of_io(error: &io::Error) -> Self {
        error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>())
            .map_or(Self::Closed, Self::of)
    }

    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::ClientCertificateMissing,
            Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => {
                Self::PeerCertificate
            }
            Error::NoApplicationProtocol
            | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Self::Alpn,
            Error::AlertReceived(AlertDescription::ProtocolVersion) => Self::Version,
            Error::AlertReceived(_) => Self::Alert,
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            Error::PeerIncompatible(why) => match why {
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled => Self::Version,
                _ => Self::Cipher,
            },
            Error::General(_)
            | Error::FailedToGetCurrentTime
            | Error::FailedToGetRandomBytes
            | Error::EncryptError
            | Error::InconsistentKeys(_)
            | Error::Other(_) => Self::Internal,
            _ => Self::Protocol,
        }
    }
}

/// What is wrong with an endpoint's certificate or its TLS, in a person's words.
pub(super) fn said(error: &Error) -> String {
    let Error::InvalidCertificate(why) = error else {
        return error.to_string();
    };
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".into()
        }
        CertificateError::NotValidForName => "its certificate is for another name".into(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "its certificate is for {}, not for {}",
            if presented.is_empty() {
                "no name".into()
            } else {
                presented.join(", ")
            },
            expected.to_str()
        ),
        CertificateError::UnknownIssuer => {
            "its certificate is signed by nobody who is trusted".into()
        }
        CertificateError::Revoked => "its certificate is revoked".into(),
        other => format!("its certificate is not right: {other}"),
    }
}
