//! Endpoints from DNS.

#![expect(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    Whole,
    dns::{Dns, Record},
    until, whole,
};

async fn shop(dns: &Dns, source: &str) -> Whole {
    whole(&format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nprobe = false\n\
         pools.blue.discover = {{ {source}, resolver = \"{}\", most = 3 }}\n",
        dns.address
    ))
    .await
}

fn address(ip: &str) -> Record {
    Record::Address(ip.parse().unwrap())
}

fn service(priority: u16, weight: u16, port: u16, target: &str) -> Record {
    Record::Service(priority, weight, port, target.to_owned())
}

/// Those that do not leave, with their weights.
fn found(app: &Value) -> Vec<String> {
    let endpoints = app["pools"]["blue"]["endpoints"].as_array().unwrap();
    let there = endpoints.iter().filter(|one| one["state"] == "ready");
    there
        .map(|one| format!("{} {}", one["address"].as_str().unwrap(), one["weight"]))
        .collect()
}

async fn until_found(shop: &Whole, wanted: &[impl AsRef<str>]) {
    let wanted: Vec<_> = wanted.iter().map(AsRef::as_ref).collect();
    shop.until(&format!("{wanted:?}"), |app| found(app) == wanted)
        .await;
}

async fn until_failing(shop: &Whole, why: &str) {
    shop.until(why, |app| {
        let error = app["pools"]["blue"]["discovery"]["failing"]["error"].as_str();
        error.is_some_and(|error| error.contains(why))
    })
    .await;
}

#[tokio::test]
async fn addresses_of_both_kinds_are_endpoints_and_are_asked_for_again_by_their_ttl() {
    let dns = Dns::start().await;
    dns.set_ttl(3600);
    dns.say(
        "app.internal",
        &[address("127.0.0.2"), address("::1"), address("127.0.0.2")],
    );
    let shop = shop(&dns, "dns = \"app.internal:8080\"").await;
    until_found(&shop, &["127.0.0.2:8080 1", "[::1]:8080 1"]).await;
    let asked = dns.asked();
    tokio::time::timeout(Duration::from_millis(1300), std::future::pending::<()>())
        .await
        .unwrap_err();
    assert_eq!(dns.asked(), asked, "they hold for an hour");
    shop.stop().await;
}

#[tokio::test]
async fn records_that_hold_for_no_time_are_asked_for_again_each_second_and_no_sooner() {
    let dns = Dns::start().await;
    dns.set_ttl(0);
    dns.say("app.internal", &[address("127.0.0.2")]);
    let shop = shop(&dns, "dns = \"app.internal:8080\"").await;
    until_found(&shop, &["127.0.0.2:8080 1"]).await;
    until("three looks", || dns.looks().len() >= 3).await;
    for pair in dns.looks().windows(2) {
        let pause = pair[1] - pair[0];
        assert!(pause >= Duration::from_millis(990), "{pause:?}");
    }
    shop.stop().await;
}

#[tokio::test]
async fn answers_that_no_datagram_can_carry_are_asked_for_by_tcp() {
    let dns = Dns::start().await;
    dns.truncate();
    let found = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
    dns.say("app.internal", &found.map(address));
    let shop = shop(&dns, "dns = \"app.internal:8080\"").await;
    until_found(&shop, &found.map(|ip| format!("{ip}:8080 1"))).await;
    dns.say("app.internal", &[address("127.0.0.5")]);
    until_found(&shop, &["127.0.0.5:8080 1"]).await;
    shop.stop().await;
}

#[tokio::test]
async fn changes_are_taken_and_failures_keep_what_was() {
    let dns = Dns::start().await;
    dns.say("app.internal", &[address("127.0.0.2")]);
    let shop = shop(&dns, "dns = \"app.internal:8080\"").await;
    until_found(&shop, &["127.0.0.2:8080 1"]).await;
    dns.say("app.internal", &[address("127.0.0.3")]);
    until_found(&shop, &["127.0.0.3:8080 1"]).await;
    let kept = ["127.0.0.3:8080 1"];
    dns.fail(2);
    until_failing(&shop, "Server Failure").await;
    until_found(&shop, &kept).await;
    dns.fail(3);
    until_failing(&shop, "NXDOMAIN").await;
    until_found(&shop, &kept).await;
    dns.fail(0);
    dns.say("app.internal", &[]);
    until_failing(&shop, "no such records").await;
    until_found(&shop, &kept).await;
    assert_eq!(shop.events("discovery-failed").await, 1);
    shop.stop().await;
}

#[tokio::test]
async fn silence_keeps_what_was() {
    let dns = Dns::start().await;
    dns.say("app.internal", &[address("127.0.0.2")]);
    let shop = shop(&dns, "dns = \"app.internal:8080\"").await;
    until_found(&shop, &["127.0.0.2:8080 1"]).await;
    dns.silence(true);
    shop.until("a failure", |app| {
        !app["pools"]["blue"]["discovery"]["failing"].is_null()
    })
    .await;
    until_found(&shop, &["127.0.0.2:8080 1"]).await;
    shop.stop().await;
}

#[tokio::test]
async fn services_of_the_best_priority_are_endpoints_with_their_ports_and_weights() {
    let dns = Dns::start().await;
    dns.say(
        "_http._tcp.app.internal",
        &[
            service(10, 5, 8080, "one.internal"),
            service(10, 0, 8081, "two.internal"),
            service(20, 9, 8082, "one.internal"),
        ],
    );
    dns.say("one.internal", &[address("127.0.0.2")]);
    dns.say("two.internal", &[address("127.0.0.3")]);
    let shop = shop(&dns, "srv = \"_http._tcp.app.internal\"").await;
    until_found(&shop, &["127.0.0.2:8080 5", "127.0.0.3:8081 1"]).await;
    dns.say(
        "_http._tcp.app.internal",
        &[service(20, 9, 8082, "one.internal")],
    );
    until_found(&shop, &["127.0.0.2:8082 9"]).await;
    shop.stop().await;
}
