//! Transport security, either way.
//!
//! Owns what a certificate is worth ([`Certificate`]), which one a client gets, the handshake with it ([`Acceptor`]) and
//! with endpoints ([`ClientSettings`]). Takes bytes and speaks over any stream: knows neither files nor sockets, nor what
//! is said once a connection is safe.

mod acceptor;
mod authorities;
mod certificate;
mod challenges;
mod connector;
mod facts;
mod failure;
mod names;
mod provider;
mod secure;

pub use acceptor::{Accepted, Acceptor, ClientAuth, Refused, ServerSettings, Tickets};
pub use authorities::{Authorities, AuthoritiesError};
pub use certificate::{Certificate, CertificateError};
pub use challenges::{Challenges, Shown};
pub use connector::{ClientSettings, ConnectError, Connected, Trust};
pub use facts::Facts;
pub use failure::Failure;
pub use provider::Version;
pub use secure::{Alpn, Identity, Secure};

/// What a client's connection is read from and written to once it is safe.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<S>;
/// The same towards an endpoint.
pub type ClientStream<S> = tokio_rustls::client::TlsStream<S>;
