//! The handshake with a client.

use std::{io, sync::Arc, time::SystemTime};

use rustls::{
    ServerConfig, SignatureScheme,
    crypto::aws_lc_rs::Ticketer,
    pki_types::CertificateDer,
    server::{
        Accepted as Hello, Acceptor as HelloReader, ClientHello, NoServerSessionStorage,
        ProducesTickets, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::StartHandshake;

use super::{
    ServerStream,
    authorities::Authorities,
    certificate::Certificate,
    challenges::Challenges,
    facts::Facts,
    failure::Failure,
    names::{Found, Names},
    provider::{Version, prefers_chacha20, provider, server_provider},
    secure::{Identity, Secure},
};

/// A hello is seldom longer, and is read in pieces where it is.
const HELLO: usize = 4096;

/// The content type of a record that begins a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// Offered by an authority that looks for a proof, and by nobody else (RFC 8737 §6.2).
const ACME: &[u8] = b"acme-tls/1";

/// Said to who speaks HTTP in clear text: browsers show it.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 35\r\nconnection: close\r\n\r\nThis port speaks HTTPS, not HTTP.\r\n";

/// Fatal alerts that rustls does not send by itself: a record of TLS 1.2's form, as every alert before the keys.
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];
const INTERNAL_ERROR: &[u8] = &[21, 3, 3, 0, 2, 2, 80];
const NO_APPLICATION_PROTOCOL: &[u8] = &[21, 3, 3, 0, 2, 2, 120];

/// How one listener meets its clients.
pub struct ServerSettings {
    /// The first is shown to who asks for no name, or for one that no certificate has.
    pub certificates: Vec<Certificate>,
    pub min_version: Version,
    pub h1: bool,
    pub h2: bool,
    pub client_auth: Option<ClientAuth>,
    /// Refuse who asks for no name, or for one that no certificate has.
    pub strict_sni: bool,
    pub tickets: Tickets,
    /// What authorities may be looking for.
    pub challenges: Arc<Challenges>,
}

/// Clients are asked for certificates.
#[derive(Clone)]
pub struct ClientAuth {
    pub authorities: Authorities,
    /// A client without one is refused.
    pub required: bool,
}

/// The keys by which a client comes back without a whole handshake. To be kept over changes of certificates, so that
/// clients can come back, and made anew when it changes who may come in: a ticket is a client's proof that it was
/// verified, and only good for the rules it was verified by.
#[derive(Clone)]
pub struct Tickets(Arc<dyn ProducesTickets>);

/// Meets the clients of one listener.
pub struct Acceptor {
    config: Arc<ServerConfig>,
    /// For clients whose own order of suites is kept.
    as_asked: Arc<ServerConfig>,
    book: Arc<Book>,
    strict_sni: bool,
    h1: bool,
    asks_for_certificates: bool,
    challenges: Arc<Challenges>,
}

/// A connection that is safe.
pub struct Accepted<S> {
    pub stream: ServerStream<S>,
    pub secure: Secure,
}

/// A connection that is not. The client has been told, so far as it can be: what it still sends is to be taken before the
/// stream is closed, or the alert is lost.
pub struct Refused<S> {
    pub failure: Failure,
    pub stream: S,
    pub detail: String,
}

/// Certificates by name; also rustls's way to them.
#[derive(Debug)]
struct Book(Names<Shown>);

#[derive(Clone)]
struct Shown(Certificate);

impl Tickets {
    /// With keys of their own, which are changed every six hours and known to this process alone.
    pub fn new() -> Result<Self, String> {
        Ticketer::new().map(Self).map_err(|error| error.to_string())
    }
}

impl Acceptor {
    pub fn new(settings: ServerSettings) -> Result<Self, String> {
        let builder = ServerConfig::builder_with_provider(server_provider())
            .with_protocol_versions(settings.min_version.and_later())
            .map_err(|error| error.to_string())?;
        let builder = match &settings.client_auth {
            None => builder.with_no_client_auth(),
            Some(auth) => builder.with_client_cert_verifier(verifier(auth)?),
        };
        let book = Arc::new(Book::new(settings.certificates));
        let mut config = builder.with_cert_resolver(book.clone());
        config.ticketer = settings.tickets.0;
        // One is enough to come back with, where it is given the next; a second costs each new client's handshake a share of its time.
        config.send_tls13_tickets = 1;
        // Tickets do it all; a store would be a lock and a memory that all workers share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if settings.h2 {
            config.alpn_protocols.push(b"h2".to_vec());
        }
        if settings.h1 {
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        let as_asked = Arc::new(config.clone());
        config.ignore_client_order = true;
        Ok(Self {
            config: config.into(),
            as_asked,
            book,
            strict_sni: settings.strict_sni,
            h1: settings.h1,
            asks_for_certificates: settings.client_auth.is_some(),
            challenges: settings.challenges,
        })
    }

    /// Makes a connection safe. How long it may take is the caller's to say.
    ///
    /// What a handshake needs of memory is given back at its end, not held for as long as the connection lives.
    pub async fn accept<S>(&self, stream: S) -> Result<Accepted<S>, Refused<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        Box::pin(self.shake_hands(stream)).await
    }

    async fn shake_hands<S>(&self, mut stream: S) -> Result<Accepted<S>, Refused<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = match read_hello(&mut stream).await {
            Ok(hello) => hello,
            Err((failure, detail)) => return Err(Refused::new(failure, stream, detail)),
        };
        if let Some(proof) = self.proof(&hello.client_hello()) {
            return Err(show(proof, hello, stream).await);
        }
        if let Some((failure, alert)) = self.objection(&hello.client_hello()) {
            let sent = stream.write_all(alert).await.and(stream.flush().await);
            let detail = sent.err().map_or_else(String::new, |e| e.to_string());
            return Err(Refused::new(failure, stream, detail));
        }
        // Asked now: the hello is used up by the handshake.
        let guarded = self
            .asks_for_certificates
            .then(|| self.book.choose(&hello.client_hello()))
            .flatten();
        let config = if prefers_chacha20(hello.client_hello().cipher_suites()) {
            &self.as_asked
        } else {
            &self.config
        };
        let handshake = StartHandshake::from_parts(hello, stream).into_stream(config.clone());
        let stream = match handshake.into_fallible().await {
            Ok(stream) => stream,
            Err((error, stream)) => {
                let failure = Failure::of_io(&error);
                return Err(Refused::new(failure, stream, error.to_string()));
            }
        };
        match secure(&stream, guarded) {
            Ok(secure) => Ok(Accepted { stream, secure }),
            Err(detail) => {
                let stream = stream.into_inner().0;
                Err(Refused::new(Failure::PeerCertificate, stream, detail))
            }
        }
    }

    /// What an authority is shown that looks for a proof (RFC 8737 §3).
    fn proof(&self, hello: &ClientHello<'_>) -> Option<Certificate> {
        let mut offered = hello.alpn()?;
        if offered.next() != Some(ACME) || offered.next().is_some() {
            return None;
        }
        self.challenges.certificate(hello.server_name()?)
    }

    /// Why a client is refused whose hello is right in itself.
    fn objection(&self, hello: &ClientHello<'_>) -> Option<(Failure, &'static [u8])> {
        let (found, certificates) = self.book.0.find(hello.server_name());
        if certificates.is_empty() {
            return Some((Failure::NoCertificate, INTERNAL_ERROR));
        }
        if self.strict_sni && found == Found::Default {
            return Some((Failure::Sni, UNRECOGNIZED_NAME));
        }
        // HTTP/2 over TLS is spoken by agreement only (RFC 9113 §3.2).
        (!self.h1 && hello.alpn().is_none()).then_some((Failure::Alpn, NO_APPLICATION_PROTOCOL))
    }
}

fn verifier(auth: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = auth.authorities.roots.clone();
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .with_crls(auth.authorities.revoked.iter().cloned());
    let builder = if auth.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder.build().map_err(|error| error.to_string())
}

/// Shows a proof to an authority: the handshake is all it wants.
async fn show<S>(proof: Certificate, hello: Hello, stream: S) -> Refused<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(Version::Tls12.and_later());
    let mut config = match builder {
        Ok(builder) => builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Book::new(vec![proof]))),
        Err(error) => return Refused::new(Failure::Internal, stream, error.to_string()),
    };
    config.alpn_protocols = vec![ACME.to_vec()];
    let handshake = StartHandshake::from_parts(hello, stream).into_stream(config.into());
    match handshake.into_fallible().await {
        Ok(mut stream) => {
            // It may be gone already.
            let _ = stream.shutdown().await;
            Refused::new(Failure::Challenge, stream.into_inner().0, "shown".into())
        }
        Err((error, stream)) => Refused::new(Failure::of_io(&error), stream, error.to_string()),
    }
}

/// Reads until the client has said hello; tells it where it has not.
async fn read_hello<S>(stream: &mut S) -> Result<Hello, (Failure, String)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error: io::Error| (Failure::Closed, error.to_string());
    let mut reader = HelloReader::default();
    let mut bytes = vec![0; HELLO];
    let mut begun = false;
    loop {
        let read = stream.read(&mut bytes).await.map_err(broken)?;
        if read == 0 {
            return Err((Failure::Closed, "closed".into()));
        }
        if !std::mem::replace(&mut begun, true) && bytes[0] != HANDSHAKE {
            if bytes[0].is_ascii_uppercase() {
                stream.write_all(NOT_TLS).await.map_err(broken)?;
            }
            return Err((Failure::NotTls, "no TLS".into()));
        }
        let mut unread = &bytes[..read];
        while !unread.is_empty() {
            reader.read_tls(&mut unread).map_err(broken)?;
        }
        match reader.accept() {
            Ok(Some(hello)) => return Ok(hello),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                // To write to memory does not fail.
                let _ = alert.write_all(&mut bytes);
                stream.write_all(&bytes).await.map_err(broken)?;
                return Err((Failure::of(&error), error.to_string()));
            }
        }
    }
}

/// What the handshake has proved.
fn secure<S>(stream: &ServerStream<S>, guarded: Option<Certificate>) -> Result<Secure, String> {
    let connection = stream.get_ref().1;
    let identity = connection
        .peer_certificates()
        .and_then(|chain: &[CertificateDer<'_>]| chain.first())
        .map(|certificate| Facts::of(certificate).and_then(still_valid))
        .transpose()?;
    Ok(Secure::new(
        connection,
        connection.server_name(),
        identity.map(Identity),
        guarded,
    ))
}

/// One that came back with a ticket was verified when it came first.
fn still_valid(facts: Facts) -> Result<Facts, String> {
    let now = jiff::Timestamp::try_from(SystemTime::now())
        .map_err(|error| error.to_string())?
        .as_second();
    if now > facts.not_after {
        return Err("the client's certificate has expired since its first handshake".into());
    }
    Ok(facts)
}

impl<S> Refused<S> {
    fn new(failure: Failure, stream: S, detail: String) -> Self {
        Self {
            failure,
            stream,
            detail,
        }
    }
}

impl Book {
    fn new(certificates: Vec<Certificate>) -> Self {
        let shown: Vec<_> = certificates.into_iter().map(Shown).collect();
        Self(Names::new(
            shown
                .iter()
                .map(|shown| (shown.clone(), &*shown.0.facts().names)),
        ))
    }

    /// The first one for the name whose key the client can verify.
    fn choose(&self, hello: &ClientHello<'_>) -> Option<Certificate> {
        let (_, shown) = self.0.find(hello.server_name());
        let can = |shown: &&Shown| fits(&shown.0.key, hello.signature_schemes());
        // Where none fits, the first says so best.
        shown
            .iter()
            .find(can)
            .or(shown.first())
            .map(|shown| shown.0.clone())
    }
}

fn fits(key: &CertifiedKey, offered: &[SignatureScheme]) -> bool {
    key.key.choose_scheme(offered).is_some()
}

impl ResolvesServerCert for Book {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(&hello).map(|certificate| certificate.key)
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.0.facts().names).finish()
    }
}
