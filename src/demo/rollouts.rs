//! The last act: new versions that are judged by their requests. A good one gets everything; one that fails and one that is slow are
//! taken back by themselves.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    apps::Manner,
    story::{Failed, Stage, say, unexpected},
};
use crate::units::Timestamp;

/// For a rollout to end in; each takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Parts of seconds where a plan has minutes. All requests here are of one client, so that one that has met errors has to do.
fn plan() -> Value {
    json!({
        "warm_up": "100ms",
        "steps": [{"share": "10%", "hold": "300ms"}, {"share": "50%", "judge": "1s"}],
        "bake": "300ms",
        "guard": {"min_clients": 1},
        "judge": {"interval": "800ms"},
    })
}

impl Stage {
    pub async fn roll_out(&mut self) -> Result<(), Failed> {
        self.rolled("rollout of a good green", "green", "succeeded")
            .await?;
        self.blue.be(Manner::Failing);
        self.rolled("rollout of a blue that fails", "blue", "failed")
            .await?;
        self.blue.be(Manner::Slow);
        self.rolled("rollout of a blue that is slow", "blue", "failed")
            .await
    }

    /// Rolls a pool out, waits for the end of it, and prints what came of it.
    async fn rolled(&mut self, step: &str, to: &str, outcome: &str) -> Result<(), Failed> {
        drop(self.load.take());
        let start = json!({"to": to, "plan": plan()});
        let started = self.post("rollouts", start).await?;
        let rollout = self.until_over(&started["rollout"]["id"]).await?;
        let (requested, seen) = (self.shares().await?, self.load.take());
        let row = if outcome == "succeeded" {
            self.table.row(step, &requested, &seen)
        } else {
            self.table.row_of_bad(step, &requested, &seen)
        };
        say(&row);
        say(&told(&rollout)?);
        if rollout["stage"] == outcome {
            Ok(())
        } else {
            Err(unexpected(&format!("it should have {outcome}")))
        }
    }

    async fn until_over(&self, id: &Value) -> Result<Value, Failed> {
        let bound = Instant::now() + PATIENCE;
        loop {
            let rollout = self.ask(&format!("/v1/rollouts/{id}")).await?;
            if matches!(rollout["stage"].as_str(), Some("succeeded" | "failed")) {
                return Ok(rollout);
            }
            if Instant::now() > bound {
                return Err(unexpected(&format!("the rollout does not end: {rollout}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What has become of a rollout that is over, below its row.
fn told(rollout: &Value) -> Result<String, Failed> {
    let counts = &rollout["counts"];
    if rollout["stage"] == "succeeded" {
        let seconds = between(&rollout["started"], &rollout["promoted"])?;
        return Ok(format!(
            "  promoted after {seconds:.1} s and {} requests to it",
            counts["requests"]
        ));
    }
    let cause = &rollout["cause"];
    // What it is concluded from; that chance is no explanation is `cutover rollout status`'s to tell.
    let detail = cause["detail"].as_str().unwrap_or_default();
    let seen = detail.split(';').next().unwrap_or_default();
    let kind = cause["kind"].as_str().unwrap_or_default();
    let (since, at) = match &counts["first_error"] {
        Value::Null => ("start", &rollout["started"]),
        first => ("first error", first),
    };
    let millis = 1000.0 * between(at, &rollout["restored"])?;
    Ok(format!(
        "  taken back {millis:.0} ms after its {since} by the {kind}: {seen}\n  \
         {} requests to it, {} failed, {} of them answered by the old version, {} seen by users",
        counts["requests"], counts["errors"], counts["rescued"], counts["felt"]
    ))
}

/// Seconds.
fn between(from: &Value, to: &Value) -> Result<f64, Failed> {
    let read = |at: &Value| {
        let at = at.as_str().unwrap_or_default();
        at.parse::<Timestamp>().map_err(|error| unexpected(&error))
    };
    Ok(read(to)?.duration_since(read(from)?).as_secs_f64())
}
