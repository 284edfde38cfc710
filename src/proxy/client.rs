use std::{
    cell::{OnceCell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::HeaderValue;

use super::{
    certified::Certified, closing::Closing, forwarded::UNKNOWN, head, preview::Previewing,
};
use crate::{
    tls::{Challenges, Secure},
    units::{Ends, Networks, Percent, Preamble},
    upstream::Caller,
};

/// The one on the other end of a connection.
pub struct Client {
    /// Of its connection; `None` where that is one of a Unix socket, which has no addresses.
    pub ends: Option<Ends>,
    /// Its forwarding headers are believed.
    pub trusted: bool,
    pub door: Rc<Door>,
    /// What the handshake has proved; `None` in clear text.
    pub secure: Option<Secure>,
    /// Who it is, as header values, where it has shown a certificate.
    pub(super) certified: Option<Box<Certified>>,
    /// Its address as header values want it.
    pub(super) forwarded_for: HeaderValue,
    /// The last `Forwarded` element written and the `Host` it was written for.
    pub(super) forwarded: RefCell<Option<(HeaderValue, HeaderValue)>>,
    /// What endpoints know its connections by that are told who it is.
    id: OnceCell<u64>,
}

/// What all connections of one listener share on one worker.
pub struct Door {
    pub trusted_proxies: Networks,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub max_headers: usize,
    /// Requests and answers say in `Via` that they came through here.
    pub via: bool,
    /// Starts traces, of which so many are sampled.
    pub traceparent: Option<Percent>,
    /// Answers announce that the connection will be closed: the process or the listener is going away.
    pub closing: Rc<Closing>,
    /// A connection of HTTP/2 ends about then, whatever is asked on it, so that clients spread over workers anew.
    pub max_age: Option<Duration>,
    /// Clients speak TLS.
    pub secure: bool,
    /// Clients may speak HTTP/2.
    pub h2: bool,
    /// What every answer tells browsers: `Strict-Transport-Security`.
    pub hsts: Option<HeaderValue>,
    /// Requests are sent to the HTTPS on this port, and none passed on.
    pub redirect: Option<u16>,
    /// Its requests are for what has no traffic yet.
    pub preview: Arc<Previewing>,
    /// What authorities may be looking for.
    pub challenges: Arc<Challenges>,
}

impl Client {
    /// `ends`: of its connection to us, or to the proxy before us that announces it; `None` where it has no address.
    pub fn new(ends: Option<Ends>, door: Rc<Door>, secure: Option<Secure>) -> Rc<Self> {
        let ends = ends.map(Ends::canonical);
        let ip = ends.map(|ends| ends.client.ip());
        let forwarded_for = match ip {
            Some(ip) => HeaderValue::from_str(&ip.to_string())
                .expect("an address is made of digits, letters, dots and colons"),
            None => HeaderValue::from_static(UNKNOWN),
        };
        Rc::new(Self {
            ends,
            trusted: door.trusted_proxies.contains(ip),
            forwarded_for,
            forwarded: RefCell::default(),
            id: OnceCell::new(),
            door,
            certified: secure
                .as_ref()
                .and_then(|secure| secure.identity.as_deref())
                .map(|identity| Box::new(Certified::of(identity))),
            secure,
        })
    }

    /// `None`: it has come by a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ends.map(|ends| ends.client.ip())
    }

    /// The scheme of what it asks for.
    pub(super) fn scheme(&self) -> &'static str {
        if self.secure.is_some() {
            "https"
        } else {
            "http"
        }
    }

    /// As endpoints are told of it that speak the PROXY protocol.
    pub(super) fn caller(&self) -> Caller {
        Caller {
            // Two of the same are as likely as to guess a key of 64 bits.
            id: *self.id.get_or_init(|| fastrand::u64(..)),
            preamble: Preamble { ends: self.ends },
        }
    }

    /// What its requests' heads are measured by.
    pub(super) fn rules(&self) -> head::Door {
        head::Door {
            fields: self.door.max_headers,
            address: self.ends.map(|ends| ends.server),
            secure: self.door.secure,
        }
    }
}
