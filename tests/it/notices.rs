//! Who is told of events: in which words, how hard it is tried, and that nobody waits for it.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{
    sync::{Arc, Mutex},
    task::{Context, Waker},
};

use cutover::{
    config::{
        self, Outside,
        plan::{Notify, NotifyFormat},
    },
    control::{self, Actor, ActorKind, Change, Handle, Order},
    notices::{self, Tally},
    outbound::Client,
    telemetry::Exposition,
    units::{Name, Secret},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet};

use crate::support::{App, answer, endpoint, free_address, until};

const SHOP: &str = r#"
[[listeners]]
address = "127.0.0.1:8080"

[services.shop]
weights = { blue = 100, green = 0 }
pools.blue.endpoints  = ["10.0.0.1:80"]
pools.green.endpoints = ["10.0.1.1:80"]
"#;

/// A controller whose events are told.
struct World {
    control: Handle,
    named: watch::Sender<Vec<Arc<Notify>>>,
    tally: Tally,
    tasks: JoinSet<()>,
    _folder: TempDir,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn told(app: &App, format: NotifyFormat, on: &[&str]) -> Arc<Notify> {
    let url = format!("http://{}/hooks/s3cret?key=s3cret", app.address);
    Arc::new(Notify {
        url: Secret::new(url.into_bytes()),
        format,
        on: on.iter().map(|kind| (*kind).to_owned()).collect(),
    })
}

impl World {
    async fn telling(named: Vec<Arc<Notify>>) -> Self {
        let mut world = Self::silent(named);
        let telling = world.notices();
        world.tasks.spawn(telling);
        // It follows from the moment it is first run.
        tokio::task::yield_now().await;
        world
    }

    /// Nobody is told yet.
    fn silent(named: Vec<Arc<Notify>>) -> Self {
        let folder = TempDir::new().unwrap();
        let outside = Outside {
            env: &|_| None,
            secrets: true,
        };
        let path = folder.path().join("cutover.toml");
        let plan = config::load_text(&path, SHOP, &outside).unwrap().plan;
        let (control, controller) = control::start(plan).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(controller.run());
        Self {
            control,
            named: watch::channel(named).0,
            tally: Tally::default(),
            tasks,
            _folder: folder,
        }
    }

    fn notices(&self) -> impl Future<Output = ()> + Send + use<> {
        let (control, named) = (self.control.clone(), self.named.subscribe());
        notices::run(control, named, Client::default(), self.tally.clone())
    }

    /// Makes an event.
    async fn weigh(&self, green: u32) {
        let order = Order {
            reason: Some(format!("<green> {green}")),
            ..Order::by(Actor::new("ann", ActorKind::Person, "socket"))
        };
        let weights = [("blue", 100_000 - green), ("green", green)];
        let weights = weights.map(|(pool, weight)| (name(pool), weight));
        let change = Change::Weights {
            service: name("shop"),
            weights: weights.into_iter().collect(),
            force: true,
        };
        self.control.change(vec![change], order).await.unwrap();
    }

    fn metric(&self, target: u32, result: &str) -> u64 {
        let mut exposition = Exposition::default();
        self.tally.expose(&mut exposition);
        let text = exposition.render();
        let name = "cutover_notifications_total";
        let series = format!("{name}{{target=\"{target}\",result=\"{result}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        // A target that was just named is not counted yet.
        line.map_or(0, |count| count.parse().unwrap())
    }

    async fn until_metric(&self, target: u32, result: &str, count: u64) {
        let what = format!("{count} to be {result} at {target}");
        until(&what, || self.metric(target, result) >= count).await;
    }
}

fn body(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn who_takes_json_gets_the_event_itself_and_only_those_named() {
    let app = endpoint("told").reply(202).start().await;
    let others = endpoint("others").reply(200).start().await;
    let world = World::telling(vec![
        told(&others, NotifyFormat::Json, &[]),
        told(&app, NotifyFormat::Json, &["weights"]),
    ])
    .await;
    world.control.certificate(true, "it is over".into()).await;
    world.weigh(500).await;
    world.until_metric(2, "sent", 1).await;
    let request = app.request();
    assert!(request.starts_with("POST /hooks/s3cret?key=s3cret HTTP/1.1\r\n"));
    assert!(
        request.contains("\r\ncutover-event: weights\r\n"),
        "{request}"
    );
    let event = body(&request);
    assert_eq!(event["type"], "weights");
    assert_eq!(event["service"], "shop");
    assert_eq!(event["actor"]["name"], "ann");
    assert_eq!(event["reason"], "<green> 500");
    assert_eq!(
        others.connections(),
        0,
        "who names none is told of rollouts"
    );
    assert_eq!(world.metric(1, "sent"), 0);
}

#[tokio::test]
async fn a_chat_gets_a_line_in_which_nobody_is_named_by_markup() {
    let app = endpoint("chat").reply(200).start().await;
    let world = World::telling(vec![told(&app, NotifyFormat::Slack, &["weights"])]).await;
    world.weigh(500).await;
    world.until_metric(1, "sent", 1).await;
    let said = body(&app.request());
    assert_eq!(
        said["text"],
        "*shop*: weights: &lt;green&gt; 500 (ann by socket)"
    );
}

#[tokio::test]
async fn a_notice_that_is_not_taken_at_once_is_sent_again() {
    let turn = Arc::new(Mutex::new(0));
    let app = endpoint("told").serve(move |mut peer| {
        let turn = turn.clone();
        async move {
            while peer.request().await.is_ok() {
                let status = {
                    let mut turn = turn.lock().unwrap();
                    *turn += 1;
                    if *turn == 1 { 503 } else { 200 }
                };
                peer.write(&answer(status, &[("retry-after", "0")], b""))
                    .await;
            }
        }
    });
    let app = app.start().await;
    let world = World::telling(vec![told(&app, NotifyFormat::Json, &["weights"])]).await;
    world.weigh(500).await;
    world.until_metric(1, "sent", 1).await;
    let requests = app.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(body(&requests[0]), body(&requests[1]));
    assert_eq!(world.metric(1, "failed"), 0);
}

#[tokio::test]
async fn who_refuses_or_sends_elsewhere_is_not_asked_twice() {
    let gone = endpoint("gone").reply(404).start().await;
    let to = [("location", "http://127.0.0.1:1/")];
    let moved = endpoint("moved").bytes(answer(307, &to, b"")).start().await;
    let named = [&gone, &moved].map(|app| told(app, NotifyFormat::Json, &["weights"]));
    let world = World::telling(named.to_vec()).await;
    world.weigh(500).await;
    world.until_metric(1, "failed", 1).await;
    world.until_metric(2, "failed", 1).await;
    assert_eq!((gone.requests().len(), moved.requests().len()), (1, 1));
}

#[tokio::test]
async fn who_hangs_loses_its_own_notices_and_delays_nobody() {
    let silent = endpoint("silent").silent().start().await;
    let app = endpoint("told").reply(200).start().await;
    let named = [&silent, &app].map(|app| told(app, NotifyFormat::Json, &["weights"]));
    let world = World::telling(named.to_vec()).await;
    for green in 1..=300 {
        world.weigh(green).await;
    }
    // One is under way, and 256 wait.
    world.until_metric(1, "dropped", 43).await;
    world.until_metric(2, "sent", 300).await;
    assert_eq!(world.metric(2, "dropped"), 0);
    let ids: Vec<_> = app
        .requests()
        .iter()
        .map(|sent| body(sent)["id"].as_u64())
        .collect();
    assert!(ids.is_sorted(), "in their order");
}

#[tokio::test]
async fn what_the_stream_has_left_out_is_told_from_the_list() {
    let app = endpoint("told").reply(200).start().await;
    let named = vec![told(&app, NotifyFormat::Json, &["weights"])];
    let mut world = World::silent(named);
    let mut telling = Box::pin(world.notices());
    let polled = telling
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    // While it is held up, more happens than the stream keeps.
    world.weigh(1).await;
    for _ in 0..1100 {
        world.control.certificate(true, "it is over".into()).await;
    }
    world.weigh(2).await;
    world.tasks.spawn(telling);
    world.weigh(3).await;
    world.until_metric(1, "sent", 3).await;
    let reasons = app
        .requests()
        .iter()
        .map(|sent| body(sent)["reason"].clone())
        .collect::<Vec<_>>();
    assert_eq!(reasons, ["<green> 1", "<green> 2", "<green> 3"]);
}

#[tokio::test]
async fn who_is_named_anew_is_told_from_then_on_and_who_is_named_no_more_is_not() {
    let before = endpoint("before").reply(200).start().await;
    let after = endpoint("after").reply(200).start().await;
    let world = World::telling(vec![told(&before, NotifyFormat::Json, &["weights"])]).await;
    world.weigh(1).await;
    world.until_metric(1, "sent", 1).await;
    let named = vec![told(&after, NotifyFormat::Slack, &["weights"])];
    world.named.send_replace(named);
    tokio::task::yield_now().await;
    world.weigh(2).await;
    world.until_metric(1, "sent", 2).await;
    assert_eq!(before.requests().len(), 1);
    assert!(after.request().contains("&lt;green&gt; 2"));
}

#[tokio::test]
async fn who_stays_named_keeps_what_waits_wherever_it_stands_in_the_file() {
    let nobody = free_address();
    let url = format!("http://{nobody}/");
    let waits = Arc::new(Notify {
        url: Secret::new(url.into_bytes()),
        format: NotifyFormat::Json,
        on: vec!["weights".to_owned()],
    });
    let other = endpoint("other").reply(200).start().await;
    let world = World::telling(vec![waits.clone()]).await;
    world.weigh(1).await;
    let other_told = told(&other, NotifyFormat::Json, &["weights"]);
    world.named.send_replace(vec![other_told, waits]);
    let app = endpoint("late").reply(200).start_at(nobody).await;
    world.until_metric(2, "sent", 1).await;
    assert_eq!(body(&app.request())["reason"], "<green> 1");
}
