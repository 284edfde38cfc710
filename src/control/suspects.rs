//! Takes endpoints out that do badly by their requests, and back in.

use super::{
    Actor, ActorKind, Kind, Suspect, controller::Controller, health::Turn, stage::Draft, wait::now,
};
use crate::units::{EndpointKey, Name, PoolKey, Timestamp};

impl Controller {
    pub(super) fn suspect(&mut self, suspects: Vec<Suspect>) {
        let at = Timestamp::now();
        for Suspect { endpoint, cause } in suspects {
            let Ok((plan, _)) = self.book.service(&endpoint.service) else {
                continue;
            };
            let Some(outliers) = plan.outliers else {
                continue;
            };
            let Some((turn, ejection)) = self.roster.eject(&endpoint, cause, &outliers, now(), at)
            else {
                continue;
            };
            let pool = PoolKey {
                service: endpoint.service.clone(),
                pool: endpoint.pool.clone(),
            };
            *self.counts.ejections.entry((pool, cause)).or_default() += 1;
            self.turned(Kind::EndpointEjected, &endpoint, turn, ejection.words());
        }
    }

    /// Brings back those whose time is over, and all of a pool that has no other left.
    pub(super) fn bring_back(&mut self) {
        let ejects = |name: &Name| {
            let service = self.book.service(name);
            service.is_ok_and(|(plan, _)| plan.outliers.is_some())
        };
        let back = self.roster.bring_back(ejects, now(), Timestamp::now());
        for (endpoint, turn, why) in back {
            self.turned(Kind::EjectionEnded, &endpoint, turn, why.to_owned());
        }
    }

    fn turned(&mut self, kind: Kind, endpoint: &EndpointKey, turn: Turn, why: String) {
        let actor = Actor::new("outlier", ActorKind::Outlier, "outlier");
        let draft = Draft::new(kind, &actor).of(&endpoint.service);
        let draft = draft
            .pool(&endpoint.pool)
            .endpoint(&endpoint.address)
            .turns(turn.before.as_str().into(), turn.after.as_str().into());
        self.teller.hold(draft.because(why));
        self.dirty.insert(endpoint.service.clone());
    }
}
