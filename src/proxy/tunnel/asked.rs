use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use hyper::{ext::Protocol, upgrade::OnUpgrade};

use super::handshake;
use crate::proxy::head::ForWebsocket;

pub(super) const WEBSOCKET: &str = "websocket";

/// A client's wish to speak another protocol on its connection (RFC 9110 §7.8), kept beside the request from before its
/// hop-by-hop fields are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proxy) struct Asked {
    /// In lower case, the one the client likes most first.
    protocols: Vec<String>,
    /// Of a WebSocket.
    key: Option<HeaderValue>,
    /// It is asked for on a stream of HTTP/2, where the request means nothing else.
    pub(super) of_stream: bool,
}

impl Asked {
    /// The wish of a request, if it has one that may be looked at: `GET`, without a body, over HTTP/1.1, with `Upgrade` listed in
    /// `Connection`. What asks in any other way is an ordinary request.
    pub(super) fn of<B: Body>(request: &Request<B>) -> Option<Self> {
        // Only a connection that can be switched has it: one of HTTP/1.1 whose request has the field.
        request.extensions().get::<OnUpgrade>()?;
        let headers = request.headers();
        let fits = request.method() == Method::GET
            && request.body().is_end_stream()
            && lists(headers, &header::CONNECTION, "upgrade");
        let protocols = protocols(headers).filter(|_| fits)?;
        Some(Self {
            protocols,
            key: single(headers, &header::SEC_WEBSOCKET_KEY).cloned(),
            of_stream: false,
        })
    }

    /// The wish for a WebSocket of a client of HTTP/2, whose head has been checked. It has no key, so that the endpoint has to
    /// prove itself to us (RFC 8441 §5.1).
    pub(super) fn of_stream<B>(request: &mut Request<B>) -> Option<Self> {
        request.extensions_mut().remove::<ForWebsocket>()?;
        let key = handshake::key(fastrand::u128(..).to_ne_bytes());
        let key = HeaderValue::try_from(key).expect("base64 is text");
        let headers = request.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
        headers
            .entry(header::SEC_WEBSOCKET_VERSION)
            .or_insert(HeaderValue::from_static("13"));
        Some(Self {
            protocols: vec![WEBSOCKET.to_owned()],
            key: Some(key),
            of_stream: true,
        })
    }

    /// Whether every protocol that it names is allowed. The endpoint may choose any of them.
    pub(super) fn is_within(&self, allowed: &[String]) -> bool {
        self.protocols.iter().all(|asked| allowed.contains(asked))
    }

    /// Whether it names all of these.
    pub(super) fn covers(&self, protocols: &[String]) -> bool {
        protocols.iter().all(|named| self.protocols.contains(named))
    }

    /// Whether an endpoint that speaks HTTP/2 can be asked instead (RFC 8441 §5): for a WebSocket and nothing else, by a client that can
    /// be given the proof.
    pub(super) fn fits_a_stream(&self) -> bool {
        self.protocols == [WEBSOCKET] && self.key().is_some()
    }

    /// The proof that the request was read as one for a WebSocket, which an endpoint that speaks HTTP/2 does not give.
    pub(super) fn proof(&self) -> Option<HeaderValue> {
        let accept = handshake::accept(self.key()?.as_bytes());
        HeaderValue::try_from(accept).ok()
    }

    fn key(&self) -> Option<&HeaderValue> {
        let key = self.key.as_ref();
        key.filter(|key| handshake::is_key(key.as_bytes()))
    }

    /// Asks for it again, on the next connection.
    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        headers.remove(header::TE);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Ok(protocols) = HeaderValue::from_str(&self.protocols.join(", ")) {
            headers.insert(header::UPGRADE, protocols);
        }
    }

    /// The protocol that the endpoint has agreed to with its 101, or `None` where it has not: where it names another or
    /// several, or lacks the proof that it has read the request as one for a WebSocket (RFC 6455 §4.1).
    pub(super) fn agreed<B>(&self, answer: &Response<B>) -> Option<&str> {
        let headers = answer.headers();
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS
            || !lists(headers, &header::CONNECTION, "upgrade")
        {
            return None;
        }
        let chosen = protocols(headers)?;
        let [chosen] = chosen.as_slice() else {
            return None;
        };
        let chosen = self.protocols.iter().find(|asked| *asked == chosen)?;
        (chosen != WEBSOCKET || self.is_proven(headers)).then_some(chosen)
    }

    fn is_proven(&self, headers: &HeaderMap) -> bool {
        let accept = single(headers, &header::SEC_WEBSOCKET_ACCEPT);
        accept.is_some() && accept == self.proof().as_ref()
    }
}

/// Takes note of what a `CONNECT` is for.
pub(in crate::proxy) fn note_protocol<B>(request: &mut Request<B>) {
    let extensions = request.extensions_mut();
    if let Some(protocol) = extensions.remove::<Protocol>()
        && protocol.as_str().eq_ignore_ascii_case(WEBSOCKET)
    {
        extensions.insert(ForWebsocket);
    }
}

/// The protocols of all `Upgrade` fields in lower case; `None` where there is none, or what is no protocol's name.
pub(super) fn protocols(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut protocols = Vec::new();
    for value in headers.get_all(header::UPGRADE) {
        for name in value.to_str().ok()?.split(',') {
            let name = name.trim_matches([' ', '\t']);
            if !is_protocol(name) {
                return None;
            }
            protocols.push(name.to_ascii_lowercase());
        }
    }
    (!protocols.is_empty()).then_some(protocols)
}

/// A token, perhaps a slash and another (RFC 9110 §7.8).
fn is_protocol(name: &str) -> bool {
    let is_token = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
    match name.split_once('/') {
        None => is_token(name),
        Some((name, version)) => is_token(name) && is_token(version),
    }
}

/// Whether a field of comma-separated options has this one.
fn lists(headers: &HeaderMap, name: &HeaderName, option: &str) -> bool {
    let values = headers.get_all(name).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|listed| listed.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}
