//! What needs no decision: what is asked, and what is taken note of.

use tokio::sync::oneshot;

use super::{View, controller::Controller, handle::Question, look, view::Service};
use crate::units::{Name, Timestamp};

impl Controller {
    pub(super) fn answer(&mut self, question: Question) {
        match question {
            Question::Note(command, reply) => {
                self.take(command);
                tell(reply, ());
            }
            Question::View(reply) => {
                let names = self.book.plan.services.keys();
                let services = names.filter_map(|name| self.service(name)).collect();
                tell(reply, self.view(services));
            }
            Question::Service(name, reply) => {
                let service = self.service(&name);
                tell(reply, service.map(|service| self.view(vec![service])));
            }
            Question::History(name, reply) => {
                let memory = self.book.service(&name).ok();
                tell(
                    reply,
                    memory.map(|(_, memory)| memory.history.list().to_vec()),
                );
            }
            Question::Recall(changes, order, reply) => {
                let answers = &self.book.memory.answers;
                tell(reply, answers.recall(&changes, &order, Timestamp::now()));
            }
            Question::Readiness(pools, since, reply) => {
                let pools = pools.iter();
                let all = pools.map(|pool| self.book.readiness(&self.roster, pool, since));
                tell(reply, all.collect());
            }
        }
    }

    fn service(&self, name: &Name) -> Option<Service> {
        let snapshot = self.press.publisher.current();
        look::service(&self.book, &self.roster, &self.sources, &snapshot, name)
    }

    fn view(&self, services: Vec<Service>) -> View {
        View {
            plan: self.book.plan.clone(),
            snapshot: self.press.publisher.current(),
            started: self.started,
            phase: *self.phase.borrow(),
            config: self.config.clone(),
            durability: self.durability.clone(),
            services,
            counts: self.counts.clone(),
        }
    }
}

fn tell<T>(reply: oneshot::Sender<T>, answer: T) {
    // Whoever asked may have gone.
    let _ = reply.send(answer);
}
