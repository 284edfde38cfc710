//! While a pool is on trial, stable answers what the candidate has failed, where the trial says so.

use cutover::{
    pool::{FaultEvent, FaultReport, State},
    units::Arm,
};

use crate::support::{
    App, Proxy, answer, endpoint, proxy,
    trial::{batch_on_trial, known_by, numbers, on_trial},
    websocket, within,
};

/// One that takes requests and breaks off before it has said a word.
async fn breaking() -> App {
    let plan = endpoint("breaking").serve(|mut peer| async move {
        let _ = peer.request().await;
    });
    plan.start().await
}

/// The status and body of the answer to a request with such a first line, fields and body.
async fn ask(proxy: &Proxy, line: &str, fields: &str, body: &str) -> (u16, String) {
    let mut client = proxy.client().await;
    client
        .send(format!("{line} HTTP/1.1\r\nhost: a\r\n{fields}\r\n{body}"))
        .await;
    let answer = client.answer().await;
    (answer.status, answer.body)
}

fn blue() -> (u16, String) {
    (200, "blue".to_owned())
}

/// Nearly all goes to green, which is on trial beside blue; so many requests of it are rescued.
async fn all_on_trial(service: &str, green: &str, rescued: &[&str]) -> (Proxy, App) {
    let blue = endpoint("blue").start().await;
    let proxy = proxy()
        .service(service)
        .pool("blue", 1, &[&blue])
        .pool_at("green", 1, &[green])
        .start();
    on_trial(&proxy, 1.0, rescued);
    (proxy, blue)
}

const BUDGET: &str = "retry.budget = \"100%\"";

#[tokio::test]
async fn what_the_candidate_answers_with_an_error_stable_answers_and_the_candidate_is_charged() {
    let green = endpoint("green").reply(500).start().await;
    let (mut proxy, _blue) = all_on_trial(BUDGET, &green.address.to_string(), &["GET"]).await;
    for _ in 0..10 {
        assert_eq!(ask(&proxy, "GET /", "", "").await, blue());
    }
    assert_eq!(numbers(&proxy, "green"), [10, 10, 10, 0, 10]);
    assert_eq!(
        numbers(&proxy, "blue"),
        [0; 5],
        "a second attempt is nobody's"
    );
    assert_eq!(proxy.failures("green"), [("status", 10)]);
    assert_eq!(proxy.faults("green"), 10);
    assert_eq!(proxy.retries("green"), [("answered", 10)]);
    assert_eq!(proxy.answers("blue"), [(200, true, 10)]);
    assert_eq!(proxy.failures("blue"), []);
    for _ in 0..10 {
        let report = within("a report", proxy.reports.next()).await.unwrap();
        assert_eq!((report.trial, report.arm), (7, Arm::Candidate));
        assert_eq!(report.pool.key.pool.as_str(), "green");
        assert_eq!(report.event, FaultEvent::Failed);
        assert!(report.share > 0.999, "{}", report.share);
    }
    assert_eq!(proxy.reports.dropped(), 0);
}

#[tokio::test]
async fn what_endpoints_on_trial_fail_the_others_of_their_pool_answer() {
    let good = endpoint("blue").start().await;
    let bad = [
        endpoint("bad").reply(500).start().await,
        endpoint("bad").reply(500).start().await,
    ];
    let mut proxy = proxy()
        .service(BUDGET)
        .pool("blue", 1, &[&bad[0], &good, &bad[1]])
        .start();
    batch_on_trial(&proxy, &[&bad[0], &bad[1]]);
    for _ in 0..30 {
        assert_eq!(ask(&proxy, "GET /", "", "").await, blue());
    }
    let failed = bad.iter().map(|bad| bad.requests().len()).sum::<usize>();
    assert!(failed >= 10, "{failed} of 30");
    for _ in 0..failed {
        for event in [FaultEvent::Failed, FaultEvent::Rescued] {
            let report = within("a report", proxy.reports.next()).await.unwrap();
            assert_eq!((report.event, report.arm), (event, Arm::Candidate));
            assert!((report.share - 2.0 / 3.0).abs() < 1e-9, "{}", report.share);
        }
    }
    assert_eq!(numbers(&proxy, "blue"), [0; 5], "a pool is no arm here");
    let mut statuses = Vec::new();
    for _ in 0..9 {
        let status = ask(&proxy, "POST /", "content-length: 0\r\n", "").await.0;
        statuses.push(status);
    }
    assert!(
        statuses.contains(&500) && statuses.contains(&200),
        "{statuses:?}"
    );
    batch_on_trial(&proxy, &[&bad[0], &bad[1], &good]);
    let mut failed = 0;
    for _ in 0..9 {
        failed += u32::from(ask(&proxy, "GET /", "", "").await.0 == 500);
    }
    assert!(failed > 0, "nobody is left to answer");
}

#[tokio::test]
async fn whatever_way_an_endpoint_fails_stable_answers() {
    let gone = endpoint("gone").start().await.stop().await.to_string();
    let malformed = endpoint("malformed")
        .bytes("HTTP/1.1 2OO\r\n\r\n")
        .start()
        .await;
    let breaking = breaking().await;
    for (address, failure) in [
        (gone, "connect"),
        (malformed.address.to_string(), "malformed"),
        (breaking.address.to_string(), "reset"),
    ] {
        let (proxy, _blue) = all_on_trial(BUDGET, &address, &["GET"]).await;
        for _ in 0..3 {
            assert_eq!(ask(&proxy, "GET /", "", "").await, blue(), "{failure}");
        }
        assert_eq!(numbers(&proxy, "green"), [3, 3, 3, 0, 3], "{failure}");
        assert_eq!(proxy.failures("green"), [(failure, 3)]);
    }
}

#[tokio::test]
async fn what_changes_things_is_rescued_only_where_it_is_listed() {
    let green = endpoint("green").reply(500).start().await;
    let length = "content-length: 2\r\n";
    let failed = (500, "500".to_owned());
    let (unlisted, app) = all_on_trial(BUDGET, &green.address.to_string(), &["GET"]).await;
    assert_eq!(ask(&unlisted, "POST /", length, "hi").await, failed);
    assert_eq!(numbers(&unlisted, "green"), [1, 1, 0, 1, 1]);
    assert_eq!(app.requests().len(), 0);

    let (listed, app) = all_on_trial(BUDGET, &green.address.to_string(), &["POST"]).await;
    assert_eq!(ask(&listed, "POST /", length, "hi").await, blue());
    assert!(app.request().ends_with("\r\n\r\nhi"));
    let chunked = "transfer-encoding: chunked\r\n";
    assert_eq!(
        ask(&listed, "POST /", chunked, "2\r\nhi\r\n0\r\n\r\n").await,
        blue()
    );
    assert_eq!(numbers(&listed, "green"), [2, 2, 2, 0, 2]);
    assert_eq!(ask(&listed, "GET /", "", "").await, failed);
}

#[tokio::test]
async fn a_body_that_is_larger_than_what_is_kept_is_not_rescued() {
    let green = endpoint("green").reply(500).start().await;
    let (proxy, app) = all_on_trial(BUDGET, &green.address.to_string(), &["POST", "PUT"]).await;
    // The trial keeps 64 bytes, the service's retries more.
    let body = "x".repeat(65);
    let length = "content-length: 65\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    for line in ["POST /", "PUT /"] {
        assert_eq!(ask(&proxy, line, length, &body).await.0, 500);
        let chunks = format!("41\r\n{body}\r\n0\r\n\r\n");
        assert_eq!(ask(&proxy, line, chunked, &chunks).await.0, 500);
    }
    assert_eq!(numbers(&proxy, "green"), [4, 4, 0, 4, 4]);
    assert_eq!(app.requests().len(), 0);
}

#[tokio::test]
async fn who_has_waited_in_vain_waits_for_nobody_else() {
    let green = endpoint("green").silent().start().await;
    let service = format!("{BUDGET}\ntimeouts.response = \"50ms\"");
    let (mut proxy, app) = all_on_trial(&service, &green.address.to_string(), &["POST"]).await;
    assert_eq!(
        ask(&proxy, "POST /", "content-length: 0\r\n", "").await.0,
        504
    );
    assert_eq!(numbers(&proxy, "green"), [1, 1, 0, 1, 1]);
    assert_eq!(app.requests().len(), 0);
    for event in [FaultEvent::Failed, FaultEvent::Felt] {
        assert_eq!(proxy.reports.next().await.unwrap().event, event);
    }
}

#[tokio::test]
async fn a_rescue_is_one_of_the_attempts_and_within_the_budget() {
    let green = endpoint("green").reply(500).start().await;
    for (service, outcome) in [
        ("retry.attempts = 1", &[][..]),
        ("retry.budget = \"0%\"", &[("over_budget", 1)]),
    ] {
        let (proxy, app) = all_on_trial(service, &green.address.to_string(), &["GET"]).await;
        assert_eq!(ask(&proxy, "GET /", "", "").await.0, 500);
        assert_eq!(numbers(&proxy, "green"), [1, 1, 0, 1, 1], "{service}");
        assert_eq!(proxy.retries("green"), outcome);
        assert_eq!(app.requests().len(), 0);
    }
}

#[tokio::test]
async fn where_stable_fails_it_too_the_client_is_told_so_once() {
    let (bad_blue, green) = (
        endpoint("blue").reply(500).start().await,
        endpoint("green").reply(503).start().await,
    );
    let proxy = proxy()
        .service(BUDGET)
        .pool("blue", 1, &[&bad_blue])
        .pool("green", 1, &[&green])
        .start();
    on_trial(&proxy, 1.0, &["GET"]);
    assert_eq!(ask(&proxy, "GET /", "", "").await, (500, "500".to_owned()));
    assert_eq!(numbers(&proxy, "green"), [1, 1, 0, 1, 1]);
    assert_eq!(numbers(&proxy, "blue"), [0; 5]);
    assert_eq!((bad_blue.requests().len(), green.requests().len()), (1, 1));
}

#[tokio::test]
async fn with_more_attempts_the_candidate_that_was_given_up_is_not_asked_again() {
    let (bad_blue, green) = (breaking().await, endpoint("green").reply(500).start().await);
    let proxy = proxy()
        .service("retry = { budget = \"100%\", attempts = 4, backoff = \"1ms\" }")
        .pool("blue", 1, &[&bad_blue])
        .pool("green", 1, &[&green])
        .start();
    on_trial(&proxy, 1.0, &["GET"]);
    assert_eq!(ask(&proxy, "GET /", "", "").await.0, 502);
    assert_eq!((bad_blue.requests().len(), green.requests().len()), (3, 1));
    assert_eq!(numbers(&proxy, "green"), [1, 1, 0, 1, 1]);
}

#[tokio::test]
async fn stable_without_weight_rescues_nobody() {
    let green = endpoint("green").reply(500).start().await;
    let (proxy, app) = all_on_trial(BUDGET, &green.address.to_string(), &["GET", "POST"]).await;
    proxy.shift(&[("blue", 0), ("green", 1)]);
    for line in ["GET /", "POST /"] {
        let answer = ask(&proxy, line, "content-length: 0\r\n", "").await;
        assert_eq!(answer, (500, "500".to_owned()));
    }
    assert_eq!((app.requests().len(), green.requests().len()), (0, 2));
}

#[tokio::test]
async fn a_stable_with_nobody_to_ask_leaves_the_candidate_its_own_retry() {
    let (bad, good) = (breaking().await, endpoint("green").start().await);
    let blue = endpoint("blue").start().await;
    let proxy = proxy()
        .service("retry.budget = \"100%\"\nbalance = \"round-robin\"")
        .pool("blue", 1, &[&blue])
        .pool("green", 1, &[&bad, &good])
        .start();
    on_trial(&proxy, 1.0, &["GET"]);
    proxy.put("blue", State::Draining, false);
    for _ in 0..4 {
        assert_eq!(
            ask(&proxy, "GET /", "", "").await,
            (200, "green".to_owned())
        );
    }
    assert_eq!(blue.requests().len(), 0);
    let errors = bad.requests().len() as u64;
    assert!(errors > 0);
    assert_eq!(numbers(&proxy, "green"), [4, errors, 0, 0, 4]);
}

/// Takes a request, says so by having it, and answers 500 when it is told to.
async fn failing_on_call() -> (App, std::sync::Arc<tokio::sync::Notify>) {
    let call = std::sync::Arc::<tokio::sync::Notify>::default();
    let called = call.clone();
    let plan = endpoint("green").serve(move |mut peer| {
        let called = called.clone();
        async move {
            while peer.request().await.is_ok() {
                called.notified().await;
                peer.write(&answer(500, &[], b"500")).await;
            }
        }
    });
    (plan.start().await, call)
}

#[tokio::test]
async fn a_trial_that_has_ended_meanwhile_leaves_its_requests_to_be_decided_as_any() {
    for line in ["GET /", "POST /"] {
        let (green, call) = failing_on_call().await;
        let rescued = ["GET", "POST"];
        let (proxy, _blue) = all_on_trial(BUDGET, &green.address.to_string(), &rescued).await;
        let asked = ask(&proxy, line, "content-length: 0\r\n", "");
        let ended = async {
            green.until_requests(1).await;
            proxy.decide(|decided| decided.trial = None);
            proxy.shift(&[("blue", 1), ("green", 0)]);
            call.notify_one();
        };
        let (answer, ()) = tokio::join!(asked, ended);
        assert_eq!(answer, blue());
        assert_eq!(numbers(&proxy, "green"), [1, 1, 1, 0, 1]);
    }
}

#[tokio::test]
async fn what_may_have_been_run_goes_to_no_other_version_unless_it_changes_nothing_or_is_listed() {
    let green = breaking().await;
    let (proxy, app) = all_on_trial(BUDGET, &green.address.to_string(), &[]).await;
    for line in ["PUT /", "DELETE /"] {
        assert_eq!(ask(&proxy, line, "content-length: 0\r\n", "").await.0, 502);
    }
    assert_eq!(app.requests().len(), 0);
    // As any retry would: it is no rescue.
    assert_eq!(ask(&proxy, "GET /", "", "").await, blue());
    assert_eq!(numbers(&proxy, "green"), [3, 3, 0, 2, 3]);

    let gone = endpoint("gone").start().await.stop().await.to_string();
    let (proxy, _app) = all_on_trial(BUDGET, &gone, &[]).await;
    let unseen = ask(&proxy, "PUT /", "content-length: 0\r\n", "").await;
    assert_eq!(unseen, blue(), "nobody has run it");
}

#[tokio::test]
async fn a_handshake_that_fails_counts_and_is_not_rescued() {
    let green = endpoint("green").reply(500).start().await;
    let (proxy, app) = all_on_trial(BUDGET, &green.address.to_string(), &["GET"]).await;
    let mut client = proxy.client().await;
    client.send(websocket::request()).await;
    assert_eq!(client.answer().await.status, 500);
    assert_eq!(numbers(&proxy, "green"), [1, 1, 0, 1, 1]);
    assert_eq!(app.requests().len(), 0);
}

/// What is promised of clients' numbers, beside the rest of a report.
#[tokio::test]
async fn a_client_has_one_number_in_all_reports_and_another_client_another() {
    let green = endpoint("green").reply(500).start().await;
    let (mut proxy, _blue) = all_on_trial(BUDGET, &green.address.to_string(), &["GET"]).await;
    let mut numbers = Vec::new();
    for ip in ["127.0.0.1", "127.0.0.2", "127.0.0.1"] {
        proxy.client_from(ip).await.get("/").await;
        let FaultReport { client, .. } = proxy.reports.next().await.unwrap();
        numbers.push(client.expect("an address"));
    }
    assert_eq!(numbers[0], numbers[2]);
    assert_ne!(numbers[0], numbers[1]);
}

#[tokio::test]
async fn a_client_with_a_cookie_is_known_by_it_and_assigned_once() {
    let green = endpoint("green").reply(500).start().await;
    let service = format!("{BUDGET}\nsticky = {{ by = \"cookie\" }}");
    let (mut proxy, _blue) = all_on_trial(&service, &green.address.to_string(), &["GET"]).await;
    let first = proxy.get("/").await;
    assert_eq!(first.status, 200);
    assert!(first.header("set-cookie").is_some());
    let by_address = proxy.reports.next().await.unwrap().client;
    let mut known = Vec::new();
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let answer = known_by(proxy.client_from(ip).await, 42).await;
        assert_eq!(answer.header("set-cookie"), None);
        known.push(proxy.reports.next().await.unwrap().client);
    }
    assert_eq!(known[0], known[1], "wherever it comes from");
    assert!(known[0].is_some() && known[0] != by_address);
    assert_eq!(numbers(&proxy, "green"), [3, 3, 3, 0, 1]);
}
