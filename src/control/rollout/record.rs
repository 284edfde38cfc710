use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Phase, Stage};
use crate::{
    control::Actor,
    units::{Address, Name, Percent, RescueRule, Timestamp, Trial, Weights},
};

/// How many entries of its log a rollout keeps.
const LOG: usize = 200;
/// How many keys of calls.
const KEYS: usize = 20;

/// One rollout, of one service or of several that are moved and taken back together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Grows from one to the next.
    pub id: u64,
    /// The first is the one it is named after.
    pub members: Vec<Member>,
    /// As typed, without secrets: the plan holds for the whole rollout, whatever the file says meanwhile.
    pub plan: Value,
    /// Of the plan: how many steps there are.
    pub steps: usize,
    pub stage: Stage,
    /// When its phase was begun; moved on by the time of a pause.
    pub since: Timestamp,
    pub paused: Option<Paused>,
    /// Of the new pool, as decided last: it is never raised above that without another decision.
    pub share: f64,
    /// While it has none: the part of the stable pool's requests that it gets copies of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Percent>,
    pub started: Timestamp,
    pub by: Actor,
    pub reason: Option<String>,
    pub ended: Option<Timestamp>,
    /// Why it goes back, or went.
    pub cause: Option<Cause>,
    /// When the old version had everything again.
    pub restored: Option<Timestamp>,
    /// Requests that a failing first attempt is made up for.
    pub rescue: Option<RescueRule>,
    /// Until its last entry.
    pub counts: Counts,
    /// When the new version first had all requests.
    #[serde(default)]
    pub promoted: Option<Timestamp>,
    /// The one that this is begun anew from.
    #[serde(default)]
    pub retry_of: Option<u64>,
    /// How long it did not go on by itself, up to the end of its last pause.
    #[serde(default)]
    pub paused_ms: u64,
    /// The calls with a key that it has followed: one that comes once more is not followed again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Keyed>,
    /// Of a rolling replacement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<Batches>,
    /// Oldest first.
    pub log: Vec<Entry>,
}

/// A call that was followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Keyed {
    pub key: String,
    /// What it was.
    pub said: String,
    pub at: Timestamp,
}

/// The endpoints of a rolling replacement, as they were when it was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batches {
    /// Those of each batch.
    pub all: Vec<Vec<Address>>,
    /// The one it is at, or was last.
    pub at: usize,
    /// That one is drained for it.
    pub out: bool,
    /// What the one before had left drained when this was begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Address>,
}

impl Batches {
    /// The endpoints of the batch that it is at.
    pub fn current(&self) -> &[Address] {
        self.all.get(self.at).map_or(&[], Vec::as_slice)
    }

    /// Where it is drained, that was done for a replacement, and by nobody else.
    pub fn has_drained(&self, address: &Address) -> bool {
        self.left.contains(address) || (self.out && self.current().contains(address))
    }

    /// Of all its endpoints, the part in the first `count` batches.
    pub fn part(&self, count: usize) -> f64 {
        let of = |batches: &[Vec<Address>]| {
            let sum: usize = batches.iter().map(Vec::len).sum();
            f64::from(u32::try_from(sum).unwrap_or(u32::MAX))
        };
        of(&self.all[..count.min(self.all.len())]) / of(&self.all).max(1.0)
    }
}

/// One service of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub service: Name,
    /// The stable pool.
    pub from: Name,
    /// The new one.
    pub to: Name,
    /// What the new one runs, and the stable one.
    pub version: Option<String>,
    pub version_before: Option<String>,
    /// Of the service, by the rollout's last decision: a later one is somebody else's.
    pub revision: u64,
}

/// It does not go on by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Paused {
    pub reason: Pause,
    pub since: Timestamp,
    /// In words.
    pub detail: String,
    /// It would have been taken back meanwhile; told once.
    #[serde(default)]
    pub alarmed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    /// Somebody said so.
    Person,
    /// Somebody, or the file, has changed the weights: they are theirs now.
    Manual,
    /// Nobody approved in time.
    Approval,
    /// A step's time was over before enough was known.
    InsufficientData,
    /// A hook did not answer in time, or could not be asked.
    Hook,
    /// What was decided could not be put in force.
    Refused,
    /// It is to be taken back, and the old version is not ready.
    StableNotReady,
}

/// Why a rollout goes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// `guard`, `judge`, `absolute`, `metric`, `probes`, `hook`, `approval`, `insufficient-data`, `not-ready`, `abort`, `rollback`, `undo`.
    pub kind: String,
    pub detail: String,
    pub at: Timestamp,
    /// Figures of what it was concluded from.
    pub evidence: Value,
}

/// What became of first attempts, since the rollout was begun, over all its services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Of the new version.
    pub requests: u64,
    pub errors: u64,
    /// Of those, which were made up for by the stable one.
    pub rescued: u64,
    /// Of the errors, those that a user saw.
    pub felt: u64,
    pub stable_requests: u64,
    pub stable_errors: u64,
    /// When the first error of the new version was seen.
    #[serde(default)]
    pub first_error: Option<Timestamp>,
}

/// One line of what happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    #[serde(flatten)]
    pub stage: Stage,
    pub share: f64,
    pub by: Actor,
    pub detail: String,
}

impl Rollout {
    /// The service it is named after.
    pub fn service(&self) -> &Name {
        &self.members[0].service
    }

    pub fn member(&self, service: &Name) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.service == *service)
    }

    /// The stable pool of a service and the new one.
    pub fn pools(&self, service: &Name) -> impl Iterator<Item = &Name> {
        let member = self.member(service).into_iter();
        member.flat_map(|member| [&member.from, &member.to])
    }

    /// It goes back, and the new version has its share still; of a rolling replacement, the batch serves that is to be drained.
    pub fn is_stuck(&self) -> bool {
        let stands_still = if self.is_rolling() {
            self.restored.is_none()
        } else {
            self.share > 0.0
        };
        self.stage == Stage::RollingBack && stands_still
    }

    pub fn is_over(&self) -> bool {
        self.stage.is_over()
    }

    /// Goes on after a pause. How long that was.
    pub fn end_pause(&mut self, now: Timestamp) -> Option<jiff::SignedDuration> {
        let paused = self.paused.take()?;
        let span = now
            .duration_since(paused.since)
            .max(jiff::SignedDuration::ZERO);
        self.paused_ms += u64::try_from(span.as_millis()).unwrap_or(0);
        Some(span)
    }

    /// Remembers a call that it follows.
    pub fn remember(&mut self, key: String, said: String, at: Timestamp) {
        if self.keys.len() >= KEYS {
            self.keys.remove(0);
        }
        self.keys.push(Keyed { key, said, at });
    }

    /// Endpoints of one pool are replaced in batches; nothing goes from pool to pool.
    pub fn is_rolling(&self) -> bool {
        self.batches.is_some()
    }

    /// The new version has had a share, if only for a moment.
    pub fn has_met_users(&self) -> bool {
        let logged = self.log.iter().any(|entry| entry.share > 0.0);
        logged || self.share > 0.0 || self.promoted.is_some() || self.counts.requests > 0
    }

    /// As people name where it stands: a pause before its stage.
    pub fn state(&self) -> &'static str {
        if self.paused.is_some() {
            "paused"
        } else {
            self.stage.as_str()
        }
    }

    /// Who is compared with whom in a service, for as long as they are.
    pub fn trial(&self, service: &Name, weights: &Weights) -> Option<Trial> {
        let member = self.member(service).filter(|_| self.stage.compares())?;
        let batch = match &self.batches {
            None => Vec::new(),
            Some(batches) => {
                let serves = self.stage.phase().is_some_and(Phase::serves);
                batches
                    .current()
                    .iter()
                    .filter(|_| serves)
                    .cloned()
                    .collect()
            }
        };
        if self.is_rolling() && batch.is_empty() {
            return None;
        }
        let stable_serves = weights.get(member.from.as_str()) > 0;
        Some(Trial {
            id: self.id,
            stable: member.from.clone(),
            candidate: member.to.clone(),
            // Any number that differs from one rollout to the next.
            salt: self.id,
            rescue: self.rescue.clone().filter(|_| stable_serves),
            batch,
            copies: self.copies,
        })
    }

    /// Adds a line to its log; of a long one the middle is dropped, so that it still tells how it began.
    pub fn note(&mut self, at: Timestamp, by: &Actor, detail: impl Into<String>) {
        if self.log.len() >= LOG {
            self.log.remove(LOG / 2);
        }
        self.log.push(Entry {
            at,
            stage: self.stage,
            share: self.share,
            by: by.clone(),
            detail: detail.into(),
        });
    }
}
