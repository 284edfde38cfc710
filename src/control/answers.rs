//! Answers given under an idempotency key, for those who ask again.

use std::{collections::VecDeque, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Applied, Change, Code, Order, Refusal};
use crate::units::Timestamp;

/// How long a key is remembered.
const LIFE: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
/// How many are; the oldest are forgotten first.
const KEPT: usize = 1000;

/// Oldest first, and cheap to clone, since every change copies them. Refusals are not kept: they changed nothing, so asking again is safe.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(super) struct Answers(VecDeque<Arc<Answer>>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Of the actor: two may use the same key for different things.
    actor: String,
    key: String,
    /// SHA-256 of the changes.
    asked: String,
    at: Timestamp,
    applied: Applied,
}

impl Answers {
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Answer>> {
        self.0.iter()
    }

    /// The first answer, if the key was used for the same changes; a refusal, if for others.
    pub fn recall(
        &self,
        changes: &[Change],
        order: &Order,
        now: Timestamp,
    ) -> Option<Result<Applied, Refusal>> {
        let key = order.idempotency_key.as_ref()?;
        let answer = self.0.iter().rev().find(|answer| {
            answer.key == *key
                && answer.actor == order.actor.name
                && now.duration_since(answer.at) < LIFE
        })?;
        Some(if answer.asked == fingerprint(changes) {
            Ok(answer.applied.clone())
        } else {
            Err(Refusal::new(
                Code::IdempotencyMismatch,
                "this idempotency key was used for another change within 24 hours",
            )
            .hint("use a new key for a new change"))
        })
    }

    pub fn remember(
        &mut self,
        changes: &[Change],
        order: &Order,
        applied: &Applied,
        now: Timestamp,
    ) {
        let Some(key) = &order.idempotency_key else {
            return;
        };
        self.0.retain(|answer| {
            now.duration_since(answer.at) < LIFE
                && !(answer.key == *key && answer.actor == order.actor.name)
        });
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Arc::new(Answer {
            actor: order.actor.name.clone(),
            key: key.clone(),
            asked: fingerprint(changes),
            at: now,
            applied: applied.clone(),
        }));
    }
}

fn fingerprint(changes: &[Change]) -> String {
    let text = serde_json::to_string(changes).expect("changes have text keys");
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Actor, ActorKind};

    fn order(name: &str, key: &str) -> Order {
        Order {
            idempotency_key: Some(key.to_owned()),
            ..Order::by(Actor::new(name, ActorKind::Person, "token"))
        }
    }

    fn switch(to: &str) -> [Change; 1] {
        [Change::Switch {
            service: "shop".parse().unwrap(),
            to: to.parse().unwrap(),
            version: None,
            force: false,
        }]
    }

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap()
    }

    fn applied(generation: u64) -> Applied {
        Applied {
            generation,
            durable: true,
            dry_run: false,
            services: Vec::new(),
            diff: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_same_key_gets_the_first_answer_for_a_day() {
        let mut answers = Answers::default();
        answers.remember(&switch("green"), &order("ci", "k"), &applied(7), at(0));
        let again = answers.recall(&switch("green"), &order("ci", "k"), at(23));
        assert_eq!(again, Some(Ok(applied(7))));
        let late = answers.recall(&switch("green"), &order("ci", "k"), at(24));
        assert_eq!(late, None);
    }

    #[test]
    fn the_same_key_for_something_else_is_refused() {
        let mut answers = Answers::default();
        answers.remember(&switch("green"), &order("ci", "k"), &applied(7), at(0));
        let other = answers.recall(&switch("blue"), &order("ci", "k"), at(1));
        assert_eq!(other.unwrap().unwrap_err().code, Code::IdempotencyMismatch);
        let somebody_else = answers.recall(&switch("blue"), &order("ann", "k"), at(1));
        assert_eq!(somebody_else, None);
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut answers = Answers::default();
        for index in 0..=KEPT {
            let order = order("ci", &index.to_string());
            answers.remember(&switch("green"), &order, &applied(index as u64), at(0));
        }
        assert_eq!(answers.0.len(), KEPT);
        let first = answers.recall(&switch("green"), &order("ci", "0"), at(0));
        assert_eq!(first, None);
    }
}
