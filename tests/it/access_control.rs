//! Who may come in, and how often.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{net::SocketAddr, sync::Arc};

use cutover::{
    config::plan::Route,
    units::{PathPattern, RateLimit},
};
use tokio::net::TcpSocket;

use crate::support::{Client, Proxy, endpoint, proxy, within};

/// Where clients may say who they are.
const BEHIND_A_PROXY: &str = "trusted_proxies = [\"127.0.0.1\"]";

fn route(lines: &str) -> String {
    format!("[[routes]]\n{lines}\nservice = \"app\"\n")
}

/// The status and the `Retry-After` that this client gets.
async fn asked(proxy: &Proxy, client: &str, path: &str) -> (u16, Option<u32>) {
    let mut connection = proxy.client().await;
    connection
        .send(format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {client}\r\n\r\n"
        ))
        .await;
    let answer = connection.answer().await;
    let retry = answer
        .header("retry-after")
        .map(|text| text.parse().unwrap());
    (answer.status, retry)
}

/// A connection from another address of this machine.
async fn from(proxy: &Proxy, address: &str) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    let address: SocketAddr = format!("{address}:0").parse().unwrap();
    socket.bind(address).unwrap();
    Client::over(socket.connect(proxy.address).await.unwrap())
}

#[tokio::test]
async fn a_route_is_for_the_clients_it_names_and_deny_wins() {
    let app = endpoint("blue").start().await;
    let routes = [
        "path = \"/in\"\nallow = [\"10.0.0.0/8\", \"2001:db8::/32\"]\ndeny = [\"10.1.0.0/16\"]",
        "path = \"/out\"\ndeny = [\"192.0.2.7\"]",
        "",
    ];
    let proxy = proxy()
        .listener(BEHIND_A_PROXY)
        .pool("blue", 100, &[&app])
        .more(&routes.map(route).concat())
        .start();
    for (client, path, status) in [
        ("10.0.0.1", "/in", 200),
        ("2001:db8::1", "/in", 200),
        ("10.1.0.1", "/in", 403),
        ("192.0.2.7", "/in", 403),
        ("1.2.3.4, 192.0.2.7", "/in", 403),
        // What comes before the last that is not trusted is hearsay.
        ("10.0.0.1, 192.0.2.7", "/in", 403),
        ("10.0.0.1, 127.0.0.1", "/in", 200),
        ("192.0.2.7", "/out", 403),
        ("192.0.2.8", "/out", 200),
        ("192.0.2.7", "/", 200),
    ] {
        let got = asked(&proxy, client, path).await;
        assert_eq!(got, (status, None), "{client} {path}");
    }
    assert_eq!(proxy.rejections(), [("forbidden", 5)]);
    assert_eq!(app.requests().len(), 5);
}

#[tokio::test]
async fn what_an_untrusted_client_says_it_is_opens_no_route() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more(&route("allow = [\"10.0.0.0/8\"]"))
        .start();
    assert_eq!(asked(&proxy, "10.0.0.1", "/").await, (403, None));
}

#[tokio::test]
async fn a_connection_to_a_listener_that_is_not_for_it_is_closed_without_a_word() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("allow = [\"127.0.0.0/30\"]\ndeny = [\"127.0.0.2\"]")
        .pool("blue", 100, &[&app])
        .start();
    for (address, open) in [
        ("127.0.0.1", true),
        ("127.0.0.2", false),
        ("127.0.0.3", true),
        ("127.0.0.4", false),
    ] {
        let mut client = from(&proxy, address).await;
        if open {
            assert_eq!(client.get("/").await.status, 200, "{address}");
        } else {
            assert_eq!(client.until_closed().await, "", "{address}");
        }
    }
    assert_eq!(proxy.rejections(), [("forbidden", 2)]);
}

#[tokio::test]
async fn another_file_closes_a_listener_to_new_connections_and_cuts_none() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut open = proxy.client().await;
    assert_eq!(open.get("/").await.status, 200);
    let listener = |lines: &str| {
        let text = format!(
            "[[listeners]]\naddress = \"{}\"\n{lines}\n[services.app]\nendpoints = [\"127.0.0.1:1\"]\n",
            proxy.address
        );
        proxy.listen(&text).unwrap();
    };
    listener("deny = [\"127.0.0.1\"]");
    within("the listener to be closed", async {
        while proxy.client().await.try_get("/").await.is_ok() {}
    })
    .await;
    assert_eq!(open.get("/").await.status, 200);
    listener("");
    within("the listener to be open", async {
        while proxy.client().await.try_get("/").await.is_err() {}
    })
    .await;
}

const HOURLY: &str = "rate_limit = { requests = 10, per = \"1h\" }";

#[tokio::test]
async fn who_comes_too_often_is_told_when_to_come_back_and_others_are_served() {
    let app = endpoint("blue").start().await;
    let routes = [&format!("path = \"/slow\"\n{HOURLY}"), ""];
    let proxy = proxy()
        .listener(BEHIND_A_PROXY)
        .pool("blue", 100, &[&app])
        .more(&routes.map(route).concat())
        .start();
    for _ in 0..10 {
        assert_eq!(asked(&proxy, "10.0.0.1", "/slow").await.0, 200);
    }
    let (status, retry) = asked(&proxy, "10.0.0.1", "/slow").await;
    assert_eq!(status, 429);
    assert!((300..=360).contains(&retry.unwrap()), "{retry:?}");
    assert_eq!(asked(&proxy, "10.0.0.2", "/slow").await.0, 200);
    assert_eq!(asked(&proxy, "10.0.0.1", "/").await.0, 200);
    assert_eq!(proxy.rejections(), [("rate_limited", 1)]);
    assert_eq!(app.requests().len(), 12);
}

#[tokio::test]
async fn a_limit_holds_exactly_over_all_workers() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .workers(2)
        .pool("blue", 100, &[&app])
        .more(&route(
            "rate_limit = { requests = 1, per = \"1d\", burst = 25 }",
        ))
        .start();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let mut client = proxy.client().await;
        asking.spawn(async move {
            let mut served = 0;
            for _ in 0..10 {
                served += u32::from(client.get("/").await.status == 200);
            }
            served
        });
    }
    let served: u32 = asking.join_all().await.iter().sum();
    assert_eq!(served, 25);
    assert_eq!(proxy.rejections(), [("rate_limited", 160 - 25)]);
}

#[tokio::test]
async fn a_request_that_is_sent_again_counts_once() {
    let app = endpoint("blue").start().await;
    let gone = endpoint("gone").start().await.stop().await.to_string();
    let proxy = proxy()
        .pool_at("blue", 100, &[&gone, &app.address.to_string()])
        .more(&route(HOURLY))
        .start();
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    assert_eq!(proxy.get("/").await.status, 429);
    assert!(matches!(proxy.failures("blue")[..], [("connect", 1..)]));
}

#[tokio::test]
async fn a_limit_goes_on_through_reloads_until_its_rule_changes() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more(&route(HOURLY))
        .start();
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    // Another route before it, and other rules beside the limit.
    proxy.edit(|plan| {
        let mut other = Route::clone(&plan.routes[0]);
        other.matcher.path = PathPattern::Prefix("/other".into());
        let limited = Arc::make_mut(&mut plan.routes[0]);
        limited.rules.response.remove = vec![http::header::SERVER];
        plan.routes.insert(0, Arc::new(other));
    });
    assert_eq!(proxy.get("/").await.status, 429);
    assert_eq!(proxy.get("/other").await.status, 200);
    proxy.edit(|plan| {
        let rules = &mut Arc::make_mut(&mut plan.routes[1]).rules;
        let rate = rules.rate.as_mut().unwrap();
        *rate = RateLimit {
            requests: 11,
            ..rate.clone()
        };
    });
    assert_eq!(proxy.get("/").await.status, 200);
}

#[tokio::test]
async fn a_route_that_asks_no_app_has_limits_too() {
    let app = endpoint("blue").start().await;
    let own = "[[routes]]\npath = \"/own\"\nrespond = { status = 200 }\n\
         rate_limit = { requests = 1, per = \"1h\", by = \"header:x-key\" }\ndeny = [\"10.0.0.1\"]\n";
    let proxy = proxy()
        .listener(BEHIND_A_PROXY)
        .pool("blue", 100, &[&app])
        .more(&(own.to_owned() + &route("")))
        .start();
    assert_eq!(asked(&proxy, "10.0.0.1", "/own").await.0, 403);
    let mut client = proxy.client().await;
    for (key, status) in [("a", 200), ("a", 429), ("b", 200)] {
        client
            .send(format!(
                "GET /own HTTP/1.1\r\nhost: a\r\nx-key: {key}\r\n\r\n"
            ))
            .await;
        assert_eq!(client.answer().await.status, status);
    }
    assert_eq!(proxy.rejections(), [("forbidden", 1), ("rate_limited", 1)]);
}

#[tokio::test]
async fn a_client_has_so_many_connections_and_others_have_theirs() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .workers(2)
        .listener("limits = { connections_per_client = 2 }\ntrusted_proxies = [\"127.0.0.9\"]")
        .pool("blue", 100, &[&app])
        .start();
    let (mut first, mut second) = (proxy.client().await, proxy.client().await);
    assert_eq!(
        (first.get("/").await.status, second.get("/").await.status),
        (200, 200)
    );
    let mut third = proxy.client().await;
    let refused = third.answer().await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    third.until_closed().await;
    assert_eq!(proxy.rejections(), [("client_connections", 1)]);
    assert_eq!(from(&proxy, "127.0.0.2").await.get("/").await.status, 200);
    let mut trusted = Vec::new();
    for _ in 0..5 {
        trusted.push(from(&proxy, "127.0.0.9").await);
    }
    for client in &mut trusted {
        assert_eq!(client.get("/").await.status, 200);
    }
    drop((first, trusted));
    proxy
        .until("a place", |proxy| {
            proxy.server().gauge().connections()[0].1 == 1
        })
        .await;
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!(second.get("/").await.status, 200);
}
