//! Writes to one instance or several: with several, all are tried first, then the change is made on each.

use std::{fmt::Write, time::Duration};

use http::{Method, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    args::{Door, Writing},
    client::{Call, Client, PROMPT, query},
    exit::{Exit, Failure},
    output::{ODD, STRONG, Styled, clean, complain, lines, say, say_json, value},
    share,
    status_view::tunnels,
};
use crate::admin::wire::Changed;

/// A change to ask for.
pub struct Order {
    pub method: Method,
    /// Encoded, without a query.
    pub path: String,
    /// `None` for a method without a body: then everything else goes into the query.
    pub body: Option<Value>,
    pub query: Vec<(&'static str, String)>,
    pub if_match: Option<u64>,
    /// How long the call may wait beyond an ordinary answer.
    pub waits: Duration,
}

impl Order {
    pub fn new(method: Method, path: String, body: Value) -> Self {
        Self {
            method,
            path,
            body: Some(body),
            query: Vec::new(),
            if_match: None,
            waits: Duration::ZERO,
        }
    }

    fn call(&self, writing: &Writing, dry_run: bool) -> Result<Call, Failure> {
        let reason = writing.reason.clone().filter(|reason| !reason.is_empty());
        let mut pairs: Vec<_> = self
            .query
            .iter()
            .map(|(key, value)| (*key, Some(value.clone())))
            .collect();
        pairs.push(("dry_run", dry_run.then(|| "true".to_owned())));
        let mut call = Call::get("");
        if let Some(body) = &self.body {
            let mut body = body.clone();
            if let (Some(reason), Some(object)) = (&reason, body.as_object_mut()) {
                object.insert("reason".to_owned(), reason.clone().into());
            }
            call = Call::new(self.method.clone(), "", &body)?;
        } else {
            pairs.push(("reason", reason));
        }
        call.method = self.method.clone();
        call.target = format!("{}{}", self.path, query(pairs));
        call.patience = PROMPT + self.waits;
        if let Some(revision) = writing.if_match.or(self.if_match) {
            call.headers
                .push((header::IF_MATCH, format!("\"{revision}\"")));
        }
        if let Some(key) = writing.idempotency_key.clone().filter(|_| !dry_run) {
            call.headers
                .push((header::HeaderName::from_static("idempotency-key"), key));
        }
        Ok(call)
    }
}

/// What a write is answered.
pub trait Answer: Serialize + DeserializeOwned {
    fn in_words(&self) -> String;
    fn exit(&self) -> Exit;
}

/// What came of a write.
pub struct Written<T> {
    pub exit: Exit,
    /// What each instance answered that has done it; none after a dry run.
    pub done: Vec<(Client, T)>,
}

type Outcome<T> = Result<T, Failure>;

/// Asks every instance for what `order` says of it, tells what came of it, and says how to exit.
pub async fn write(
    door: &Door,
    writing: &Writing,
    order: impl AsyncFn(&Client) -> Result<Order, Failure>,
) -> Result<Exit, Failure> {
    let written = write_as::<Changed>(door, writing, order).await?;
    Ok(written.exit)
}

/// The same for calls that are answered with something else.
pub async fn write_as<T: Answer>(
    door: &Door,
    writing: &Writing,
    order: impl AsyncFn(&Client) -> Result<Order, Failure>,
) -> Result<Written<T>, Failure> {
    let clients = door.clients()?;
    let mut orders = Vec::new();
    for client in clients {
        let order = order(&client).await?;
        orders.push((client, order));
    }
    let several = orders.len() > 1;
    if several || writing.dry_run {
        let tried = ask::<T>(&orders, writing, true).await?;
        let refused = tried.iter().any(|(_, outcome)| outcome.is_err());
        if refused || writing.dry_run {
            let exit = tell(&tried, several, writing.json)?;
            if refused && several {
                say("nothing was changed anywhere\n");
            }
            let done = Vec::new();
            return Ok(Written { exit, done });
        }
    }
    let done = ask::<T>(&orders, writing, false).await?;
    let exit = tell(&done, several, writing.json)?;
    let done = done
        .into_iter()
        .filter_map(|(client, outcome)| Some((client.clone(), outcome.ok()?)));
    Ok(Written {
        exit,
        done: done.collect(),
    })
}

async fn ask<'a, T: Answer>(
    orders: &'a [(Client, Order)],
    writing: &Writing,
    dry_run: bool,
) -> Result<Vec<(&'a Client, Outcome<T>)>, Failure> {
    let mut outcomes = Vec::new();
    for (client, order) in orders {
        let answer = client.call(order.call(writing, dry_run)?).await;
        outcomes.push((client, answer.and_then(|body| client.read(&body))));
    }
    Ok(outcomes)
}

fn tell<T: Answer>(
    outcomes: &[(&Client, Outcome<T>)],
    several: bool,
    json: bool,
) -> Result<Exit, Failure> {
    if json {
        let told: Vec<_> = outcomes
            .iter()
            .map(|(client, outcome)| as_json(client, outcome, several))
            .collect();
        match (&told[..], several) {
            ([one], false) => say_json(one)?,
            _ => say_json(&told)?,
        }
    }
    let mut worst = Exit::Done;
    for (client, outcome) in outcomes {
        if several && !json {
            say(format_args!("{}\n", Styled(STRONG, &client.address)));
        }
        let exit = match outcome {
            Ok(changed) => {
                if !json {
                    say(changed.in_words());
                }
                changed.exit()
            }
            Err(failure) => {
                complain(failure);
                failure.exit
            }
        };
        worst = worst.max(exit);
    }
    Ok(worst)
}

fn as_json<T: Answer>(client: &Client, outcome: &Outcome<T>, several: bool) -> Value {
    let answer = match outcome {
        Ok(changed) => serde_json::to_value(changed).unwrap_or_default(),
        Err(Failure {
            problem: Some(problem),
            ..
        }) => serde_json::to_value(problem).unwrap_or_default(),
        Err(failure) => serde_json::json!({ "detail": failure.message, "hint": failure.hint }),
    };
    if several {
        serde_json::json!({ "admin": client.address, "ok": outcome.is_ok(), "answer": answer })
    } else {
        answer
    }
}

impl Answer for Changed {
    fn in_words(&self) -> String {
        in_words(self)
    }

    fn exit(&self) -> Exit {
        exit_of(self)
    }
}

/// 0 after a wait means that what was waited for has come.
fn exit_of(changed: &Changed) -> Exit {
    let gone = changed.safe_to_stop.or(changed.drained);
    if gone == Some(false) || changed.ready == Some(false) {
        Exit::TimedOut
    } else {
        Exit::Done
    }
}

fn in_words(changed: &Changed) -> String {
    let mut text = String::new();
    for service in &changed.services {
        let shares = service
            .weights
            .iter()
            .map(|(pool, _)| (pool.clone(), service.weights.share(pool.as_str())));
        let now = share::in_words(&shares.collect());
        let before = service
            .before
            .iter()
            .map(|(pool, _)| (pool.clone(), service.before.share(pool.as_str())));
        let before = share::in_words(&before.collect());
        let verb = if changed.dry_run { "would get " } else { "" };
        let _ = write!(text, "{}: {verb}{now}", Styled(STRONG, &service.service));
        if before != now {
            let _ = write!(text, " (was {before})");
        }
        let _ = writeln!(text, ", revision {}", service.revision);
        if changed.dry_run && service.in_flight > 0 {
            let _ = writeln!(
                text,
                "  {} requests are in flight on what would lose its traffic",
                service.in_flight
            );
        }
    }
    for difference in changed
        .diff
        .iter()
        .filter(|difference| difference.field != "weights")
    {
        let _ = writeln!(
            text,
            "  {}.{}: {} → {}",
            difference.service,
            clean(&difference.field),
            value(&difference.before),
            value(&difference.after),
        );
    }
    for note in &changed.notes {
        let _ = writeln!(text, "  {}", lines(note));
    }
    if changed.services.is_empty() && changed.diff.is_empty() && changed.notes.is_empty() {
        text += "nothing to change\n";
    }
    if changed.dry_run {
        let _ = writeln!(text, "{}", Styled(ODD, "dry run: nothing was changed"));
    } else if !changed.durable {
        let _ = writeln!(
            text,
            "{}",
            Styled(
                ODD,
                "serving, but not written to disk: a restart would forget it"
            )
        );
    }
    text + &of_the_wait(changed)
}

fn of_the_wait(changed: &Changed) -> String {
    let (in_flight, connections) = (
        changed.in_flight.unwrap_or(0),
        changed.connections.unwrap_or(0),
    );
    let left = match (changed.drained, changed.safe_to_stop) {
        (_, Some(true)) => "drained: it is safe to stop the old one now\n".to_owned(),
        (Some(true), None) => "nothing is in flight any more\n".to_owned(),
        (Some(true), _) => {
            format!("drained, but {connections} connections are still open: do not stop it yet\n")
        }
        (Some(false), _) => {
            let tunnels = tunnels(changed.tunnels.unwrap_or(0));
            format!(
                "not drained: {in_flight} requests are still in flight{tunnels}: do not stop it yet\n"
            )
        }
        (None, _) => String::new(),
    };
    match changed.ready {
        Some(true) => left + "ready\n",
        Some(false) => left + "not ready yet; probing goes on\n",
        None => left,
    }
}
