use std::time::Duration;

use super::{super::listeners::tables, Check, unsure, written};
use crate::{
    config::{
        file::{Place, View, keys},
        plan::{Step, Strategy, Then},
        problem::{Code, Problem},
    },
    units::{Percent, Unsure},
};

/// A rollout of more is a slope.
const MOST: usize = 100;

/// The share that the steps have come to, and where that stands.
struct Reached(Percent, Place);

impl Check<'_> {
    /// `None`: a preset says them.
    pub(super) fn steps(
        &mut self,
        view: &View<'_>,
        strategy: Strategy,
        interval: Duration,
    ) -> Option<Vec<Step>> {
        let node = view.node("steps").filter(|node| !node.is_faulty())?;
        if let Some(preset) = view.node("preset") {
            let what = "`preset` says the steps, and so does `steps`";
            let problem = Problem::new(Code::Conflict, node.place, what);
            let problem = problem.key(view.path_of("steps"));
            self.tell(problem.also(preset.place, "the preset").expected("either"));
        }
        let count = node.items().len();
        if count > MOST {
            let problem = Problem::new(
                Code::InvalidValue,
                node.place,
                format!("there are {count} steps"),
            );
            let problem = problem.key(view.path_of("steps"));
            self.tell(problem.expected(format!("at most {MOST}")));
        }
        if strategy == Strategy::Rolling && count > 1 {
            let what = format!("there are {count} steps after each batch");
            let problem = Problem::new(Code::InvalidValue, node.place, what);
            let problem = problem.key(view.path_of("steps"));
            self.tell(problem.expected("one"));
        }
        let mut reached = Reached(Percent::NONE, node.place);
        let mut steps = Vec::new();
        let mut shared = false;
        for step in tables(view, "steps", keys::STEP) {
            shared |= step.has("share");
            self.share_rises(&step, strategy, &mut reached);
            self.copies_come_first(&step, strategy, &reached);
            if strategy != Strategy::Rolling {
                self.has_something_to_judge(&step, &reached);
            }
            let then = self.then(&step, interval);
            steps.extend(then.map(|then| Step {
                share: step.parsed("share"),
                mirror: step.parsed("mirror"),
                then,
            }));
        }
        if strategy == Strategy::Canary && !shared && node.items().iter().all(|it| !it.is_faulty())
        {
            let problem = Problem::new(
                Code::MissingKey,
                node.place,
                "no step gives the new version a share",
            );
            let problem = problem.key(view.path_of("steps"));
            self.tell(
                problem
                    .expected("steps with rising shares, or strategy = \"blue-green\"")
                    .hint("such as steps = [{ share = \"10%\", judge = \"5m\" }]"),
            );
        }
        Some(steps)
    }

    fn share_rises(&mut self, step: &View<'_>, strategy: Strategy, reached: &mut Reached) {
        let Some(share) = step.parsed::<Percent>("share") else {
            return;
        };
        let place = step.place_of("share");
        let problem = |code, what: String| Problem::new(code, place, what);
        let problem = if strategy != Strategy::Canary {
            let problem = problem(
                Code::Conflict,
                "only the steps of a canary have shares".into(),
            );
            problem.expected("no `share`, or strategy = \"canary\"")
        } else if share == Percent::NONE {
            let problem = problem(Code::InvalidValue, "0% is no share".into());
            problem.expected("a share above 0%")
        } else if share == Percent::WHOLE {
            let what = "100% is the promotion, which follows the last step by itself";
            let problem = problem(Code::InvalidValue, what.into());
            problem.expected("a share below 100%; `bake` is how long all traffic is judged")
        } else if share <= reached.0 {
            let what = format!("{share} after {}: the shares of steps rise", reached.0);
            let problem = problem(Code::InvalidValue, what);
            let problem = problem.also(reached.1, "this one was before");
            problem.expected("a larger share, or none, which is as before")
        } else {
            *reached = Reached(share, place);
            return;
        };
        self.tell(problem.key(step.path_of("share")));
    }

    fn copies_come_first(&mut self, step: &View<'_>, strategy: Strategy, reached: &Reached) {
        let Some(part) = step.parsed::<Percent>("mirror") else {
            return;
        };
        let place = step.place_of("mirror");
        let problem = |code, what: &str| Problem::new(code, place, what);
        let problem = if strategy == Strategy::Rolling {
            let what = "a batch is of the pool that serves: there is nobody else to copy to";
            problem(Code::Conflict, what).expected("no `mirror`, or another strategy")
        } else if part == Percent::NONE {
            problem(Code::InvalidValue, "0% is no copy").expected("a part above 0%")
        } else if reached.0 != Percent::NONE {
            let what = "copies are for a version without users, and this one has a share by now";
            let problem = problem(Code::Conflict, what);
            let problem = problem.also(reached.1, "its share");
            problem.expected("`mirror` in a step before it")
        } else {
            return;
        };
        self.tell(problem.key(step.path_of("mirror")));
    }

    fn has_something_to_judge(&mut self, step: &View<'_>, reached: &Reached) {
        let compared = step.has("share") || step.has("mirror") || reached.0 != Percent::NONE;
        if step.has("judge") && !compared {
            let what = "the new version has no traffic yet that could be judged";
            let problem = Problem::new(Code::Conflict, step.place_of("judge"), what);
            let problem = problem.key(step.path_of("judge"));
            self.tell(
                problem
                    .expected("a `share` beside it, or a step before it that has one, or `mirror`"),
            );
        }
    }

    fn then(&mut self, step: &View<'_>, interval: Duration) -> Option<Then> {
        let all = ["hold", "judge", "approval"];
        let named: Vec<_> = all.into_iter().filter(|key| step.has(key)).collect();
        if !step.has("approval") {
            self.only_approvals_time_out(step);
        }
        match named[..] {
            ["hold"] => Some(Then::Hold(step.span("hold"))),
            ["judge"] => {
                let span = written(step, "judge")?;
                self.is_looked_at(step, span, interval);
                Some(Then::Judge(span))
            }
            ["approval"] => Some(self.approval(step)),
            _ => {
                let what = match named[..] {
                    [] => format!("`{}` waits for nothing", step.path),
                    _ => format!("`{}` waits for {} things", step.path, named.len()),
                };
                let problem = Problem::new(Code::Conflict, step.place, what).key(&step.path);
                self.tell(problem.expected("one of `hold`, `judge` and `approval = true`"));
                None
            }
        }
    }

    fn is_looked_at(&mut self, step: &View<'_>, span: Duration, interval: Duration) {
        if span < interval {
            let interval = crate::units::Span(interval);
            let what = format!("this step is over before the first look, after {interval}");
            let problem = Problem::new(Code::Conflict, step.place_of("judge"), what);
            let problem = problem.key(step.path_of("judge"));
            self.tell(problem.expected(format!(
                "at least {interval}, or a shorter `judge.interval`"
            )));
        }
    }

    fn only_approvals_time_out(&mut self, step: &View<'_>) {
        for key in ["timeout", "on_timeout"] {
            if step.has(key) {
                let what = format!("`{key}` is of an approval, and this step waits for none");
                let problem = Problem::new(Code::Conflict, step.place_of(key), what);
                let problem = problem.key(step.path_of(key));
                self.tell(problem.expected("`approval = true` beside it"));
            }
        }
    }

    fn approval(&mut self, step: &View<'_>) -> Then {
        if !step.flag("approval") {
            let what = "an approval is asked for or not written";
            let problem = Problem::new(Code::InvalidValue, step.place_of("approval"), what);
            self.tell(problem.key(step.path_of("approval")).expected("true"));
        }
        let timeout = written(step, "timeout");
        if step.has("on_timeout") && !step.has("timeout") {
            let what = "without a `timeout` it is waited for as long as it takes";
            let problem = Problem::new(Code::Conflict, step.place_of("on_timeout"), what);
            let problem = problem.key(step.path_of("on_timeout"));
            self.tell(problem.expected("`timeout` beside it"));
        }
        Then::Approval {
            timeout,
            on_timeout: match timeout {
                Some(_) => unsure(step, "on_timeout"),
                None => Unsure::Rollback,
            },
        }
    }
}
