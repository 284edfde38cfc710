//! What a person may say of a rollout where it stands.

use serde_json::Value;

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
            ("abort", goes),
            ("retry", self.stage == Stage::Failed),
            ("undo", self.may_be_undone(now)),
        ];
        all.into_iter()
            .filter_map(|(verb, may)| may.then_some(verb))
            .collect()
    }

    /// When it can be undone no more, once it has succeeded.
    pub fn undone_until(&self) -> Option<Timestamp> {
        let span = |key: &str| {
            let text = self.plan.get(key).and_then(Value::as_str)?;
            let span: Span = text.parse().ok()?;
            jiff::SignedDuration::try_from(span.0).ok()
        };
        let since = self.promoted.unwrap_or(self.since);
        let since = since.checked_add(span("bake").unwrap_or_default()).ok()?;
        since.checked_add(span("undo_window")?).ok()
    }

    fn may_be_undone(&self, now: Timestamp) -> bool {
        matches!(self.stage, Stage::Draining | Stage::Succeeded)
            && self.undone_until().is_none_or(|until| now <= until)
    }
}
