//! Figures from outside: a real Prometheus, documents of JSON, and sources that are down, wrong or slow.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use cutover::{
    config::plan::{Bound, Metric, MetricSource},
    rollout::{
        Outside,
        readings::{Finding, Look, NoFigure, Subject, follow, probe, query},
    },
    telemetry::Exposition,
    units::{Name, Secret},
};

use crate::support::{App, Prometheus, answer, endpoint, free_address, prometheus, within};

const SECOND: Duration = Duration::from_secs(1);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn metric(source: MetricSource, bound: Bound) -> Metric {
    Metric {
        name: name("orders"),
        source,
        authorization: None,
        bound,
        interval: Duration::from_millis(10),
        timeout: SECOND * 2,
        dry_run: false,
    }
}

const ANY: Bound = Bound::Between {
    min: None,
    max: None,
};

fn at_most_lower(percent: &str) -> Bound {
    Bound::Stable {
        max_drop: Some(percent.parse().unwrap()),
        max_rise: None,
    }
}

fn promql(url: &str, query: &str, bound: Bound) -> Metric {
    let (url, query) = (url.to_owned(), query.to_owned());
    metric(MetricSource::Prometheus { url, query }, bound)
}

fn document(app: &App, path: &str, pointer: &str, bound: Bound) -> Metric {
    let source = MetricSource::Http {
        url: format!("http://{}{path}", app.address),
        pointer: pointer.to_owned(),
        headers: vec![("x-team".parse().unwrap(), "shop".parse().unwrap())],
    };
    metric(source, bound)
}

async fn of(metric: &Metric, pool: &str) -> Result<f64, NoFigure> {
    query(metric, &name("shop"), &name(pool), &Outside::default()).await
}

async fn probed(metric: &Metric) -> Result<(), String> {
    probe(metric, &name("shop"), &name("green"), &Outside::default()).await
}

fn failed(figure: Result<f64, NoFigure>) -> String {
    match figure {
        Err(NoFigure::Failed(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// What looks at it find, until one is as it should be.
async fn until(metric: &Metric, is_it: impl Fn(&Finding) -> bool) -> Look {
    let subject = Subject {
        service: name("shop"),
        stable: name("blue"),
        candidate: name("green"),
    };
    let outside = Outside::default();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let looks = follow(metric, &subject, &outside, |look| {
        tell.send(look).unwrap();
    });
    let found = async {
        loop {
            let look = told.recv().await.unwrap();
            if is_it(&look.finding) {
                return look;
            }
        }
    };
    let found = async {
        tokio::select! {
            () = looks => unreachable!("it looks until it is dropped"),
            look = found => look,
        }
    };
    within("a finding", Box::pin(found)).await
}

/// An app of which blue takes ten orders between two scrapes, and green seven.
async fn shop() -> App {
    let scrapes = AtomicU64::new(0);
    let page = move || {
        let scrape = scrapes.fetch_add(1, SeqCst);
        let (blue, green) = (scrape * 10, scrape * 7);
        format!(
            "orders_total{{version=\"blue\"}} {blue}\norders_total{{version=\"green\"}} {green}\n\
             queue{{version=\"green\"}} NaN\n"
        )
    };
    let page = std::sync::Arc::new(page);
    endpoint("shop")
        .serve(move |mut peer| {
            let page = page.clone();
            async move {
                while peer.request().await.is_ok() {
                    let text = [("content-type", "text/plain; version=0.0.4")];
                    peer.write(&answer(200, &text, page().as_bytes())).await;
                }
            }
        })
        .start()
        .await
}

/// Once it has scraped what rates are made of.
async fn ready(prometheus: &Prometheus) {
    let scraped = promql(&prometheus.url, RATE, ANY);
    within("scrapes", async {
        while !matches!(of(&scraped, "green").await, Ok(rate) if rate > 0.0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

const RATE: &str = r#"sum(rate(orders_total{version="{{pool}}"}[1s]))"#;

#[tokio::test]
async fn a_real_prometheus_tells_of_both_versions_and_takes_the_worse_one_back() {
    let shop = shop().await;
    let prometheus = prometheus(shop.address).await;
    ready(&prometheus).await;
    let url = &prometheus.url;

    let worse = promql(url, RATE, at_most_lower("5%"));
    let look = until(&worse, |found| matches!(found, Finding::Bad(_))).await;
    assert!(look.takes_back());
    assert!(look.words().contains("more than 5% lower"), "{look:?}");
    let rehearsed = Metric {
        dry_run: true,
        ..worse
    };
    let look = until(&rehearsed, |found| matches!(found, Finding::Bad(_))).await;
    assert!(!look.takes_back(), "a dry run changes nothing");
    let lenient = promql(url, RATE, at_most_lower("60%"));
    let look = until(&lenient, |found| matches!(found, Finding::Kept(_))).await;
    assert!(look.stable.unwrap() > look.candidate.unwrap());

    let asked = |query| of_shop(url, query);
    assert_eq!(asked("scalar(vector(2.5))").await, Ok(2.5));
    let why = failed(asked("orders_total").await);
    assert!(why.contains("2 series"), "{why}");
    let none = NoFigure::Empty(format!("{url}/api/v1/query has no such series"));
    assert_eq!(asked("nothing_like_it").await, Err(none));
    let nan = NoFigure::Empty(format!("{url}/api/v1/query says NaN"));
    assert_eq!(asked("queue").await, Err(nan));
    let why = failed(asked("orders_total[1m]").await);
    assert!(why.contains("range"), "{why}");

    let why = probed(&promql(url, "sum(", ANY)).await.unwrap_err();
    assert!(why.contains("answered 400"), "{why}");
    assert!(why.contains("parse error"), "{why}");
    assert_eq!(probed(&promql(url, "nothing_like_it", ANY)).await, Ok(()));
}

async fn of_shop(url: &str, query: &str) -> Result<f64, NoFigure> {
    of(&promql(url, query, ANY), "green").await
}

#[tokio::test]
async fn a_prometheus_that_is_not_there_refuses_the_start_and_says_why() {
    let nobody = format!("http://{}", free_address());
    let why = probed(&promql(&nobody, RATE, ANY)).await.unwrap_err();
    let wanted = format!("metric orders: {nobody}/api/v1/query cannot be reached");
    assert!(why.starts_with(&wanted), "{why}");
}

#[tokio::test]
async fn a_number_is_found_in_a_document_of_each_version() {
    let app = endpoint("figures")
        .serve(|mut peer| async move {
            while let Ok(request) = peer.request().await {
                let orders = if request.contains("/green?") { 90 } else { 100 };
                let body = format!(r#"{{"orders":{{"per_minute":"{orders}"}}}}"#);
                peer.write(&answer(200, &[], body.as_bytes())).await;
            }
        })
        .start()
        .await;
    let pointer = "/orders/per_minute";
    let path = "/{{service}}/{{pool}}?format=json";
    let metric = Metric {
        authorization: Some(Secret::new(b"Bearer t0ken\n".to_vec())),
        ..document(&app, path, pointer, at_most_lower("20%"))
    };
    let look = until(&metric, |_| true).await;
    assert_eq!((look.stable, look.candidate), (Some(100.0), Some(90.0)));
    assert_eq!(look.words(), "orders of shop: 90 beside 100");
    for request in app.requests() {
        assert!(request.starts_with("GET /shop/"), "{request}");
        assert!(request.contains("authorization: Bearer t0ken\r\n"));
        assert!(request.contains("x-team: shop\r\n"));
    }
}

#[tokio::test]
async fn a_source_that_fails_is_no_reason_to_go_back_and_is_told_after_a_while() {
    let app = endpoint("figures").reply(500).start().await;
    let metric = document(&app, "/", "/a", at_most_lower("5%"));
    let look = until(&metric, |found| !matches!(found, Finding::NoData(_))).await;
    assert!(matches!(look.finding, Finding::Silent(_)), "{look:?}");
    assert!(!look.takes_back());
    let refused = probed(&metric).await.unwrap_err();
    assert!(refused.contains("answered 500"), "{refused}");
}

#[tokio::test]
async fn what_is_late_endless_elsewhere_or_no_json_is_no_figure() {
    let silent = endpoint("silent").silent().start().await;
    let late = Metric {
        timeout: SECOND / 5,
        ..document(&silent, "/", "/a", ANY)
    };
    assert!(failed(of(&late, "green").await).contains("did not answer in time"));
    let much = vec![b'1'; 300 << 10];
    let much = answer(200, &[], &much);
    let moved = answer(302, &[("location", "http://127.0.0.1:1/")], b"");
    for (bytes, words) in [
        (much, "more than 256 KiB"),
        (moved, "answered 302"),
        (answer(200, &[], b"<html>"), "with JSON"),
    ] {
        let app = endpoint("figures").bytes(bytes).start().await;
        let why = failed(of(&document(&app, "/", "/a", ANY), "green").await);
        assert!(why.contains(words), "{why}");
    }
}

#[tokio::test]
async fn what_sources_said_is_counted() {
    let app = endpoint("figures").bytes(answer(200, &[], b"{\"a\":1}"));
    let (app, outside) = (app.start().await, Outside::default());
    for pointer in ["/a", "/b", ""] {
        let metric = document(&app, "/", pointer, ANY);
        let _ = query(&metric, &name("shop"), &name("green"), &outside).await;
    }
    let mut exposition = Exposition::default();
    outside.expose(&mut exposition);
    let text = exposition.render();
    for result in ["answered", "empty", "failed"] {
        let line = format!("cutover_metric_queries_total{{result=\"{result}\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
}
