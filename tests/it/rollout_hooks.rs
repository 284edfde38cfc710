//! Who is asked before a part of a rollout, and told after it: what passes, what fails, what is waited for, and what never holds anything up.
#![allow(
    clippy::format_collect,
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cutover::{
    config::plan::{Hook, HookPoint},
    control::{Actor, ActorKind},
    outbound::Client,
    rollout::{
        Outside,
        hooks::{Said, Side, ask},
        steps::Answer,
    },
    telemetry::Exposition,
    tls::Authorities,
    units::{Name, Secret, Timestamp, Unsure},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{App, answer, authority, endpoint, free_address, h2_endpoint, within};

const SECOND: Duration = Duration::from_secs(1);
const STEP: HookPoint = HookPoint::BeforeStep;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn said() -> Said {
    Said {
        rollout: 17,
        service: name("shop"),
        services: vec![Side {
            service: name("shop"),
            from: name("blue"),
            to: name("green"),
            version: Some("1.8.0".into()),
            version_before: None,
        }],
        started: "2024-11-28T12:05:28Z".parse().unwrap(),
        stage: "stepping".into(),
        step: Some(2),
        steps: 4,
        share: 0.01,
        endpoints: Vec::new(),
        next_share: Some(0.1),
        copies: None,
        verdict: Some("good".into()),
        findings: vec!["0 errors in 240 requests".into()],
        cause: None,
        by: Actor::new("anna", ActorKind::Person, "socket"),
        reason: Some("release 1.8".into()),
    }
}

fn hook(url: &str, timeout: Duration) -> Hook {
    Hook {
        at: HookPoint::ALL.to_vec(),
        url: url.to_owned(),
        secret: None,
        timeout,
        on_timeout: Unsure::Pause,
    }
}

fn at(app: &App) -> String {
    format!("http://{}/smoke?token=secret", app.address)
}

async fn asked_of(app: &App, timeout: Duration) -> Answer {
    let hooks = vec![hook(&at(app), timeout)];
    let (said, outside) = (said(), Outside::default());
    within("a hook", ask(hooks, STEP, &said, &outside)).await
}

/// What it failed by.
fn failed(answer: Answer) -> String {
    match answer {
        Answer::Failed(why) => why,
        other => panic!("{other:?}"),
    }
}

/// Answers each request, on whatever connection, by the next of these; then by the last.
async fn in_turn(answers: Vec<Vec<u8>>) -> App {
    let turn = Arc::new(Mutex::new(0));
    endpoint("hook")
        .serve(move |mut peer| {
            let (turn, answers) = (turn.clone(), answers.clone());
            async move {
                while peer.request().await.is_ok() {
                    let next = {
                        let mut turn = turn.lock().unwrap();
                        *turn += 1;
                        answers[(*turn - 1).min(answers.len() - 1)].clone()
                    };
                    if next.is_empty() {
                        return;
                    }
                    peer.write(&next).await;
                }
            }
        })
        .start()
        .await
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let head = request.split("\r\n\r\n").next().unwrap();
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// HMAC-SHA256 as RFC 2104 writes it down.
fn hmac(key: &[u8], text: &[u8]) -> String {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(text)
        .finalize();
    let outer = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_hook_is_told_where_the_rollout_stands_and_passes_by_any_2xx() {
    let app = endpoint("hook").reply(204).start().await;
    assert_eq!(asked_of(&app, SECOND * 5).await, Answer::Passed);
    let request = app.request();
    assert!(request.starts_with("POST /smoke?token=secret HTTP/1.1\r\n"));
    let wanted = app.address.to_string();
    assert_eq!(header(&request, "host"), Some(wanted.as_str()));
    assert_eq!(header(&request, "cutover-signature"), None);
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["point"], "before-step");
    assert_eq!(body["rollout"], 17);
    assert_eq!(body["services"][0]["to"], "green");
    assert_eq!(body["step"], 2);
    assert_eq!(body["next_share"], 0.1);
    assert_eq!(body["by"]["name"], "anna");
    assert_eq!(body["cause"], Value::Null);
}

#[tokio::test]
async fn the_signature_is_over_the_moment_and_the_body_as_it_came() {
    let app = endpoint("hook").reply(200).start().await;
    let signed = Hook {
        secret: Some(Secret::new(b"whsec_test".to_vec())),
        ..hook(&at(&app), SECOND * 5)
    };
    let answer = ask(vec![signed], STEP, &said(), &Outside::default()).await;
    assert_eq!(answer, Answer::Passed);
    let request = app.request();
    let signature = header(&request, "cutover-signature").unwrap();
    let (moment, tag) = signature.split_once(',').unwrap();
    let moment = moment.strip_prefix("t=").unwrap();
    let age = Timestamp::now().as_second() - moment.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "{signature}");
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let wanted = hmac(b"whsec_test", format!("{moment}.{body}").as_bytes());
    assert_eq!(tag.strip_prefix("v1="), Some(wanted.as_str()));
}

#[tokio::test]
async fn who_refuses_fails_at_once_and_its_words_are_the_reason() {
    let said = answer(412, &[], b"checkout\x1b[31m is\r\nbroken");
    let app = endpoint("hook").bytes(said).start().await;
    let why = failed(asked_of(&app, SECOND * 5).await);
    let place = format!("hook http://{}/smoke answered 412", app.address);
    assert!(why.starts_with(&place), "{why}");
    assert!(why.ends_with(": checkout [31m is broken"), "{why}");
    assert!(!why.contains("secret"), "{why}");
    assert_eq!(app.requests().len(), 1);
}

#[tokio::test]
async fn a_redirect_fails_and_nobody_else_is_asked() {
    let other = endpoint("other").reply(200).start().await;
    let to = format!("http://{}/", other.address);
    for status in [301, 302, 307, 308] {
        let moved = answer(status, &[("location", &to)], b"");
        let app = endpoint("hook").bytes(moved).start().await;
        let why = failed(asked_of(&app, SECOND * 5).await);
        assert!(why.contains("redirects are not followed"), "{why}");
        assert_eq!(app.requests().len(), 1);
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn who_does_not_answer_is_late_after_its_own_time_and_says_what_follows() {
    let app = endpoint("hook").silent().start().await;
    let begun = Instant::now();
    let answer = asked_of(&app, SECOND / 4).await;
    assert!(begun.elapsed() >= SECOND / 4);
    let Answer::Late { who, then } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(then, Unsure::Pause);
    assert_eq!(who, format!("hook http://{}/smoke", app.address));
    app.until_closed().await;
}

#[tokio::test]
async fn who_says_not_yet_is_asked_the_same_again_until_it_passes() {
    let not_yet = answer(202, &[("retry-after", "0")], b"");
    let app = in_turn(vec![not_yet, answer(200, &[], b"")]).await;
    let begun = Instant::now();
    assert_eq!(asked_of(&app, SECOND * 8).await, Answer::Passed);
    assert!(begun.elapsed() >= SECOND, "it is not pestered");
    let requests = app.requests();
    let body = |request: &str| request.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(body(&requests[0]), body(&requests[1]));
    for (request, attempt) in requests.iter().zip(["1", "2"]) {
        assert_eq!(header(request, "cutover-attempt"), Some(attempt));
        let key = header(request, "idempotency-key");
        assert_eq!(key, Some("shop-1732795528-17-before-step-2"));
    }
}

#[tokio::test]
async fn who_says_not_yet_for_too_long_is_late() {
    let not_yet = answer(202, &[("retry-after", "3600")], b"");
    let app = endpoint("hook").bytes(not_yet).start().await;
    let answer = asked_of(&app, SECOND / 4).await;
    let Answer::Late { who, .. } = answer else {
        panic!("{answer:?}")
    };
    assert!(who.ends_with(", still in progress,"), "{who}");
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let well = answer(200, &[], b"");
    let busy = answer(429, &[("retry-after", "0")], b"");
    for first in [answer(500, &[], b""), busy, Vec::new()] {
        let app = in_turn(vec![first, well.clone()]).await;
        assert_eq!(asked_of(&app, SECOND * 5).await, Answer::Passed);
        assert_eq!(app.requests().len(), 2);
    }
}

#[tokio::test]
async fn what_does_not_pass_fails_before_its_time_is_over() {
    let app = endpoint("hook").reply(503).start().await;
    let why = failed(asked_of(&app, SECOND * 3).await);
    assert!(why.contains("answered 503"), "{why}");
    assert!(app.requests().len() >= 2);
    let nobody = hook(&format!("http://{}", free_address()), SECOND);
    let answer = ask(vec![nobody], STEP, &said(), &Outside::default()).await;
    let why = failed(answer);
    assert!(why.contains("cannot be reached"), "{why}");
}

#[tokio::test]
async fn of_an_endless_answer_the_beginning_is_read() {
    let endless = |status: u16| async move {
        endpoint("hook")
            .serve(move |mut peer| async move {
                peer.request().await.unwrap();
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 99999999999\r\n\r\n");
                peer.write(head.as_bytes()).await;
                while peer.try_write(&[b'x'; 1 << 12]).await.is_ok() {}
            })
            .start()
            .await
    };
    let passes = endless(200).await;
    assert_eq!(asked_of(&passes, SECOND * 5).await, Answer::Passed);
    passes.until_closed().await;
    let fails = endless(400).await;
    let why = failed(asked_of(&fails, SECOND * 5).await);
    assert!(why.len() < 1200, "{}", why.len());
}

#[tokio::test]
async fn who_is_not_who_it_should_be_fails_at_once() {
    let (root, other) = (authority("root"), authority("other"));
    let pair = root.server(&["127.0.0.1"]);
    let app = h2_endpoint("hook").tls(&pair, (true, false)).start().await;
    let hooks = || vec![hook(&format!("https://{}/", app.address), SECOND * 5)];
    let trusting = |pem: &str| {
        let authorities = Authorities::new(pem.as_bytes()).unwrap();
        Outside::by(Client::trusting(authorities).unwrap())
    };
    let answer = ask(hooks(), STEP, &said(), &trusting(&other.pem)).await;
    let why = failed(answer);
    assert!(why.contains("is not who it should be"), "{why}");
    let answer = ask(hooks(), STEP, &said(), &trusting(&root.pem)).await;
    assert_eq!(answer, Answer::Passed);
}

#[tokio::test]
async fn before_something_hooks_are_asked_in_order_until_one_does_not_pass() {
    let first = endpoint("first").reply(200).start().await;
    let second = endpoint("second").reply(403).start().await;
    let third = endpoint("third").reply(200).start().await;
    let elsewhere = Hook {
        at: vec![HookPoint::BeforeStart],
        ..hook(&at(&third), SECOND * 5)
    };
    let mut hooks = vec![elsewhere];
    hooks.extend([&first, &second, &third].map(|app| hook(&at(app), SECOND * 5)));
    let why = failed(ask(hooks, STEP, &said(), &Outside::default()).await);
    assert!(why.contains(&second.address.to_string()), "{why}");
    assert_eq!(first.requests().len(), 1);
    assert_eq!(third.connections(), 0);
}

#[tokio::test]
async fn after_something_nobodys_news_waits_behind_somebody_who_is_down() {
    let silent = endpoint("silent").silent().start().await;
    let told = endpoint("told").reply(200).start().await;
    let hooks = vec![hook(&at(&silent), SECOND * 9), hook(&at(&told), SECOND * 9)];
    let (said, outside) = (said(), Outside::default());
    let asked = ask(hooks, HookPoint::AfterRollback, &said, &outside);
    tokio::select! {
        answer = asked => panic!("{answer:?}"),
        () = told.until_requests(1) => {}
    }
}

#[tokio::test]
async fn whoever_asks_no_more_leaves_nothing_behind() {
    let app = endpoint("hook").silent().start().await;
    let hooks = vec![hook(&at(&app), SECOND * 60)];
    let asked = async move { ask(hooks, STEP, &said(), &Outside::default()).await };
    let asked = tokio::spawn(asked);
    app.until_requests(1).await;
    asked.abort();
    app.until_closed().await;
}

#[tokio::test]
async fn what_hooks_came_to_is_counted() {
    let outside = Outside::default();
    let silent = endpoint("silent").silent().start().await;
    let refuses = endpoint("refuses").reply(403).start().await;
    let passes = endpoint("passes").reply(200).start().await;
    for app in [&silent, &refuses, &passes] {
        let hooks = vec![hook(&at(app), SECOND / 2)];
        ask(hooks, STEP, &said(), &outside).await;
    }
    let mut exposition = Exposition::default();
    outside.expose(&mut exposition);
    let text = exposition.render();
    for result in ["late", "failed", "passed"] {
        let line = format!("cutover_hooks_total{{point=\"before-step\",result=\"{result}\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
}
