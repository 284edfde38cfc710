//! The handshake with an endpoint.

use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::SingleCertAndKey,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{
    ClientStream,
    authorities::Authorities,
    certificate::Certificate,
    failure::{Failure, said},
    provider::{Version, provider},
};

/// Tickets kept for coming back, over all endpoints of a pool.
const SESSIONS: usize = 256;

/// How a pool's endpoints are met. Cheap to clone; equal to its clones, and to those made of the same things.
#[derive(Clone)]
pub struct ClientSettings {
    config: Arc<ClientConfig>,
    made_of: Option<[u8; 32]>,
    server_name: Option<ServerName<'static>>,
}

/// Who must have signed an endpoint's certificate.
#[derive(Clone)]
pub enum Trust {
    Authorities(Authorities),
    /// Anybody: the connection is secret, and nobody knows with whom.
    Anybody,
}

/// A connection to an endpoint that is safe.
pub struct Connected<S> {
    pub stream: ClientStream<S>,
    /// The endpoint chose HTTP/2.
    pub h2: bool,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("TLS: {said}")]
pub struct ConnectError {
    pub failure: Failure,
    said: String,
}

impl ClientSettings {
    /// `server_name` stands in for the endpoint's host, where it has another name in its certificate.
    pub fn new(
        trust: Trust,
        certificate: Option<&Certificate>,
        server_name: Option<&str>,
        alpn: (bool, bool),
    ) -> Result<Self, String> {
        Self::since(Version::default(), trust, certificate, server_name, alpn)
    }

    /// The same, with no older version of the protocol than this one.
    pub fn since(
        oldest: Version,
        trust: Trust,
        certificate: Option<&Certificate>,
        server_name: Option<&str>,
        (h1, h2): (bool, bool),
    ) -> Result<Self, String> {
        let server_name = server_name.map(name).transpose()?;
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(oldest.and_later())
            .map_err(|error| error.to_string())?
            .dangerous();
        let builder = match trust {
            Trust::Authorities(Authorities { roots, revoked }) => {
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                    .with_crls(revoked)
                    .build()
                    .map_err(|error| error.to_string())?;
                builder.with_custom_certificate_verifier(verifier)
            }
            Trust::Anybody => {
                builder.with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            }
        };
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => builder.with_client_cert_resolver(Arc::new(
                SingleCertAndKey::from(certificate.key.clone()),
            )),
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        if h2 {
            config.alpn_protocols.push(b"h2".to_vec());
        }
        if h1 {
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        Ok(Self {
            config: config.into(),
            made_of: None,
            server_name,
        })
    }

    /// Says by a digest what they were made of, so that those which are made of the same again are equal.
    #[must_use]
    pub fn made_of(self, digest: [u8; 32]) -> Self {
        Self {
            made_of: Some(digest),
            ..self
        }
    }

    /// Makes a connection to the endpoint at `host`, a name or an IP address, safe. Boxed for the memory of a handshake, as
    /// [`Acceptor::accept`](super::Acceptor::accept) is.
    pub async fn connect<S>(&self, stream: S, host: &str) -> Result<Connected<S>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        Box::pin(self.shake_hands(stream, host)).await
    }

    async fn shake_hands<S>(&self, stream: S, host: &str) -> Result<Connected<S>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => name(host).map_err(|said| ConnectError {
                failure: Failure::Internal,
                said,
            })?,
        };
        let connector = TlsConnector::from(self.config.clone());
        let stream = connector.connect(name, stream).await?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Connected { stream, h2 })
    }
}

impl PartialEq for ClientSettings {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
            || (self.made_of.is_some() && self.made_of == other.made_of)
    }
}

impl Eq for ClientSettings {}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        Self {
            failure: Failure::of_io(&error),
            said: inner.map_or_else(|| error.to_string(), said),
        }
    }
}

fn name(text: &str) -> Result<ServerName<'static>, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    ServerName::try_from(bare.to_owned()).map_err(|_| {
        format!(
            "`{}` is no name that a certificate could have",
            text.escape_debug()
        )
    })
}

/// Takes every certificate, if its owner has the key to it.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
