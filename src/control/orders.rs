//! Commands as they are taken: checked, gated, staged, and answered.

use serde_json::json;

use super::{
    Actor, Applied, AppliedService, Change, Kind, Order, Phase, Refusal,
    controller::{Controller, Reply},
    decide, gates, load,
    stage::{Draft, Stage},
    unwritten::Asked,
    view::Rejected,
};
use crate::{
    config::Plan,
    pool::State,
    snapshot::Service,
    units::{Name, Timestamp},
};

impl Controller {
    pub(super) fn change(&mut self, asked: Asked) {
        let (changes, order) = (&asked.changes[..], &asked.order);
        let staged = gates::shape(changes, order).and_then(|()| {
            let at = Timestamp::now();
            match self.book.memory.answers.recall(changes, order, at) {
                Some(answer) => answer.map(Err),
                None => self.stage(changes, order, at).map(Ok),
            }
        });
        let mut stage = match staged {
            Ok(Ok(stage)) => stage,
            Ok(Err(again)) => return respond(asked.reply, Ok(again)),
            Err(refusal) => {
                self.count_refusal(&refusal);
                return respond(asked.reply, Err(refusal));
            }
        };
        for change in changes {
            stage.touched_or_named.insert(change.service().clone());
        }
        let mut applied = self.applied(&stage);
        let takes_back = !stage.raises && self.unwritten.has_any_of(&stage.touched_or_named);
        if order.dry_run || (stage.is_idle() && !takes_back) {
            applied.dry_run = order.dry_run;
            applied.generation = self.press.generation();
            return respond(asked.reply, Ok(applied));
        }
        if stage.raises && !self.unwritten.is_free() {
            // Decided on what the one before it leaves.
            return self.unwritten.stand_behind(asked);
        }
        let at = stage.at;
        stage
            .book
            .memory
            .answers
            .remember(changes, order, &applied, at);
        if stage.raises {
            self.write_first(stage, applied, asked);
        } else {
            self.overtake(&stage.touched_or_named);
            if takes_back {
                let note = "what waited for the disk is taken back";
                applied.notes.push(note.to_owned());
            }
            self.commit(stage);
            applied.generation = self.press.generation();
            self.save_and_answer(applied, Some(asked.reply));
        }
    }

    /// The changes made on a copy of the book, or why they may not be.
    fn stage(&self, changes: &[Change], order: &Order, at: Timestamp) -> Result<Stage, Refusal> {
        let mut stage = Stage::new(&self.book, order, at);
        stage.raises = !changes
            .iter()
            .all(|change| decide::lowers(&self.book, change));
        gates::revision(&stage, changes, order)?;
        for change in changes {
            match change {
                // It has yet to serve: to take it back is the way back.
                Change::Rollback {
                    service,
                    to_revision: None,
                    ..
                } if self.unwritten.shifts(service) => {
                    let weights = json!({ "weights": stage.book.service_weights(service) });
                    let draft = stage.draft(Kind::Rollback, service);
                    stage.drafts.push(draft.turns(weights.clone(), weights));
                }
                change => decide::apply(&mut stage, change)?,
            }
        }
        for change in changes {
            stage.book.memory_mut(change.service())?.deadline = order.deadline;
        }
        gates::pass(&stage, &self.roster, changes)?;
        Ok(stage)
    }

    /// The file outlives a restart by itself, so it serves before what it decided is written down.
    pub(super) fn load(&mut self, plan: Plan, order: &Order, reply: Reply) {
        let mut stage = Stage::new(&self.book, order, Timestamp::now());
        if let Err(refusal) = load::load(&mut stage, plan, &self.roster, true) {
            self.count_refusal(&refusal);
            if !order.dry_run {
                self.rejected(refusal.detail.clone(), &order.actor);
            }
            return respond(reply, Err(refusal));
        }
        stage.touched_or_named.clone_from(&stage.touched);
        let mut applied = self.applied(&stage);
        applied.dry_run = order.dry_run;
        applied.generation = self.press.generation();
        if order.dry_run {
            return respond(reply, Ok(applied));
        }
        let mended = self.config.rejected.take().is_some();
        if stage.is_idle() {
            self.counts.reloads_unchanged += 1;
            applied.notes.push("nothing has changed".to_owned());
            if mended {
                let draft = Draft::new(Kind::Config, &order.actor);
                self.tell(draft.because("the file is again what is in force"));
            }
            return respond(reply, Ok(applied));
        }
        self.counts.reloads_applied += 1;
        self.config.applied = stage.at;
        self.overtake(&stage.touched);
        self.commit(stage);
        self.sources.forget(&self.book);
        applied.generation = self.press.generation();
        self.save_and_answer(applied, Some(reply));
    }

    /// The same problems again, as a file that is looked at again has, are told once.
    pub(super) fn rejected(&mut self, problems: String, actor: &Actor) {
        let known = self.config.rejected.as_ref();
        if known.is_some_and(|known| known.problems == problems) {
            return;
        }
        self.counts.reloads_rejected += 1;
        let draft = Draft::new(Kind::ConfigRejected, actor);
        self.tell(draft.because(problems.clone()));
        self.config.rejected = Some(Rejected {
            since: Timestamp::now(),
            problems,
        });
    }

    pub(super) fn certificate(&mut self, failed: bool, said: String) {
        let kind = if failed {
            Kind::CertificateFailed
        } else {
            Kind::Certificate
        };
        self.tell(Draft::new(kind, &Actor::system()).because(said));
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        let before = self.phase.send_replace(phase);
        if before == Phase::Starting {
            self.warm_up();
        }
        if before != phase {
            let draft = Draft::new(Kind::Phase, &Actor::system());
            self.tell(draft.turns(json!(before), json!(phase)));
        }
    }

    /// Who was there before this process is not new because this process is.
    fn warm_up(&mut self) {
        self.roster.warm_up();
        let services = self.book.plan.services.values();
        let slow = services.filter(|service| {
            let mut pools = service.pools.values();
            pools.any(|pool| pool.slow_start.is_some())
        });
        self.dirty.extend(slow.map(|service| service.name.clone()));
    }

    /// What is answered of a stage, before it is in force.
    fn applied(&self, stage: &Stage) -> Applied {
        let snapshot = self.press.publisher.current();
        let services = stage.touched_or_named.iter().filter_map(|name| {
            let (plan, memory) = stage.book.service(name).ok()?;
            let published = snapshot.service(name.as_str());
            let shares = plan.pools.keys().map(|pool| {
                let share = memory.weights.share(pool.as_str());
                (pool.clone(), share)
            });
            Some(AppliedService {
                service: name.clone(),
                revision: memory.revision,
                before: stage.before.service_weights(name),
                weights: memory.weights.clone(),
                share: shares.collect(),
                in_flight: published.map_or(0, |published| losing(stage, name, published)),
            })
        });
        Applied {
            generation: snapshot.generation + 1,
            durable: true,
            dry_run: false,
            services: services.collect(),
            diff: stage.diff.clone(),
            notes: stage.notes.clone(),
        }
    }
}

/// Requests in flight on endpoints that get no more by the change.
fn losing(stage: &Stage, name: &Name, published: &Service) -> u64 {
    let after = stage.book.service_weights(name);
    let memory = stage.book.memory.services.get(name);
    let pools = published.pools.iter().map(|pool| {
        let pool_name = pool.name().as_str();
        let lost = published.weights.get(pool_name) > 0 && after.get(pool_name) == 0;
        let members = stage.book.members(name, pool.name());
        let leaves = |member: &&crate::snapshot::Member| {
            let address = &member.endpoint.key.address;
            let gone = !members.iter().any(|(held, _)| held == address);
            let drains = memory.is_some_and(|memory| memory.drain(pool_name, address).is_some());
            lost || gone || (drains && !matches!(member.state, State::Draining | State::Drained))
        };
        let leaving = pool.members.iter().filter(leaves);
        leaving
            .map(|member| member.endpoint.in_flight())
            .sum::<u64>()
    });
    pools.sum()
}

pub(super) fn respond(reply: Reply, answer: Result<Applied, Refusal>) {
    // Whoever asked may have gone.
    let _ = reply.send(answer);
}
