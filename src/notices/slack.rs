//! Lines for a chat: Slack, and what takes the same (Mattermost, Rocket.Chat, Discord below `/slack`).

use std::fmt::Write;

use serde_json::Value;

use crate::{
    control::{Event, Kind},
    outbound::printable,
};

/// Of what people and endpoints have written.
const SHOWN: usize = 500;

/// `*shop*: rollout-rollback (rollout 17, 5 %): guard: 6 errors ... (rollout)`.
pub(super) fn text(event: &Event) -> String {
    let mut text = String::new();
    if let Some(mark) = mark(event.kind) {
        text.push_str(mark);
        text.push(' ');
    }
    let places = [
        event.service.as_ref().map(ToString::to_string),
        event.pool.as_ref().map(ToString::to_string),
        event.endpoint.as_ref().map(ToString::to_string),
    ];
    let place: Vec<String> = places.into_iter().flatten().collect();
    if !place.is_empty() {
        // A string takes everything.
        let _ = write!(text, "*{}*: ", plain(&place.join("/")));
    }
    text.push_str(event.kind.as_str());
    text.push_str(&stands(&event.after));
    let why = event.after.pointer("/cause/detail").and_then(Value::as_str);
    for said in [why, event.reason.as_deref()].into_iter().flatten() {
        let _ = write!(text, ": {}", plain(said));
    }
    let _ = write!(
        text,
        " ({} by {})",
        plain(&event.actor.name),
        plain(&event.actor.via)
    );
    text
}

fn mark(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::RolloutRollback | Kind::RolloutFailed | Kind::RolloutAlarm | Kind::FailOpen => {
            Some(":red_circle:")
        }
        Kind::RolloutPaused | Kind::PoolUnready | Kind::ConfigRejected => Some(":warning:"),
        Kind::RolloutPromoted | Kind::RolloutSucceeded => Some(":white_check_mark:"),
        _ => None,
    }
}

/// Where a rollout stands, if it is of one.
fn stands(after: &Value) -> String {
    let Some(rollout) = after.get("rollout").and_then(Value::as_u64) else {
        return String::new();
    };
    let share = after.get("share").and_then(Value::as_f64);
    let share = share.map(|share| format!(", share {:.4}", share * 100.0));
    let share = share.map(|share| {
        let share = share.trim_end_matches('0').trim_end_matches('.');
        format!("{share} %")
    });
    format!(" (rollout {rollout}{})", share.unwrap_or_default())
}

/// Nothing that Slack takes for markup: who writes a reason names nobody and links nowhere.
fn plain(text: &str) -> String {
    let text = printable(text.as_bytes(), SHOWN);
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::{Actor, ActorKind};

    pub fn event(kind: Kind) -> Event {
        Event {
            id: 7,
            at: "2024-11-28T12:05:28Z".parse().expect("a moment"),
            kind,
            service: Some("shop".parse().expect("a name")),
            pool: None,
            endpoint: None,
            actor: Actor::new("rollout", ActorKind::Rollout, "rollout"),
            reason: None,
            before: Value::Null,
            after: json!({
                "rollout": 17, "state": "rolling-back", "share": 0.05,
                "cause": {"kind": "guard", "detail": "6 errors of 41 requests"},
            }),
            generation: 9,
        }
    }

    #[test]
    fn a_rollout_is_told_with_where_it_stands_and_why() {
        let told = text(&event(Kind::RolloutRollback));
        assert_eq!(
            told,
            ":red_circle: *shop*: rollout-rollback (rollout 17, share 5 %): 6 errors of 41 requests \
             (rollout by rollout)"
        );
    }

    #[test]
    fn what_somebody_wrote_is_no_markup() {
        let told = text(&Event {
            after: Value::Null,
            reason: Some("<!channel> see <https://evil.example|here>\n& go".into()),
            ..event(Kind::Weights)
        });
        assert_eq!(
            told,
            "*shop*: weights: &lt;!channel&gt; see &lt;https://evil.example|here&gt; &amp; go \
             (rollout by rollout)"
        );
    }
}
