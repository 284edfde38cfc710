//! Endpoints that are found while the proxy runs.

#![expect(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::SeqCst},
    },
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::support::{App, Whole, answer, endpoint, whole};

/// A file of endpoints in a folder of its own.
struct Listed {
    folder: TempDir,
}

impl Listed {
    fn new(lines: &str) -> Self {
        let listed = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        listed.save(lines);
        listed
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("blue.endpoints")
    }

    /// Puts another file in its place.
    fn save(&self, lines: &str) {
        let beside = self.folder.path().join("beside");
        fs::write(&beside, lines).unwrap();
        fs::rename(beside, self.path()).unwrap();
    }
}

fn file(listed: &Listed) -> String {
    format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\n\
         probe = {{ path = \"/healthz\", interval = \"20ms\", rise = 1 }}\n\
         pools.blue.discover = {{ file = \"{}\", most = 3 }}\n",
        listed.path().display()
    )
}

fn lines(apps: &[&App]) -> String {
    let lines: Vec<_> = apps.iter().map(|app| app.address.to_string()).collect();
    lines.join("\n") + "\n"
}

/// The states of blue's endpoints, in order.
fn states(service: &Value) -> Vec<&str> {
    let endpoints = service["pools"]["blue"]["endpoints"].as_array().unwrap();
    let states = endpoints.iter().map(|one| one["state"].as_str().unwrap());
    states.collect()
}

async fn until_states(shop: &Whole, wanted: &[&str]) {
    shop.until(&format!("states {wanted:?}"), |app| states(app) == wanted)
        .await;
}

/// Answers at once, except `/slow`, which waits for a permit.
async fn slow(permits: &Arc<Semaphore>) -> App {
    let permits = permits.clone();
    let app = endpoint("slow").serve(move |mut peer| {
        let permits = permits.clone();
        async move {
            while let Ok(request) = peer.request().await {
                if request.starts_with("GET /slow ") {
                    permits.acquire().await.unwrap().forget();
                }
                peer.write(&answer(200, &[], b"slow")).await;
            }
        }
    });
    app.start().await
}

#[tokio::test]
async fn the_first_request_finds_endpoints_and_a_new_one_gets_none_until_its_probe_passes() {
    let first = endpoint("first").start().await;
    let health = Arc::new(AtomicU16::new(500));
    let shared = health.clone();
    let second = endpoint("second").serve(move |mut peer| {
        let health = shared.clone();
        async move {
            while let Ok(request) = peer.request().await {
                let probe = request.starts_with("GET /healthz ");
                let status = if probe { health.load(SeqCst) } else { 200 };
                peer.write(&answer(status, &[], b"second")).await;
            }
        }
    });
    let second = second.start().await;
    let listed = Listed::new(&lines(&[&first]));
    let shop = whole(&file(&listed)).await;
    assert_eq!(shop.get("/").await.body, "first");
    listed.save(&format!(
        "{}{} weight=3 # new\n",
        lines(&[&first]),
        second.address
    ));
    until_states(&shop, &["ready", "unproven"]).await;
    for _ in 0..10 {
        assert_eq!(shop.get("/").await.body, "first");
    }
    let service = shop.service().await;
    let found = &service["pools"]["blue"]["endpoints"][1];
    assert_eq!(
        (&found["weight"], &found["found"]),
        (&3.into(), &true.into())
    );
    health.store(200, SeqCst);
    until_states(&shop, &["ready", "ready"]).await;
    crate::support::within("the second to be asked", async {
        while shop.get("/").await.body != "second" {}
    })
    .await;
    assert_eq!(shop.events("endpoint-added").await, 2);
    shop.stop().await;
}

#[tokio::test]
async fn one_that_is_gone_ends_its_requests_and_is_forgotten() {
    let permits = Arc::new(Semaphore::new(0));
    let (leaver, stayer) = (slow(&permits).await, endpoint("stayer").start().await);
    let listed = Listed::new(&lines(&[&leaver]));
    let shop = whole(&file(&listed)).await;
    let mut client = shop.client().await;
    client.send("GET /slow HTTP/1.1\r\nhost: app\r\n\r\n").await;
    leaver_has_it(&leaver).await;
    listed.save(&lines(&[&stayer]));
    until_states(&shop, &["ready", "draining"]).await;
    crate::support::within("what is shown to be published", async {
        while shop.get("/").await.body != "stayer" {}
    })
    .await;
    for _ in 0..10 {
        assert_eq!(shop.get("/").await.body, "stayer");
    }
    let service = shop.service().await;
    assert_eq!(service["pools"]["blue"]["of"], 1);
    assert_eq!(service["pools"]["blue"]["endpoints"][1]["in_flight"], 1);
    permits.add_permits(1);
    assert_eq!(client.answer().await.body, "slow");
    until_states(&shop, &["ready"]).await;
    assert_eq!(shop.events("endpoint-removed").await, 1);
    assert_eq!(shop.events("drained").await, 1);
    shop.stop().await;
}

async fn leaver_has_it(app: &App) {
    let asked = || {
        app.requests()
            .iter()
            .any(|one| one.starts_with("GET /slow "))
    };
    crate::support::until("the slow request", asked).await;
}

#[tokio::test]
async fn one_that_comes_back_while_it_drains_is_in_again() {
    let permits = Arc::new(Semaphore::new(0));
    let (leaver, stayer) = (slow(&permits).await, endpoint("stayer").start().await);
    let listed = Listed::new(&lines(&[&leaver, &stayer]));
    let shop = whole(&file(&listed)).await;
    until_states(&shop, &["ready", "ready"]).await;
    let mut client = shop.client().await;
    let mut other = shop.client().await;
    for client in [&mut client, &mut other] {
        client.send("GET /slow HTTP/1.1\r\nhost: app\r\n\r\n").await;
    }
    leaver_has_it(&leaver).await;
    listed.save(&lines(&[&stayer]));
    until_states(&shop, &["ready", "draining"]).await;
    listed.save(&lines(&[&leaver, &stayer]));
    until_states(&shop, &["ready", "ready"]).await;
    permits.add_permits(1);
    let mut bodies = [client.answer().await.body, other.answer().await.body];
    bodies.sort_unstable();
    assert_eq!(bodies, ["slow", "stayer"]);
    assert_eq!(shop.events("drained").await, 0);
    shop.stop().await;
}

#[tokio::test]
async fn a_source_that_fails_keeps_what_was_and_says_why() {
    let app = endpoint("app").start().await;
    let listed = Listed::new(&lines(&[&app]));
    let shop = whole(&file(&listed)).await;
    assert_eq!(shop.get("/").await.body, "app");
    let fails = async |why: &str| {
        let what = format!("it to fail: {why}");
        shop.until(&what, |app| {
            let error = app["pools"]["blue"]["discovery"]["failing"]["error"].as_str();
            error.is_some_and(|error| error.contains(why))
        })
        .await;
        assert_eq!(states(&shop.service().await), ["ready"]);
        assert_eq!(shop.get("/").await.body, "app");
    };
    listed.save("# a\n127.0.0.1\n");
    fails("line 2: expected HOST:PORT").await;
    listed.save("");
    fails("no line names an endpoint").await;
    listed.save("a:1\nb:1\nc:1\nd:1\n");
    fails("more than 3 endpoints").await;
    fs::remove_file(listed.path()).unwrap();
    fails("No such file").await;
    fs::create_dir(listed.path()).unwrap();
    fails("it is no file").await;
    assert_eq!(shop.events("discovery-failed").await, 1);
    let metrics = shop.ask("/metrics").await;
    let failed =
        "cutover_discovery_lookups_total{service=\"app\",pool=\"blue\",outcome=\"failed\"} 5";
    assert!(metrics.contains(failed), "{metrics}");
    assert!(
        metrics.contains("cutover_discovery_last_success_seconds{service=\"app\",pool=\"blue\"}")
    );
    fs::remove_dir(listed.path()).unwrap();
    listed.save(&lines(&[&app]));
    shop.until("it to be well", |app| {
        app["pools"]["blue"]["discovery"]["failing"].is_null()
    })
    .await;
    assert_eq!(shop.events("discovery").await, 1);
    assert_eq!(shop.events("endpoint-added").await, 1);
    shop.stop().await;
}

#[tokio::test]
async fn a_link_that_is_turned_is_another_file() {
    let (old, new) = (endpoint("old").start().await, endpoint("new").start().await);
    let listed = Listed::new("");
    let folder = listed.folder.path();
    fs::remove_file(listed.path()).unwrap();
    for (release, app) in [("1", &old), ("2", &new)] {
        fs::create_dir(folder.join(release)).unwrap();
        fs::write(folder.join(release).join("list"), lines(&[app])).unwrap();
    }
    symlink("1", folder.join("current")).unwrap();
    symlink("current/list", listed.path()).unwrap();
    let shop = whole(&file(&listed)).await;
    assert_eq!(shop.get("/").await.body, "old");
    symlink("2", folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("current")).unwrap();
    crate::support::within("the other release", async {
        while shop.get("/").await.body != "new" {}
    })
    .await;
    shop.stop().await;
}

#[tokio::test]
async fn an_edit_of_the_configuration_looks_elsewhere_and_keeps_what_was_until_then() {
    let (old, new) = (endpoint("old").start().await, endpoint("new").start().await);
    let (here, there) = (Listed::new(&lines(&[&old])), Listed::new(""));
    let shop = whole(&file(&here)).await;
    assert_eq!(shop.get("/").await.body, "old");
    shop.save(&file(&there));
    shop.until("the other source to fail", |app| {
        let discovery = &app["pools"]["blue"]["discovery"];
        let error = discovery["failing"]["error"].as_str();
        discovery["last"].is_null() && error == Some("no line names an endpoint")
    })
    .await;
    assert_eq!(shop.get("/").await.body, "old");
    there.save(&lines(&[&new]));
    crate::support::within("the other's endpoint", async {
        while shop.get("/").await.body != "new" {}
    })
    .await;
    shop.stop().await;
}

#[tokio::test]
async fn a_file_that_comes_late_is_served_from_when_it_is_there() {
    let app = endpoint("app").start().await;
    let listed = Listed::new("");
    fs::remove_file(listed.path()).unwrap();
    let shop = whole(&file(&listed)).await;
    let mut client = shop.client().await;
    client.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    shop.until("it to fail", |app| {
        !app["pools"]["blue"]["discovery"]["failing"].is_null()
    })
    .await;
    listed.save(&lines(&[&app]));
    assert_eq!(client.answer().await.body, "app");
    shop.stop().await;
}
