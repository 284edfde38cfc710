//! Those who are asked before a part of a rollout, or told after it.
//!
//! Three answers: it goes on, it does not, or "not yet" (202 with `Retry-After`). Nothing is asked for longer than the hook's own time, and whoever
//! drops the future asks no more: a hook can hold up what comes next, and never a way back.

mod said;
mod signature;

use std::{future::pending, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, Request, StatusCode, header};
use tokio::time::{Instant, sleep, timeout_at};

pub use said::{Said, Side};

use super::{
    outside::{Heard, Outside},
    steps::Answer,
};
use crate::{
    config::plan::{Hook, HookPoint},
    outbound::{self, Backoff, Limits, place, printable},
    units::Timestamp,
};

/// Of an answer's body, in bytes that are read and letters that are shown.
const SHOWN: usize = 1 << 10;
/// Failures in a row that may pass, after which it is one.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Before it is asked again whether it is done.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Asks those of the hooks that are for this point. Before something they are asked one after another, in the order of the file, until one does
/// not pass: what comes later may rely on what came first. After something they are told all at once, and the first in the file that did not
/// take it is the answer: nobody's news waits behind somebody who is down.
pub async fn ask(hooks: Vec<Hook>, point: HookPoint, said: &Said, outside: &Outside) -> Answer {
    let question = Question {
        point,
        body: said.body(point).into(),
        key: said.key(point),
        outside,
    };
    let hooks = hooks.iter().filter(|hook| hook.at.contains(&point));
    if matches!(point, HookPoint::AfterPromote | HookPoint::AfterRollback) {
        let answers = join_all(hooks.map(|hook| question.put_to(hook))).await;
        let failed = answers.into_iter().find(|answer| *answer != Answer::Passed);
        return failed.unwrap_or(Answer::Passed);
    }
    for hook in hooks {
        let answer = question.put_to(hook).await;
        if answer != Answer::Passed {
            return answer;
        }
    }
    Answer::Passed
}

struct Question<'a> {
    point: HookPoint,
    body: Bytes,
    key: String,
    outside: &'a Outside,
}

/// What one answer comes to.
enum Reply {
    Passed,
    /// It is to be asked again, after so long.
    InProgress(Duration),
    Failed(Failure),
}

struct Failure {
    why: String,
    /// It may be otherwise in a moment; in this one, if it says so.
    may_pass: bool,
    after: Option<Duration>,
}

impl Question<'_> {
    async fn put_to(&self, hook: &Hook) -> Answer {
        let until = Instant::now() + hook.timeout;
        let mut so_far = String::new();
        let ended = timeout_at(until, self.converse(hook, until, &mut so_far)).await;
        let who = format!("hook {}", place(&hook.url));
        let (heard, answer) = match ended {
            Ok(Ok(())) => (Heard::Passed, Answer::Passed),
            Ok(Err(why)) => (Heard::Failed, Answer::Failed(format!("{who} {why}"))),
            Err(_) => {
                let (who, then) = (format!("{who}{so_far}"), hook.on_timeout);
                (Heard::Late, Answer::Late { who, then })
            }
        };
        self.outside.count_hook(self.point, heard);
        // After something nothing follows from it, so that nobody else would tell.
        if heard != Heard::Passed {
            tracing::warn!(point = self.point.as_str(), ?answer, "a hook did not pass");
        }
        answer
    }

    /// Until it passes or does not. Says in `so_far` what it has said before that.
    async fn converse(
        &self,
        hook: &Hook,
        until: Instant,
        so_far: &mut String,
    ) -> Result<(), String> {
        let backoff = || Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let (mut failures, mut pauses) = (0, backoff());
        for attempt in 1.. {
            let pause = match self.once(hook, attempt).await {
                Reply::Passed => return Ok(()),
                Reply::InProgress(pause) => {
                    (failures, pauses) = (0, backoff());
                    ", still in progress,".clone_into(so_far);
                    pause
                }
                Reply::Failed(failure) => {
                    failures += 1;
                    let pause = pauses.pause();
                    let pause = failure
                        .after
                        .map_or(pause, |after| after.min(LONGEST_PAUSE));
                    let is_last = failures == TRIES || Instant::now() + pause >= until;
                    if !failure.may_pass || is_last {
                        return Err(failure.why);
                    }
                    *so_far = format!(", which at first {},", failure.why);
                    pause
                }
            };
            sleep(pause).await;
        }
        Ok(())
    }

    async fn once(&self, hook: &Hook, attempt: u32) -> Reply {
        let request = match self.request(hook, attempt) {
            Ok(request) => request,
            Err(error) => {
                return Reply::Failed(Failure {
                    why: format!("cannot be asked: {error}"),
                    may_pass: false,
                    after: None,
                });
            }
        };
        let limits = Limits {
            within: hook.timeout,
            largest: SHOWN,
        };
        match self.outside.client.send(request, limits).await {
            Ok(answer) => read(&answer),
            // Then its time for all attempts is over as well, which is told by whoever measures that.
            Err(outbound::Error::Late) => pending().await,
            Err(error) => Reply::Failed(Failure {
                why: error.to_string(),
                may_pass: error.may_pass(),
                after: None,
            }),
        }
    }

    fn request(&self, hook: &Hook, attempt: u32) -> http::Result<Request<Bytes>> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(hook.url.trim())
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", &self.key)
            .header("cutover-point", self.point.as_str())
            .header("cutover-attempt", attempt);
        if let Some(secret) = &hook.secret {
            let now = Timestamp::now().as_second();
            let signature = signature::signature(secret, now, &self.body);
            let mut signature = HeaderValue::try_from(signature)?;
            signature.set_sensitive(true);
            request = request.header("cutover-signature", signature);
        }
        request.body(self.body.clone())
    }
}

fn read(answer: &outbound::Answer) -> Reply {
    let after = answer.retry_after(Timestamp::now());
    if answer.status == StatusCode::ACCEPTED
        && let Some(after) = after
    {
        return Reply::InProgress(after.clamp(PATIENCE.0, PATIENCE.1));
    }
    if answer.status.is_success() {
        return Reply::Passed;
    }
    let mut why = format!("answered {}", answer.status);
    if answer.status.is_redirection() {
        why.push_str(", and redirects are not followed");
    }
    let said = printable(&answer.body, SHOWN);
    if !said.is_empty() {
        why = format!("{why}: {said}");
    }
    Reply::Failed(Failure {
        why,
        may_pass: answer.may_pass(),
        after,
    })
}
