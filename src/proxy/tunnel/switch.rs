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
    units::WebsocketDrain,
    upstream::Use,
};

/// Takes note of a client's wish to speak another protocol, before the fields that say so are removed.
pub(in crate::proxy) fn note_asked<B: http_body::Body>(request: &mut Request<B>) {
    if let Some(asked) = Asked::of(request) {
        request.extensions_mut().insert(asked);
    }
}

/// On what terms a wish is passed on, and a tunnel lives.
pub(in crate::proxy) struct Terms {
    asked: Asked,
    policy: WebsocketDrain,
    role: Use,
}

impl Terms {
    /// Those of a request with a wish that its service allows.
    pub(in crate::proxy) fn of<B>(
        request: &Request<B>,
        service: &Service,
        weighted: bool,
    ) -> Option<Box<Self>> {
        let asked = request.extensions().get::<Asked>()?;
        asked.is_within(&service.plan.upgrades).then(|| {
            Box::new(Self {
                asked: asked.clone(),
                policy: service.plan.drain_websockets,
                role: if weighted { Use::Serves } else { Use::Rests },
            })
        })
    }

    pub(in crate::proxy) fn ask(&self, headers: &mut HeaderMap) {
        self.asked.ask(headers);
    }

    pub(in crate::proxy) fn are_met<B>(&self, answer: &Response<B>) -> bool {
        self.asked.agreed(answer).is_some()
    }

    /// What an answer's hop-by-hop fields become. A refusal that names the protocols of which one must be spoken says so over
    /// each hop (RFC 9110 §15.5.22), as long as it names none but those that were asked for.
    pub(in crate::proxy) fn pass_refusal<B>(&self, answer: &mut Response<B>, fields: Fields) {
        let offered =
            protocols(answer.headers()).filter(|_| answer.status() == StatusCode::UPGRADE_REQUIRED);
        headers::remove_hop_by_hop(answer.headers_mut(), fields);
        if offered.is_some_and(|offered| self.asked.covers(&offered)) {
            self.asked.ask(answer.headers_mut());
        }
    }
}

impl Proxy {
    /// The endpoint has agreed: tells the client so, and leaves the tunnel with it, to be run once it has been told.
    pub(in crate::proxy) async fn switch(
        &self,
        answered: Answered,
        decision: Decision,
        progress: &Rc<Progress>,
        began: Instant,
    ) -> Result<Response<Body>, Refused> {
        let Answered {
            mut answer,
            fields,
            connection,
        } = answered;
        let seat = decision.lease.seat().clone();
        let protocol = decision.terms.as_ref().and_then(|terms| {
            Some((
                terms.asked.agreed(&answer)?.to_owned(),
                terms.policy,
                terms.role,
            ))
        });
        let Some((protocol, policy, role)) = protocol else {
            return Err(refused(Kind::EndpointMalformed, &seat, decision.rules));
        };
        let Some(endpoint) = connection.switched().await else {
            return Err(refused(Kind::EndpointBroke, &seat, decision.rules));
        };
        let said = answer.headers_mut();
        headers::remove_hop_by_hop(said, fields);
        for field in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            said.remove(field);
        }
        said.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Ok(protocol) = HeaderValue::from_str(&protocol) {
            said.insert(header::UPGRADE, protocol);
        }
        if let Some(rules) = &decision.rules {
            rules.to_answer(said);
        }
        headers::sign(said, Version::HTTP_11, &decision, &progress.client);
        if let Some(cookie) = decision.set_cookie
            && may_set_cookie(said)
        {
            said.append(header::SET_COOKIE, cookie);
        }
        *answer.version_mut() = Version::HTTP_11;
        // What a tunnel lasts says nothing of how fast the endpoint answers.
        let status = StatusCode::SWITCHING_PROTOCOLS;
        seat.shard().answered(Some(status));
        seat.pool_shard()
            .answered(status, Source::Endpoint, began.elapsed());
        progress.answering(decision.timeouts.idle);
        progress.notebook.add(|note| {
            note.answered();
            note.detach();
        });
        let now = self.role_of(&seat.endpoint);
        let entry = self.tunnels.enter(&seat.endpoint, policy, role, now);
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

fn refused(kind: Kind, seat: &Rc<Seat>, rules: Option<Box<Applied>>) -> Refused {
    Refused {
        seat: Some(seat.clone()),
        rules,
        ..kind.into()
    }
}
