//! A request that may be run twice goes elsewhere when its endpoint fails it, within its attempts and its service's budget.

use std::time::Duration;

use crate::support::{App, Proxy, answer, endpoint, proxy};

/// An app server that takes requests and breaks off before it has said a word.
async fn breaking() -> App {
    let plan = endpoint("breaking").serve(|mut peer| async move {
        let _ = peer.request().await;
    });
    plan.start().await
}

/// One that takes requests and never answers.
async fn silent() -> App {
    let plan = endpoint("silent").serve(|mut peer| async move {
        let _ = peer.request().await;
        peer.until_closed().await;
    });
    plan.start().await
}

/// The body of the answer to a request with such a first line, fields and body.
async fn ask(proxy: &Proxy, line: &str, fields: &str, body: &str) -> (u16, String) {
    let mut client = proxy.client().await;
    client
        .send(format!("{line} HTTP/1.1\r\nhost: a\r\n{fields}\r\n{body}"))
        .await;
    let answer = client.answer().await;
    (answer.status, answer.body)
}

fn good() -> (u16, String) {
    (200, "good".to_owned())
}

#[tokio::test]
async fn what_may_be_run_twice_goes_elsewhere_when_its_endpoint_breaks_off() {
    let (bad, good_app) = (breaking().await, endpoint("good").start().await);
    let mut proxy = proxy()
        .service("retry.budget = \"100%\"")
        .pool("blue", 1, &[&bad, &good_app])
        .start();
    for method in ["GET", "OPTIONS", "DELETE", "PUT"] {
        for _ in 0..10 {
            assert_eq!(ask(&proxy, &format!("{method} /"), "", "").await, good());
        }
    }
    assert_eq!(good_app.requests().len(), 40);
    assert_eq!(proxy.answers("blue"), [(200, true, 40)]);
    let broken = bad.requests().len() as u64;
    assert!(broken > 0);
    assert_eq!(proxy.failures("blue"), [("reset", broken)]);
    assert_eq!(proxy.retries("blue"), [("answered", broken)]);
    assert!(proxy.nudges.next().await.is_some(), "a probe is asked for");
}

#[tokio::test]
async fn what_may_not_be_run_twice_is_sent_once_unless_its_client_says_that_it_may() {
    let (bad, good_app) = (breaking().await, endpoint("good").start().await);
    let proxy = proxy().pool("blue", 1, &[&bad, &good_app]).start();
    let length = "content-length: 2\r\n";
    let mut lost = 0;
    for _ in 0..20 {
        lost += usize::from(ask(&proxy, "POST /", length, "hi").await.0 == 502);
    }
    assert_eq!(lost, bad.requests().len());
    assert!(lost > 0);
    assert_eq!(proxy.retries("blue"), []);

    let key = format!("idempotency-key: 1\r\n{length}");
    for _ in 0..3 {
        assert_eq!(ask(&proxy, "POST /", &key, "hi").await, good());
    }
    let requests = good_app.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.ends_with("\r\n\r\nhi"))
    );
    assert_eq!(proxy.failures("blue").len(), 1);
}

#[tokio::test]
async fn a_body_goes_once_more_as_it_came() {
    let (bad, good_app) = (breaking().await, endpoint("good").start().await);
    let proxy = proxy()
        .service("retry = { budget = \"100%\", body = \"1KiB\" }")
        .pool("blue", 1, &[&bad, &good_app])
        .start();
    let chunked = "transfer-encoding: chunked\r\n";
    for _ in 0..8 {
        let body = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(ask(&proxy, "PUT /", chunked, body).await, good());
    }
    let whole = |request: &String| {
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let data: String = body.split("\r\n").skip(1).step_by(2).collect();
        data == "abcde"
    };
    assert!(
        good_app.requests().iter().all(whole),
        "{:?}",
        good_app.requests()
    );
    assert!(!bad.requests().is_empty());

    let large = "x".repeat(1025);
    let length = format!("content-length: {}\r\n", large.len());
    let mut lost = 0;
    for _ in 0..20 {
        lost += usize::from(ask(&proxy, "PUT /", &length, &large).await.0 == 502);
    }
    assert!(lost > 0, "more than is kept is sent once");
}

#[tokio::test]
async fn an_endpoint_that_says_it_is_in_trouble_is_not_heard_while_there_is_another() {
    let trouble = endpoint("trouble").reply(503).start().await;
    let good_app = endpoint("good").start().await;
    let proxy = proxy()
        .service("retry.budget = \"100%\"")
        .pool("blue", 1, &[&trouble, &good_app])
        .start();
    for _ in 0..20 {
        assert_eq!(ask(&proxy, "GET /", "", "").await, good());
    }
    let troubled = trouble.requests().len() as u64;
    assert_eq!(proxy.answers("blue"), [(200, true, 20)]);
    assert_eq!(proxy.failures("blue"), [("status", troubled)]);
    assert_eq!(proxy.retries("blue"), [("answered", troubled)]);
    let heard = ask(&proxy, "POST /", "", "").await;
    let again = ask(&proxy, "POST /", "", "").await;
    assert!(
        [heard, again].contains(&(503, "503".to_owned())),
        "one that may not be run twice is answered"
    );
    proxy
        .until("the answers to have ended", |proxy| {
            proxy.in_flight("blue") == 0
        })
        .await;
}

#[tokio::test]
async fn trouble_is_passed_on_where_nobody_else_may_be_asked_and_where_it_is_not_listed() {
    let trouble = endpoint("trouble").reply(503).start().await;
    let alone = proxy().pool("blue", 1, &[&trouble]).start();
    assert_eq!(ask(&alone, "GET /", "", "").await, (503, "503".to_owned()));
    assert_eq!(alone.retries("blue"), [("nowhere", 1)]);
    assert_eq!(trouble.requests().len(), 1);

    let other = endpoint("trouble").reply(503).start().await;
    let listed = proxy()
        .service("retry.statuses = [\"500-501\", 599]")
        .pool("blue", 1, &[&trouble, &other])
        .start();
    assert_eq!(ask(&listed, "GET /", "", "").await.0, 503);
    assert_eq!(listed.retries("blue"), []);
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_in_its_time_is_given_up_for_another() {
    let (silent, good_app) = (silent().await, endpoint("good").start().await);
    let proxy = proxy()
        .service("retry = { per_try = \"50ms\", budget = \"100%\" }")
        .pool("blue", 1, &[&silent, &good_app])
        .start();
    for _ in 0..6 {
        assert_eq!(ask(&proxy, "GET /", "", "").await, good());
    }
    let late = silent.requests().len() as u64;
    assert!(late > 0);
    assert_eq!(proxy.failures("blue"), [("timeout", late)]);
    silent.until_closed().await;
}

#[tokio::test]
async fn the_last_attempt_has_all_the_time_there_is() {
    let slow = endpoint("slow").serve(|mut peer| async move {
        while peer.request().await.is_ok() {
            // Longer than a try may take, and over sooner where it was given up.
            let _ = peer.arrives_within(Duration::from_millis(150)).await;
            peer.write(&answer(200, &[], b"good")).await;
        }
    });
    let (slow, silent) = (slow.start().await, silent().await);
    let proxy = proxy()
        .service(
            "balance = \"hash:path\"\ntimeouts.response = \"300ms\"\nretry = { per_try = \"40ms\", budget = \"100%\" }",
        )
        .pool("blue", 1, &[&silent, &slow])
        .start();
    // One that belongs to the silent endpoint ends at the slow one, which is then waited for.
    let mut path = 0;
    while ask(&proxy, &format!("GET /{path}"), "", "").await != good() {
        path += 1;
        assert!(path < 60, "no path belongs to the silent one");
    }
}

#[tokio::test]
async fn with_one_attempt_nothing_that_was_written_is_sent_again() {
    let (bad, good_app) = (breaking().await, endpoint("good").start().await);
    let proxy = proxy()
        .service("retry.attempts = 1")
        .pool("blue", 1, &[&bad, &good_app])
        .start();
    let mut lost = 0;
    for _ in 0..20 {
        lost += usize::from(ask(&proxy, "GET /", "", "").await.0 == 502);
    }
    assert_eq!(lost, bad.requests().len());
    assert!(lost > 0);
}

#[tokio::test]
async fn with_more_attempts_nobody_who_has_failed_is_asked_again() {
    let (one, two, three) = (breaking().await, breaking().await, breaking().await);
    let good_app = endpoint("good").start().await;
    for balance in [
        "round-robin",
        "random",
        "least-requests",
        "peak-ewma",
        "hash:path",
    ] {
        for n in 0..6 {
            // A new one each time, which may send the three more that its first request can need.
            let proxy = proxy()
                .service(&format!(
                    "balance = \"{balance}\"\nretry = {{ attempts = 4, backoff = \"1ms\" }}"
                ))
                .pool("blue", 1, &[&one, &two, &three, &good_app])
                .start();
            assert_eq!(ask(&proxy, &format!("GET /{n}"), "", "").await, good());
        }
    }
}

#[tokio::test]
async fn a_pool_that_is_down_is_hit_by_no_more_than_the_budget_beyond_its_clients() {
    let (one, two) = (breaking().await, breaking().await);
    let proxy = proxy().pool("blue", 1, &[&one, &two]).start();
    for _ in 0..200 {
        assert_eq!(ask(&proxy, "GET /", "", "").await.0, 502);
    }
    let asked = one.requests().len() + two.requests().len();
    assert!((203..=240).contains(&asked), "{asked} for 200");
    let outcomes = proxy.retries("blue");
    assert!(
        matches!(outcomes[..], [("failed", _), ("over_budget", _)]),
        "{outcomes:?}"
    );
    assert_eq!(outcomes.iter().map(|(_, count)| count).sum::<u64>(), 200);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_begun_again() {
    let plan = endpoint("cut").bytes_then_close("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let (cut, other) = (plan.start().await, endpoint("other").start().await);
    let proxy = proxy().pool("blue", 1, &[&cut, &other]).start();
    let mut client = proxy.client().await;
    let mut asked = 0;
    while cut.requests().is_empty() {
        client = proxy.client().await;
        let _ = client.try_get("/").await;
        asked += 1;
    }
    drop(client);
    assert_eq!(cut.requests().len() + other.requests().len(), asked);
    assert_eq!(proxy.retries("blue"), []);
}

#[tokio::test]
async fn an_endpoint_without_a_sibling_that_closed_a_parked_connection_is_asked_on_a_new_one() {
    // The first request of each connection is answered; the second is read, and the connection closed.
    let app = endpoint("good").serve(|mut peer| async move {
        if peer.request().await.is_ok() {
            peer.write(&answer(200, &[], b"good")).await;
            let _ = peer.request().await;
        }
    });
    let app = app.start().await;
    let proxy = proxy()
        .service("retry.budget = \"100%\"")
        .pool("blue", 1, &[&app])
        .start();
    for _ in 0..20 {
        assert_eq!(ask(&proxy, "GET /", "", "").await, good());
    }
    assert!(matches!(proxy.retries("blue")[..], [("answered", 1..)]));
}

#[tokio::test]
async fn a_preview_is_one_at_every_attempt() {
    let (bad, green) = (breaking().await, endpoint("green").start().await);
    let gone = endpoint("gone").start().await.stop().await.to_string();
    let blue = endpoint("blue").start().await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    for first in [bad.address.to_string(), gone] {
        let proxy = proxy()
            .service(&format!(
                "preview = {{ header = \"x-pool\", secret = {{ file = {secret:?} }} }}\nretry.budget = \"100%\""
            ))
            .pool("blue", 1, &[&blue])
            .pool_at("green", 0, &[&first, &green.address.to_string()])
            .start();
        for _ in 0..8 {
            let answer = ask(&proxy, "GET /", "x-pool: green;s3cret\r\n", "").await;
            assert_eq!(answer, (200, "green".to_owned()));
        }
        assert!(matches!(proxy.retries("green")[..], [("answered", 1..)]));
    }
    assert_eq!(blue.requests().len(), 0);
    assert!(
        !green
            .requests()
            .iter()
            .any(|request| request.contains("s3cret"))
    );
}

#[tokio::test]
async fn what_a_route_changes_it_changes_once() {
    let (bad, good_app) = (breaking().await, endpoint("good").start().await);
    let proxy = proxy()
        .service("routed = false\nretry.budget = \"100%\"")
        .more(
            "[[routes]]\nservice = \"app\"\npath = \"/a\"\nstrip_prefix = true\n\
             request_headers.add = { x-more = \"1\" }\n",
        )
        .pool("blue", 1, &[&bad, &good_app])
        .start();
    for _ in 0..10 {
        assert_eq!(ask(&proxy, "GET /a/a/b", "", "").await, good());
    }
    for request in good_app.requests() {
        assert!(request.starts_with("GET /a/b "), "{request}");
        assert_eq!(request.matches("x-more").count(), 1, "{request}");
    }
    assert!(!bad.requests().is_empty());
}
