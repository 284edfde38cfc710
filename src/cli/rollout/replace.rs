//! The endpoints of a batch are replaced by a command of the caller's.

use http::Method;

use crate::{
    admin::wire::{RolloutChanged, RolloutDetail, RolloutOrder, RolloutVerb},
    cli::{
        client::{Call, Client},
        command::{self, Ended},
        exit::{Exit, Failure},
        leaving::left,
        output::{clean, complain},
    },
};

/// Runs the command for each endpoint of the batch that waits for it, then says so; if it fails, the rollout ends.
pub async fn replace(
    client: &Client,
    exec: &str,
    seen: &RolloutDetail,
    json: bool,
) -> Result<(), Failure> {
    let order = RolloutOrder {
        step: seen.rollout.step,
        ..RolloutOrder::default()
    };
    let endpoints = seen.rollout.batch.iter().flatten();
    for endpoint in endpoints {
        if let Err(failure) = run(exec, seen, endpoint, json).await {
            if failure.exit == Exit::Left {
                return Err(failure);
            }
            complain(&failure);
            let order = RolloutOrder {
                reason: Some(failure.message.clone()),
                ..order
            };
            return tell(client, seen, RolloutVerb::Abort, &order).await;
        }
    }
    tell(client, seen, RolloutVerb::Skip, &order).await
}

/// Whoever is away comes back, and what was said by somebody else meanwhile is seen at the next look.
async fn tell(
    client: &Client,
    seen: &RolloutDetail,
    verb: RolloutVerb,
    order: &RolloutOrder,
) -> Result<(), Failure> {
    let path = format!("/v1/rollouts/{}/{}", seen.rollout.id, verb.as_str());
    let call = Call::new(Method::POST, path, order)?;
    let answer = client.call(call).await;
    match answer.and_then(|body| client.read::<RolloutChanged>(&body)) {
        Err(failure) if !matches!(failure.exit, Exit::Unreachable | Exit::Refused) => Err(failure),
        _ => Ok(()),
    }
}

async fn run(exec: &str, seen: &RolloutDetail, endpoint: &str, json: bool) -> Result<(), Failure> {
    let member = seen.rollout.members.first();
    let version = member.and_then(|member| member.version.as_deref());
    let pool = member.map_or("", |member| member.to.as_str());
    let service = seen.rollout.service.as_str();
    let command = filled(exec, [service, pool, endpoint, version.unwrap_or("")])?;
    let told = [
        ("CUTOVER_SERVICE", service),
        ("CUTOVER_POOL", pool),
        ("CUTOVER_ENDPOINT", endpoint),
        ("CUTOVER_VERSION", version.unwrap_or("")),
    ];
    let what = format!("the command for {endpoint}");
    let ran = command::run(&what, &command, &told, json).await;
    ran.map_err(|ended| match ended {
        Ended::Left => left(
            format!("{what} was ended"),
            format!(
                "the batch waits: `cutover rollout skip {service}` says that it is replaced, `cutover rollout abort {service}` ends the rollout"
            ),
        ),
        Ended::Failed(why) => Failure::new(Exit::Failed, why),
    })
}

/// What is put into a line for the shell as it is may hold nothing that a shell heeds.
fn filled(exec: &str, values: [&str; 4]) -> Result<String, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-:@/[]".contains(c);
    let mut text = exec.to_owned();
    let names = ["{service}", "{pool}", "{endpoint}", "{version}"];
    for (name, value) in names.into_iter().zip(values) {
        if !exec.contains(name) {
            continue;
        }
        if value.is_empty() || value.starts_with('-') || !value.chars().all(plain) {
            let why = format!("{name} in a command can't be `{}`", clean(value));
            return Err(Failure::usage(why));
        }
        text = text.replace(name, value);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_the_endpoint_and_nothing_that_a_shell_heeds() {
        let fill = |exec: &str, endpoint: &str| {
            filled(exec, ["shop", "blue", endpoint, ""]).map_err(|failure| failure.exit as u8)
        };
        assert_eq!(
            fill("up {service}@{pool} {endpoint}", "[::1]:3000").as_deref(),
            Ok("up shop@blue [::1]:3000")
        );
        assert_eq!(fill("up {endpoint}", "unix:/run/a b").as_deref(), Err(&2));
        assert_eq!(fill("up {endpoint}", "unix:/$(reboot)").as_deref(), Err(&2));
        assert_eq!(
            fill("up {version}", "a:1").as_deref(),
            Err(&2),
            "there is none"
        );
    }
}
