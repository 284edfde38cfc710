//! Where a rollout is to begin: those that it supersedes give back what they have first, and nothing else begins there meanwhile.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use super::{
    begin::Checked,
    ride::Reply,
    run::{Done, Driver, told},
};
use crate::{
    control::{
        Actor, Refusal,
        rollout::{Request, Told},
    },
    rollout::steps::{self, Input},
    units::Name,
};

/// The services of a rollout that is about to begin.
pub(super) struct Place {
    /// The rollout's.
    pub id: u64,
    services: BTreeSet<Name>,
    /// What is asked for there, or said to it, before it has begun.
    pub waiting: Vec<(Request, Reply)>,
}

impl Driver {
    /// Begins what has all that it needs, once its place is free.
    pub async fn begin_for(&mut self, request: Request, reply: Reply) {
        // Its sources took their time to answer: the same call may have been followed meanwhile.
        let checked = match self.answered(&request).await {
            Ok(Some(told)) => {
                let _ = reply.send(Ok(told));
                return;
            }
            Ok(None) => self.check(&request).await,
            Err(refusal) => Err(refusal),
        };
        let checked = match checked {
            Ok(checked) => checked,
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        if request.dry_run {
            let begins = self.prepare(checked, &request);
            let (told, notes) = (told(begins.rollout, true), begins.notes);
            let _ = reply.send(Ok(Told { notes, ..told }));
            return;
        }
        let place = self.place_of(&checked);
        let mut places = self.places.iter_mut();
        if let Some(taken) = places.find(|taken| !taken.services.is_disjoint(&place.services)) {
            taken.waiting.push((request, reply));
            return;
        }
        if let Some(id) = checked.running.iter().find(|id| self.is_in_hand(**id))
            && let Some(ride) = self.rides.get_mut(id)
        {
            ride.waiting.push_back((request, reply));
            return;
        }
        self.places.push(place);
        if checked.running.is_empty() {
            let begins = self.prepare(checked, &request);
            self.set_out(begins, request, reply).await;
        } else {
            self.supersede(checked, request, reply).await;
        }
    }

    fn place_of(&self, checked: &Checked) -> Place {
        let rides = checked.running.iter().filter_map(|id| self.rides.get(id));
        let members = rides.flat_map(|ride| &ride.rollout.members);
        let services = members.chain(&checked.members);
        Place {
            id: checked.id,
            services: services.map(|member| member.service.clone()).collect(),
            waiting: Vec::new(),
        }
    }

    /// What it has can be given back only once it is known what that is.
    fn is_in_hand(&self, id: u64) -> bool {
        let Some(ride) = self.rides.get(&id).filter(|ride| ride.rising.is_some()) else {
            return false;
        };
        ride.rollout.is_rolling() || !self.facts(ride, Self::itself(), None).stable_is_ready
    }

    /// Ends those that are there.
    async fn supersede(&mut self, checked: Checked, request: Request, reply: Reply) {
        let mut ends = Vec::new();
        for id in &checked.running {
            ends.extend(self.end_one(*id, request.by.clone()).await);
        }
        let place = checked.id;
        self.tasks.spawn(async move {
            let mut failed = None;
            for (name, answer) in ends {
                if let Ok(Err(mut refusal)) = answer.await {
                    refusal.detail = format!("{name} cannot be superseded: {}", refusal.detail);
                    failed = Some(refusal);
                }
            }
            Done::Vacated {
                place,
                request,
                reply,
                failed,
            }
        });
    }

    async fn end_one(
        &mut self,
        id: u64,
        by: Actor,
    ) -> Option<(String, oneshot::Receiver<Result<Told, Refusal>>)> {
        let ride = self.rides.get(&id)?;
        let facts = self.facts(ride, by, None);
        let next = steps::step(&ride.rollout, &ride.plan, &facts, Input::Superseded).ok()?;
        let name = format!("rollout {id} of {}", ride.rollout.service());
        let (reply, answer) = oneshot::channel();
        self.follow(id, next, Some(reply), facts.by).await;
        Some((name, answer))
    }

    /// Begins what was to begin there, if those that were there have ended.
    pub async fn vacated(
        &mut self,
        place: u64,
        request: Request,
        reply: Reply,
        failed: Option<Refusal>,
    ) {
        let checked = match failed {
            Some(refusal) => Err(refusal),
            None => self.check(&request).await,
        };
        match checked {
            Ok(checked) => {
                let checked = Checked {
                    id: place,
                    ..checked
                };
                let begins = self.prepare(checked, &request);
                self.set_out(begins, request, reply).await;
            }
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                self.leave(place).await;
            }
        }
    }

    /// It has begun, or will not: what has waited for that is looked at.
    pub async fn leave(&mut self, id: u64) {
        let Some(at) = self.places.iter().position(|place| place.id == id) else {
            return;
        };
        for (request, reply) in self.places.remove(at).waiting {
            Box::pin(self.asked(request, reply)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PART_BY_PART, ROLLING, World, begins};
    use crate::control::{
        Code,
        rollout::{Phase as Step, Stage, Verb},
    };

    #[tokio::test]
    async fn a_rise_that_waits_for_the_disk_is_taken_back_at_once_and_then_the_other_begins() {
        let mut world = World::at_its_first_step(PART_BY_PART, Some("green")).await;
        assert_eq!(world.weights(), "blue=80 green=20");
        world.disk.hang_at("sync");
        let rise = world.ask(Verb::Promote { id: 1, full: false }).await;
        assert!(world.rises());
        let behind = world.ask(Verb::Pause { id: 1 }).await;
        let mut start = world.begin(Some("green"), true).await;
        world
            .until("the traffic to be back", |world| {
                world.weights() == "blue=100"
            })
            .await;
        assert!(start.try_recv().is_err(), "what is begun is written down");
        world.disk.mend();
        let refused = world.hear(rise).await.unwrap_err();
        assert_eq!(refused.code, Code::NotDurable, "{refused}");
        let refused = world.hear(behind).await.unwrap_err();
        assert_eq!(refused.code, Code::InvalidTransition);
        assert!(refused.detail.contains("superseded"), "{refused}");
        let begun = world.hear(start).await.unwrap();
        assert_eq!(begun.rollout.id, 2);
        assert_eq!(world.remembered(1).await.stage, Stage::Superseded);
        assert_eq!(world.weights(), "blue=100");
        world.until_waiting(2).await;
        assert_eq!(world.weights(), "blue=80 green=20");
        let driven: Vec<_> = world.driver.rides.keys().collect();
        assert_eq!(driven, [&2], "one at a time");
        let ended = world.remembered(1).await;
        assert!(ended.ended.is_some() && ended.share == 0.0);
    }

    #[tokio::test]
    async fn a_call_that_comes_again_while_the_other_one_ends_begins_no_third() {
        let mut world = World::at_its_first_step(PART_BY_PART, Some("green")).await;
        world.disk.hang_at("sync");
        let rise = world.ask(Verb::Promote { id: 1, full: false }).await;
        let starts = [
            world.ask_with(begins(Some("green"), true), Some("k")).await,
            world.ask_with(begins(Some("green"), true), Some("k")).await,
        ];
        world.disk.mend();
        for start in starts {
            assert_eq!(world.hear(start).await.unwrap().rollout.id, 2);
        }
        world.hear(rise).await.unwrap_err();
        world.until_waiting(2).await;
    }

    #[tokio::test]
    async fn a_batch_that_is_being_drained_is_drained_before_another_begins_with_it() {
        let mut world = World::start(ROLLING).await;
        let begun = world.begin(None, false).await;
        world.hear(begun).await.unwrap();
        world.disk.hang_at("sync");
        world.until("its first batch", World::rises).await;
        let mut start = world.begin(None, true).await;
        assert!(
            start.try_recv().is_err(),
            "nothing is known of the batch yet"
        );
        world.disk.mend();
        let begun = world.hear(start).await.unwrap().rollout;
        let before = world.remembered(1).await;
        assert_eq!((begun.id, before.stage), (2, Stage::Superseded));
        let (begun, before) = (begun.batches.unwrap(), before.batches.unwrap());
        assert_eq!((&begun.left[..], before.out), (before.current(), true));
        assert_eq!(
            (world.drained(), &begun.all[0]),
            (begun.left.clone(), &begun.left)
        );
    }

    #[tokio::test]
    async fn a_batch_that_is_being_put_back_is_back_before_another_begins() {
        let mut world = World::start(ROLLING).await;
        let begun = world.begin(None, false).await;
        world.hear(begun).await.unwrap();
        world
            .until("the batch to be replaced", |world| {
                world.stage(1).and_then(Stage::phase) == Some(Step::Replacing)
            })
            .await;
        world.disk.hang_at("sync");
        let replaced = world.ask(Verb::Skip { id: 1 }).await;
        assert!(world.rises());
        let start = world.begin(None, true).await;
        world.disk.mend();
        world.hear(replaced).await.unwrap();
        let begun = world.hear(start).await.unwrap().rollout;
        assert_eq!(world.remembered(1).await.stage, Stage::Superseded);
        assert!(begun.batches.unwrap().left.is_empty());
        assert_eq!(world.drained(), []);
    }

    #[tokio::test]
    async fn one_whose_traffic_cannot_go_back_stays_and_the_start_is_told_why() {
        let mut world = World::at_its_first_step(PART_BY_PART, Some("green")).await;
        world.sick = Some("blue");
        world
            .until("blue to be unready", |world| world.ready("blue") == 0)
            .await;
        let start = world.begin(Some("green"), true).await;
        let refused = world.hear(start).await.unwrap_err();
        assert_eq!(refused.code, Code::PoolNotReady, "{refused}");
        let why = "rollout 1 of shop cannot be superseded: ";
        assert!(refused.detail.starts_with(why), "{refused}");
        assert_eq!(world.weights(), "blue=80 green=20");
        world.until_waiting(1).await;
        let abort = world.ask(Verb::Abort { id: 1 }).await;
        world.hear(abort).await.unwrap();
        assert_eq!(world.weights(), "blue=100");
    }
}
