//! Listeners that show what has no traffic yet: whom they show, and that they never show another version in its place.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{net::SocketAddr, time::Duration};

use cutover::pool::State;
use h2::client::Builder;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::support::{
    Answer, App, Client, PATIENCE, Proxy, answer,
    caller::Caller,
    endpoint, free_address, proxy,
    trial::{numbers, on_trial},
    websocket, whole, within,
};

/// The SHA-256 of `secret`.
const TOKEN: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// A listener for previews beside that for users.
fn listener(address: SocketAddr) -> String {
    format!("[[listeners]]\naddress = \"{address}\"\npreview = true\n")
}

async fn get(address: SocketAddr) -> Answer {
    Client::connect(address).await.get("/").await
}

async fn two() -> (App, App) {
    let blue = endpoint("blue").start().await;
    (blue, endpoint("green").start().await)
}

/// Blue serves, green has no weight; with these lines of the service.
fn of(blue: &App, green: &[&App], lines: &str) -> (Proxy, SocketAddr) {
    let address = free_address();
    let proxy = proxy()
        .service(&format!("retry.budget = \"100%\"\n{lines}"))
        .pool("blue", 1, &[blue])
        .pool("green", 0, green)
        .more(&listener(address))
        .start();
    (proxy, address)
}

#[tokio::test]
async fn it_shows_the_pool_without_weight_while_users_get_the_other() {
    let (blue, green) = two().await;
    let (proxy, preview) = of(&blue, &[&green], "");
    assert_eq!(get(preview).await.body, "green");
    assert_eq!(proxy.get("/").await.body, "blue");
    proxy.shift(&[("green", 1)]);
    assert_eq!(get(preview).await.body, "blue");
    assert_eq!(proxy.get("/").await.body, "green");
    proxy.shift(&[("blue", 1), ("green", u32::MAX)]);
    assert_eq!(get(preview).await.body, "green", "as users, by weight");
}

#[tokio::test]
async fn what_is_on_trial_is_shown_whatever_its_share_and_counted_and_rescued_nowhere() {
    let blue = endpoint("blue").start().await;
    let green = endpoint("green").reply(500).start().await;
    let (proxy, preview) = of(&blue, &[&green], "");
    for share in [0.0, 1.0] {
        on_trial(&proxy, share, &["GET"]);
        assert_eq!(get(preview).await.status, 500);
    }
    assert_eq!(numbers(&proxy, "green"), [0; 5]);
    assert_eq!(blue.requests().len(), 0);
}

#[tokio::test]
async fn with_nobody_ready_it_refuses_at_once_and_shows_no_other_version() {
    let (blue, green) = two().await;
    let (proxy, preview) = of(&blue, &[&green], "queue.unready = \"1h\"");
    proxy.put("green", State::Unready, false);
    assert_eq!(get(preview).await.status, 503);
    proxy.put("blue", State::Unready, false);
    assert_eq!(get(preview).await.status, 503);
    assert_eq!((blue.requests().len(), green.requests().len()), (0, 0));
    // Nor does it matter to a preview whether users are served.
    proxy.put("green", State::Ready, false);
    assert_eq!(get(preview).await.body, "green");
}

#[tokio::test]
async fn what_fails_is_tried_again_within_its_pool_alone() {
    let breaking = endpoint("breaking").serve(|mut peer| async move {
        let _ = peer.request().await;
    });
    let (breaking, (blue, green)) = (breaking.start().await, two().await);
    let (_proxy, preview) = of(&blue, &[&breaking], "");
    assert_eq!(get(preview).await.status, 502);
    let (_proxy, preview) = of(&blue, &[&breaking, &green], "");
    for _ in 0..8 {
        assert_eq!(get(preview).await.body, "green");
    }
    assert_eq!(blue.requests().len(), 0);
}

#[tokio::test]
async fn what_was_shown_one_version_sees_no_other_though_all_is_switched_meanwhile() {
    let breaking = endpoint("green").serve(|mut peer| async move {
        let _ = peer.request().await;
        let _ = peer.arrives_within(Duration::from_millis(100)).await;
    });
    let (green, blue) = (breaking.start().await, endpoint("blue").start().await);
    let (proxy, preview) = of(&blue, &[&green], "");
    let switched = async {
        green.until_requests(1).await;
        proxy.shift(&[("green", 1)]);
    };
    let (answer, ()) = tokio::join!(get(preview), switched);
    assert_eq!(answer.status, 502);
    assert_eq!(blue.requests().len(), 0, "blue is what it shows by now");
    assert_eq!(get(preview).await.body, "blue");
}

#[tokio::test]
async fn of_several_without_weight_the_header_names_one_and_gets_that_or_nobody() {
    let ((blue, green), red) = (two().await, endpoint("red").start().await);
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    let preview = free_address();
    let proxy = proxy()
        .service(&format!(
            "preview = {{ header = \"x-pool\", secret = {{ file = {secret:?} }} }}"
        ))
        .pool("blue", 1, &[&blue])
        .pool("green", 0, &[&green])
        .pool("red", 0, &[&red])
        .more(&listener(preview))
        .start();
    let named = async |pool: &str| {
        let mut client = Client::connect(preview).await;
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-pool: {pool};s3cret\r\n\r\n");
        client.send(request).await;
        client.answer().await
    };
    assert_eq!(get(preview).await.status, 503);
    assert_eq!(named("red").await.body, "red");
    assert_eq!(named("teal").await.status, 503);
    proxy.shift(&[("blue", 1), ("green", 1)]);
    assert_eq!(get(preview).await.body, "red");
    proxy.shift(&[("blue", 1), ("red", 1)]);
    proxy.put("red", State::Unready, false);
    assert_eq!(named("red").await.status, 503, "not the idle green");
    assert_eq!(green.requests().len(), 0);
}

#[tokio::test]
async fn a_sticky_cookie_is_neither_set_nor_looked_at() {
    let (blue, green) = two().await;
    let (proxy, preview) = of(&blue, &[&green], "sticky = { by = \"cookie\" }");
    let user = proxy.get("/").await;
    let cookie = user.header("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let mut client = Client::connect(preview).await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nhost: a\r\ncookie: {cookie}\r\n\r\n"
        ))
        .await;
    assert_eq!(client.answer().await.body, "green");
    let shown = client.get("/").await;
    assert_eq!((&*shown.body, shown.header("set-cookie")), ("green", None));
}

#[tokio::test]
async fn previews_are_not_mirrored() {
    let ((blue, green), red) = (two().await, endpoint("red").start().await);
    let preview = free_address();
    let proxy = proxy()
        .service("mirror = { pool = \"red\", share = \"100%\", compare = false }")
        .pool("blue", 1, &[&blue])
        .pool("green", 0, &[&green])
        .pool("red", 0, &[&red])
        .more(&listener(preview))
        .start();
    on_trial(&proxy, 0.0, &[]);
    assert_eq!(get(preview).await.body, "green");
    assert_eq!(proxy.get("/").await.body, "blue");
    proxy.until_mirrored("red", &[("discarded", 1)]).await;
    assert_eq!(red.requests().len(), 1, "the user's");
}

#[tokio::test]
async fn bodies_tunnels_and_streams_of_http_2_come_by_it_too() {
    let blue = endpoint("blue").start().await;
    let green = endpoint("green").start().await;
    let (_proxy, preview) = of(&blue, &[&green], "");
    let mut client = Client::connect(preview).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody")
        .await;
    assert_eq!(client.answer().await.body, "green");
    assert!(green.request().starts_with("POST / "));
    let stream = TcpStream::connect(preview).await.unwrap();
    let mut caller = Caller::over(stream, &Builder::new()).await;
    assert_eq!(caller.get("/").await.told(), (200, "green"));
    let pong = websocket::pong_server().start().await;
    let (_proxy, preview) = of(&blue, &[&pong], "");
    let mut client = Client::connect(preview).await;
    client.send(websocket::request()).await;
    assert_eq!(client.answer_to_head().await.status, 101);
    client.send("echo").await;
    assert_eq!(client.bytes(4).await, b"echo");
    assert_eq!(blue.requests().len(), 0);
}

/// A file of both pools, whose second listener is for previews or is not.
fn file(users: SocketAddr, second: (SocketAddr, bool), apps: [&App; 2], more: &str) -> String {
    format!(
        "admin.tokens = [{{ name = \"ops\", role = \"operator\", sha256 = \"{TOKEN}\" }}]\n\
         [[listeners]]\naddress = \"{users}\"\n[[listeners]]\naddress = \"{}\"\npreview = {}\n\
         [services.app]\nweights = {{ blue = 100, green = 0 }}\nprobe = false\ndrain.deadline = \"1s\"\n\
         pools.blue.endpoints = [\"{}\"]\npools.green.endpoints = [\"{}\"]\n{more}",
        second.0, second.1, apps[0].address, apps[1].address
    )
}

#[tokio::test]
async fn an_edit_of_the_file_turns_open_connections_and_loses_no_request() {
    let (blue, green) = two().await;
    let (users, second) = (free_address(), free_address());
    let text = |previews| file(users, (second, previews), [&blue, &green], "");
    let whole = whole(&text(false)).await;
    let mut client = Client::connect(second).await;
    assert_eq!(client.get("/").await.body, "blue");
    for (previews, shown) in [(true, "green"), (false, "blue")] {
        whole.save(&text(previews));
        within("the edit to hold", async {
            loop {
                let answer = client.get("/").await;
                assert_eq!(answer.status, 200);
                if answer.body == shown {
                    return;
                }
            }
        })
        .await;
        assert_eq!(get(users).await.body, "blue");
    }
    whole.stop().await;
}

#[tokio::test]
async fn a_smoke_test_sees_the_new_version_before_its_users_and_the_old_one_once_it_is_over() {
    let (blue, green) = two().await;
    let (users, preview) = (free_address(), free_address());
    let smoke = endpoint("smoke").serve(move |mut peer| async move {
        while peer.request().await.is_ok() {
            let (shown, used) = (get(preview).await.body, get(users).await.body);
            let passes = (&*shown, &*used) == ("green", "blue");
            let status = if passes { 200 } else { 418 };
            peer.write(&answer(status, &[], shown.as_bytes())).await;
        }
    });
    let smoke = smoke.start().await;
    let hook = |at: &str| format!("{{ at = [\"{at}\"], url = \"http://{}/\" }}", smoke.address);
    let plan = format!(
        "[services.app.rollout]\nwarm_up = \"0s\"\nbake = \"0s\"\nsteps = [{{ hold = \"50ms\" }}]\nstrategy = \"blue-green\"\nhooks = [{}, {}]\n",
        hook("before-start"),
        hook("before-promote")
    );
    let text = file(users, (preview, true), [&blue, &green], &plan);
    let whole = whole(&text).await;
    let explain = format!("/v1/explain?url=/&listener={preview}");
    let explained: Value = serde_json::from_str(&whole.ask(&explain).await).unwrap();
    assert_eq!(explained["pool"], "green", "{explained:#}");
    let stranger = whole.ask("/v1/explain?url=/&listener=127.0.0.1:1").await;
    assert!(stranger.contains(&preview.to_string()), "{stranger}");
    let admin = whole.admin().to_string();
    let run = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let mut command =
            crate::console::bare_cli(folder.path(), &["rollout", "start", "app", "--to", "green"]);
        command.env("CUTOVER_TOKEN", "secret");
        command.env("CUTOVER_ADMIN", admin).output().unwrap()
    });
    let done = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
    assert!(done.status.success(), "{done:?}");
    whole
        .until("the switch", |app| app["active"] == "green")
        .await;
    assert_eq!(get(users).await.body, "green");
    whole
        .until("its end", |app| app["rollout"]["state"] == "succeeded")
        .await;
    assert_eq!(smoke.requests().len(), 2);
    assert_eq!(get(preview).await.body, "blue");
    whole.stop().await;
}
