//! A machine that has nothing left to open connections with. That is nobody's fault but ours.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{fs::File, process::Command};

use crate::support::{Proxy, endpoint, proxy, told, whole, within};

/// Lets this process, which has one test, open no more files. Those it holds on to are given back by dropping them.
fn no_descriptors_left() -> Vec<File> {
    let me = std::process::id().to_string();
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
    let limit = numbers.max().unwrap() + 20;
    let set = Command::new("prlimit")
        .args(["--pid", &me, &format!("--nofile={limit}:")])
        .status();
    assert!(set.unwrap().success());
    all_that_are_left()
}

fn all_that_are_left() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

async fn refused(proxy: &Proxy, client: &mut crate::support::Client) {
    let told = client.get("/").await;
    assert_eq!((told.status, told.header("retry-after")), (503, Some("1")));
    assert_eq!(proxy.failures("blue"), [], "the endpoint has done nothing");
    assert_eq!(proxy.rejections(), [("shortage", 1)]);
}

#[tokio::test]
async fn o_03_without_descriptors_a_request_is_a_503_and_no_fault_of_the_endpoints() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    proxy
        .until("the client to be met", |proxy| {
            proxy.server().gauge().connections()[0].1 == 1
        })
        .await;
    let held = no_descriptors_left();
    refused(&proxy, &mut client).await;
    drop(held);
    assert_eq!(client.get("/").await.body, "blue", "on the same connection");
}

#[tokio::test]
async fn o_03_what_is_open_already_is_served_without_descriptors() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client.get("/").await;
    let _held = no_descriptors_left();
    for _ in 0..10 {
        assert_eq!(
            client.get("/").await.body,
            "blue",
            "over the parked connection"
        );
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn o_03_a_probe_for_which_there_is_no_descriptor_is_no_verdict() {
    let app = endpoint("blue").start().await;
    let shop = whole(&format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nprobe.interval = \"50ms\"\nendpoints = [\"{}\"]\n",
        app.address
    ))
    .await;
    shop.until_state("main", "ready").await;
    let mut operator = shop.operator().await;
    assert_eq!(shop.get("/").await.body, "blue");
    let mut held = no_descriptors_left();
    let short = |metrics: &str| {
        let lines = metrics.lines();
        let line = lines.filter(|line| line.starts_with("cutover_probe_failures_total{"));
        let line = line.filter(|line| line.contains("reason=\"shortage\""));
        line.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum::<u64>()
    };
    // Far more often than the fall count.
    within("probes that can't be sent", async {
        while short(&told(&mut operator, "/metrics").await) < 10 {
            // Those of probes that were under way.
            held.extend(all_that_are_left());
        }
    })
    .await;
    let service = told(&mut operator, "/v1/services/app").await;
    assert!(service.contains("\"state\":\"ready\""), "{service}");
    let unready = told(&mut operator, "/v1/events?type=endpoint-unready").await;
    assert_eq!(unready, "{\"events\":[]}");
    drop((held, operator));
    shop.stop().await;
}
