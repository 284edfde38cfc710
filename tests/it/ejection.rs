//! An endpoint that fails its requests is taken out by itself, and back in.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::SeqCst},
};

use crate::support::{App, Client, Whole, answer, endpoint, whole};

/// An app whose probes always pass, and whose answers' status a test decides.
struct Moody {
    app: App,
    status: Arc<AtomicU16>,
}

async fn moody(status: u16) -> Moody {
    let status = Arc::new(AtomicU16::new(status));
    let shared = status.clone();
    let app = endpoint("moody").serve(move |mut peer| {
        let status = shared.clone();
        async move {
            while let Ok(request) = peer.request().await {
                let probe = request.starts_with("GET /healthz ");
                let status = if probe { 200 } else { status.load(SeqCst) };
                peer.write(&answer(status, &[], b"moody")).await;
            }
        }
    });
    Moody {
        app: app.start().await,
        status,
    }
}

async fn shop(apps: &[&App], outlier: &str) -> Whole {
    let addresses: Vec<_> = apps
        .iter()
        .map(|app| format!("\"{}\"", app.address))
        .collect();
    let shop = whole(&format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\noutlier = {{ {outlier} }}\n\
         probe.path = \"/healthz\"\nprobe.interval = \"200ms\"\npools.blue.endpoints = [{}]\n",
        addresses.join(", ")
    ))
    .await;
    shop.until("all to be ready", |app| {
        let endpoints = app["pools"]["blue"]["endpoints"].as_array();
        endpoints.is_some_and(|all| all.iter().all(|one| one["state"] == "ready"))
    })
    .await;
    shop
}

/// Sends requests until the first endpoint is in this state.
async fn until_state(shop: &Whole, client: &mut Client, state: &str) {
    let wait = async {
        while shop.service().await["pools"]["blue"]["endpoints"][0]["state"] != state {
            client.get("/").await;
        }
    };
    crate::support::within(state, wait).await;
}

/// Statuses of so many answers.
async fn statuses(client: &mut Client, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(client.get("/").await.status);
    }
    statuses
}

#[tokio::test]
async fn one_that_answers_500_while_its_probes_pass_is_out_for_a_while_and_back_when_it_is_well() {
    let (ill, good) = (moody(500).await, endpoint("good").start().await);
    let shop = shop(&[&ill.app, &good], "eject = \"1s\"").await;
    let mut client = shop.client().await;
    until_state(&shop, &mut client, "ejected").await;
    assert_eq!(statuses(&mut client, 20).await, [200; 20]);
    let service = shop.service().await;
    let ejection = &service["pools"]["blue"]["endpoints"][0]["ejection"];
    assert!(ejection["cause"] == "consecutive" || ejection["cause"] == "ratio");
    assert_eq!(
        (&ejection["seconds"], &ejection["times"]),
        (&1.0.into(), &1.into())
    );
    let metrics = shop.ask("/metrics").await;
    assert!(
        metrics
            .contains("cutover_pool_endpoints{service=\"app\",pool=\"blue\",state=\"ejected\"} 1"),
        "{metrics}"
    );
    assert_eq!(shop.events("endpoint-ejected").await, 1);
    ill.status.store(200, SeqCst);
    until_state(&shop, &mut client, "ready").await;
    assert_eq!(shop.events("ejection-ended").await, 1);
    assert_eq!(statuses(&mut client, 50).await, [200; 50]);
    assert_eq!(shop.events("endpoint-ejected").await, 1);
    shop.stop().await;
}

#[tokio::test]
async fn where_all_fail_none_is_out() {
    let (one, other) = (moody(500).await, moody(500).await);
    let shop = shop(&[&one.app, &other.app], "").await;
    let mut client = shop.client().await;
    let begun = std::time::Instant::now();
    // Three looks and more.
    while begun.elapsed() < std::time::Duration::from_millis(800) {
        assert_eq!(statuses(&mut client, 10).await, [500; 10]);
    }
    assert_eq!(shop.events("endpoint-ejected").await, 0);
    shop.stop().await;
}

#[tokio::test]
async fn one_that_was_failing_while_it_was_off_is_judged_by_what_it_does_from_then_on() {
    let (ill, good) = (moody(500).await, endpoint("good").start().await);
    let shop = shop(&[&ill.app, &good], "consecutive = 0, ratio = \"0%\"").await;
    let mut client = shop.client().await;
    let heard = statuses(&mut client, 40).await;
    assert_eq!(heard.iter().filter(|status| **status == 500).count(), 20);
    assert_eq!(shop.events("endpoint-ejected").await, 0);
    shop.stop().await;
}
