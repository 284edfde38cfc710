use crate::{
    tls::ClientSettings,
    units::{PreambleVersion, Protocol},
};

/// How a pool's endpoints are spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transport {
    pub protocol: Protocol,
    /// Connections begin with the PROXY protocol, and carry the requests of one client alone.
    pub preamble: Option<PreambleVersion>,
    /// `None`: in clear.
    pub tls: Option<Handshakes>,
}

/// The two handshakes that endpoints may be met with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshakes {
    pub usual: ClientSettings,
    /// Offers HTTP/1.1 alone: for a connection that is to carry another protocol.
    pub to_switch: ClientSettings,
}
