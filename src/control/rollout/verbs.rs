//! What a person may say of a rollout where it stands.

use std::time::Duration;

use super::{Pause, Phase, Rollout, Stage};
use crate::units::{Span, Timestamp};

impl Rollout {
    /// The orders that it would follow now, as the API names them.
    pub fn verbs(&self, now: Timestamp) -> Vec<&'static str> {
        let pause = self.paused.as_ref().map(|paused| paused.reason);
        let theirs = pause == Some(Pause::Manual);
        let steps = matches!(self.stage, Stage::Stepping { .. });
        let moves = steps || self.stage == Stage::Baking;
        let asks = self.stage.phase() == Some(Phase::Asking);
        let waits = matches!(
            self.stage.phase(),
            Some(Phase::WarmingUp | Phase::Waiting | Phase::Extending)
        );
        let goes = self.stage.compares();
        if self.is_rolling() {
            let paused = pause.is_some_and(|pause| pause != Pause::StableNotReady);
            let replacing = self.stage.phase() == Some(Phase::Replacing);
            let all = [
                ("promote", steps && waits && !theirs),
                ("pause", goes && pause.is_none()),
                ("resume", paused),
                ("skip", !theirs && (asks || replacing || (steps && waits))),
                ("abort", goes || self.is_stuck()),
                ("retry", self.stage == Stage::Failed),
            ];
            return all
                .into_iter()
                .filter_map(|(verb, may)| may.then_some(verb))
                .collect();
        }
        let all = [
            ("promote", moves && !theirs),
            ("pause", goes && pause.is_none()),
            (
                "resume",
                pause.is_some_and(|pause| pause != Pause::StableNotReady),
            ),
            (
                "skip",
                !theirs && (asks || (steps && waits) || self.stage == Stage::Baking),
            ),
            ("abort", goes || self.is_stuck()),
            ("retry", self.stage == Stage::Failed),
            ("undo", self.may_be_undone(now)),
        ];
        all.into_iter()
            .filter_map(|(verb, may)| may.then_some(verb))
            .collect()
    }

    /// When it can be undone no more, once it has succeeded.
    pub fn undone_until(&self) -> Option<Timestamp> {
        self.undone_within(self.planned("undo_window")?)
    }

    /// The same, had its plan this window. Endpoints that were replaced do not come back.
    pub fn undone_within(&self, window: Span) -> Option<Timestamp> {
        if self.is_rolling() {
            return None;
        }
        let bake = self.planned("bake").map_or(Duration::ZERO, |bake| bake.0);
        let since = self.promoted.unwrap_or(self.since);
        let lasts = jiff::SignedDuration::try_from(bake + window.0).ok()?;
        since.checked_add(lasts).ok()
    }

    /// When its bake ends by itself.
    pub fn bakes_until(&self) -> Option<Timestamp> {
        let bake = jiff::SignedDuration::try_from(self.planned("bake")?.0).ok()?;
        self.since.checked_add(bake).ok()
    }

    fn planned(&self, key: &str) -> Option<Span> {
        self.plan.get(key)?.as_str()?.parse().ok()
    }

    fn may_be_undone(&self, now: Timestamp) -> bool {
        matches!(self.stage, Stage::Draining | Stage::Succeeded)
            && self.undone_until().is_none_or(|until| now <= until)
    }
}
