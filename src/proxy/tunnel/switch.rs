use std::rc::Rc;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use tokio::time::Instant;

use super::{
    Tunnel,
    account::Account,
    asked::{Asked, WEBSOCKET, protocols},
};
use crate::{
    pool::Seat,
    proxy::{
        Body, Kind, Proxy, decide::Decision, forward::Answered, handle::Refused, head::Fields,
        headers, progress::Progress, rules::Applied,
    },
    routing::may_set_cookie,
    snapshot::Service,
    telemetry::shard::Source,
    units::{Protocol, WebsocketDrain},
    upstream::Use,
};

/// Takes note of a client's wish to speak another protocol, before the fields that say so are removed.
pub(in crate::proxy) fn note_asked<B: http_body::Body>(request: &mut Request<B>) {
    if let Some(asked) = Asked::of_stream(request).or_else(|| Asked::of(request)) {
        request.extensions_mut().insert(asked);
    }
}

/// On what terms a wish is passed on, and a tunnel lives.
pub(in crate::proxy) struct Terms {
    asked: Asked,
    policy: WebsocketDrain,
    role: Use,
    /// The endpoint speaks HTTP/2: it is asked by an extended CONNECT, and a success is its consent (RFC 8441 §5).
    extended: bool,
}

impl Terms {
    /// Those of a request with a wish that its service allows, and that an endpoint of such a `protocol` can be asked for. Else
    /// it is an ordinary request, if it can be one.
    pub(in crate::proxy) fn of<B>(
        request: &Request<B>,
        service: &Service,
        weighted: bool,
        protocol: Protocol,
    ) -> Result<Option<Box<Self>>, Kind> {
        let Some(asked) = request.extensions().get::<Asked>() else {
            return Ok(None);
        };
        let extended = protocol == Protocol::H2;
        let possible = !extended || asked.fits_a_stream();
        match asked.is_within(&service.plan.upgrades) {
            true if possible => Ok(Some(Box::new(Self {
                asked: asked.clone(),
                policy: service.plan.drain_websockets,
                role: if weighted { Use::Serves } else { Use::Rests },
                extended,
            }))),
            _ if !asked.of_stream => Ok(None),
            _ => Err(Kind::UpgradeNotAllowed),
        }
    }

    pub(in crate::proxy) fn ask(&self, headers: &mut HeaderMap) {
        self.asked.ask(headers);
    }

    /// Makes it the request of somebody who asks for nothing.
    pub(in crate::proxy) fn ask_no_more(headers: &mut HeaderMap) {
        headers.remove(header::CONNECTION);
        headers.remove(header::UPGRADE);
    }

    /// Whether the connection becomes the tunnel, and carries nothing else.
    pub(in crate::proxy) fn need_a_connection(&self) -> bool {
        !self.extended
    }

    /// Whether a 101 is what was asked for.
    pub(in crate::proxy) fn are_met<B>(&self, answer: &Response<B>) -> bool {
        !self.extended && self.agreed(answer).is_some()
    }

    /// The protocol that the endpoint has agreed to.
    fn agreed<B>(&self, answer: &Response<B>) -> Option<&str> {
        if self.extended {
            // The HTTP library makes a tunnel of no other success.
            return (answer.status() == StatusCode::OK).then_some(WEBSOCKET);
        }
        self.asked.agreed(answer)
    }

    /// Whether a client would take the answer for the beginning of a tunnel: it is for [`Proxy::switch`].
    pub(in crate::proxy) fn begins<B>(terms: Option<&Self>, answer: &Response<B>) -> bool {
        let any_success = terms.is_some_and(|terms| terms.asked.of_stream || terms.extended);
        answer.status() == StatusCode::SWITCHING_PROTOCOLS
            || (any_success && answer.status().is_success())
    }

    /// What an answer's hop-by-hop fields become. A refusal that names the protocols of which one must be spoken says so over
    /// each hop (RFC 9110 §15.5.22), as long as it names none but those that were asked for.
    pub(in crate::proxy) fn pass_refusal<B>(&self, answer: &mut Response<B>, fields: Fields) {
        // HTTP/2 has no such field: the endpoint names what it was asked for.
        let named = self.extended
            || protocols(answer.headers()).is_some_and(|offered| self.asked.covers(&offered));
        headers::remove_hop_by_hop(answer.headers_mut(), fields);
        if named && !self.asked.of_stream && answer.status() == StatusCode::UPGRADE_REQUIRED {
            self.asked.ask(answer.headers_mut());
        }
    }
}

impl Proxy {
    /// The endpoint has agreed: tells the client so, and leaves the tunnel with it, to be run once it has been told.
    pub(in crate::proxy) async fn switch(
        &self,
        answered: Answered,
        mut decision: Box<Decision>,
        progress: &Rc<Progress>,
        began: Instant,
    ) -> Result<Response<Body>, Refused> {
        let Answered {
            mut answer,
            again: _,
            fields,
            connection,
        } = answered;
        let seat = decision.lease.seat().clone();
        let agreed = decision.terms.take().and_then(|terms| {
            let protocol = terms.agreed(&answer)?.to_owned();
            Some((protocol, terms))
        });
        let Some((protocol, terms)) = agreed else {
            let kind = if answer.status().is_success() {
                Kind::NoTunnel
            } else {
                Kind::EndpointMalformed
            };
            return Err(refused(kind, &seat, decision.rules));
        };
        let Some(endpoint) = connection.switched(&mut answer).await else {
            return Err(refused(Kind::EndpointBroke, &seat, decision.rules));
        };
        let version = std::mem::replace(answer.version_mut(), Version::HTTP_11);
        let said = answer.headers_mut();
        headers::remove_hop_by_hop(said, fields);
        for field in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            said.remove(field);
        }
        let status = announce(said, &protocol, &terms);
        if let Some(rules) = &decision.rules {
            rules.to_answer(said);
        }
        headers::sign(said, version, &decision, &progress.client);
        if let Some(cookie) = decision.set_cookie
            && may_set_cookie(said)
        {
            said.append(header::SET_COOKIE, cookie);
        }
        *answer.status_mut() = status;
        // What a tunnel lasts says nothing of how fast the endpoint answers.
        seat.shard().answered(status);
        seat.pool_shard()
            .answered(status, Source::Endpoint, began.elapsed());
        progress.answering(decision.timeouts.idle);
        progress.notebook.add(|note| {
            note.answered();
            note.detach();
        });
        let now = self.role_of(&seat.endpoint);
        let entry = self
            .tunnels
            .enter(&seat.endpoint, terms.policy, terms.role, now);
        progress.leave_tunnel(Tunnel {
            endpoint,
            tunnels: self.tunnels.clone(),
            account: Account::open(entry, decision.lease, progress.notebook.take(), status),
            patience: decision.timeouts.tunnel,
            websocket: protocol == WEBSOCKET,
        });
        Ok(answer.map(|_| Body::none()))
    }
}

/// Says that the tunnel begins: in HTTP/2 any success does, and the proof was for us (RFC 8441 §5).
fn announce(said: &mut HeaderMap, protocol: &str, terms: &Terms) -> StatusCode {
    if terms.asked.of_stream {
        said.remove(header::SEC_WEBSOCKET_ACCEPT);
        return StatusCode::OK;
    }
    said.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(protocol) = HeaderValue::from_str(protocol) {
        said.insert(header::UPGRADE, protocol);
    }
    if let Some(proof) = terms.asked.proof().filter(|_| terms.extended) {
        said.insert(header::SEC_WEBSOCKET_ACCEPT, proof);
    }
    StatusCode::SWITCHING_PROTOCOLS
}

fn refused(kind: Kind, seat: &Rc<Seat>, rules: Option<Box<Applied>>) -> Refused {
    Refused {
        seat: Some(seat.clone()),
        rules,
        ..kind.into()
    }
}
