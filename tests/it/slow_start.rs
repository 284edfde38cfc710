//! An endpoint that is new gets its part of the requests little by little.

use std::collections::BTreeMap;

use cutover::units::Warmth;
use serde_json::Value;

use crate::support::{App, Client, Proxy, endpoint, proxy, whole};

const POLICIES: [&str; 5] = [
    "round-robin",
    "least-requests",
    "peak-ewma",
    "random",
    "hash:header:x-user",
];

async fn three() -> [App; 3] {
    [
        endpoint("one").start().await,
        endpoint("other").start().await,
        endpoint("new").start().await,
    ]
}

fn with(balance: &str, [one, other, new]: &[App; 3]) -> Proxy {
    proxy()
        .service(&format!("balance = \"{balance}\""))
        .pool("blue", 1, &[one, other, new])
        .start()
}

/// The third endpoint has this part of its weight.
fn warm(proxy: &Proxy, warmth: Warmth) {
    proxy.decide(|decided| {
        let blue = decided.pools.get_mut("blue").expect("it is there");
        blue[2].warmth = warmth;
    });
}

/// Who answers each of so many users.
async fn owners(client: &mut Client, users: usize) -> BTreeMap<usize, String> {
    let mut owners = BTreeMap::new();
    for user in 0..users {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-user: {user}\r\n\r\n");
        client.send(request).await;
        owners.insert(user, client.answer().await.body);
    }
    owners
}

#[tokio::test]
async fn by_every_policy_the_share_of_one_that_warms_up_grows_with_its_warmth() {
    for balance in POLICIES {
        let apps = three().await;
        let proxy = with(balance, &apps);
        let mut client = proxy.client().await;
        let mut shares = Vec::new();
        for percent in [10, 50, 100] {
            warm(&proxy, percent);
            let before = apps[2].requests().len();
            owners(&mut client, 420).await;
            shares.push(apps[2].requests().len() - before);
        }
        // In proportion 20, 84 and 140 of 420. By latency it gets little until it is as warm as the others;
        // then the quickest gets what a client alone asks for, whichever that is.
        let bounds = match balance {
            "round-robin" => [20..=20, 84..=84, 140..=140],
            "peak-ewma" => [0..=40, 0..=130, 0..=420],
            _ => [4..=40, 50..=120, 95..=190],
        };
        let fits = shares
            .iter()
            .zip(&bounds)
            .all(|(share, bounds)| bounds.contains(share));
        assert!(fits, "{balance}: {shares:?}");
    }
}

#[tokio::test]
async fn by_hash_users_move_to_the_one_that_warms_up_and_nowhere_else() {
    let apps = three().await;
    let proxy = with("hash:header:x-user", &apps);
    let mut client = proxy.client().await;
    warm(&proxy, 10);
    let mut before = owners(&mut client, 200).await;
    for percent in [30, 60, 100] {
        warm(&proxy, percent);
        let after = owners(&mut client, 200).await;
        let moved: Vec<_> = after
            .iter()
            .filter(|(user, owner)| before[*user] != **owner)
            .collect();
        assert!(!moved.is_empty());
        assert!(moved.iter().all(|(_, owner)| *owner == "new"), "{moved:?}");
        before = after;
    }
}

#[tokio::test]
async fn one_that_the_file_adds_warms_up_and_status_shows_it() {
    let (old, new) = (endpoint("old").start().await, endpoint("new").start().await);
    let file = |slow_start: &str, endpoints: &[&App]| {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|app| app.address.to_string())
            .collect();
        format!(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nslow_start = {slow_start}\n\
             probe.interval = \"20ms\"\npools.blue.endpoints = {endpoints:?}\n"
        )
    };
    let shop = whole(&file("\"1h\"", &[&old])).await;
    let mut client = shop.client().await;
    shop.save(&file("\"1h\"", &[&old, &new]));
    let slow_start = |app: &Value| app["pools"]["blue"]["endpoints"][1]["slow_start"].clone();
    shop.until("the new one to be ready", |app| slow_start(app) == 10)
        .await;
    assert!(
        shop.ask("/metrics")
            .await
            .contains("cutover_pool_endpoints_warming{service=\"app\",pool=\"blue\"} 1\n")
    );
    let before = new.requests().len();
    for _ in 0..110 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(new.requests().len() - before, 10);

    shop.save(&file("{ window = \"1s\", aggression = 2 }", &[&old, &new]));
    shop.until("the new one to be warm", |app| slow_start(app).is_null())
        .await;
    let before = new.requests().len();
    for _ in 0..110 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(new.requests().len() - before, 55);
    shop.stop().await;
}
