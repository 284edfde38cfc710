//! Listeners on Unix sockets.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cutover::{
    tls::{Authorities, ClientSettings, Trust},
    units::{Ends, Preamble, PreambleVersion},
};
use tempfile::TempDir;

use crate::support::{
    Answer, App, Client, Proxy, authority,
    caller::{Caller, get},
    endpoint, proxy, within,
};

/// A folder for sockets.
struct Run(TempDir);

impl Run {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("web.sock")
    }

    fn listener(&self, lines: &str) -> String {
        format!(
            "[[listeners]]\naddress = \"unix:{}\"\n{lines}\n",
            self.socket().display()
        )
    }

    /// A whole file for what the proxy listens on: what it did before, and these.
    fn file(proxy: &Proxy, listeners: &str) -> String {
        format!(
            "[[listeners]]\naddress = \"{}\"\n{listeners}\n[services.app]\nendpoints = [\"127.0.0.1:1\"]\n",
            proxy.address
        )
    }

    fn start(&self, app: &App, lines: &str) -> Proxy {
        let listener = self.listener(lines);
        proxy().pool("blue", 100, &[app]).more(&listener).start()
    }

    async fn get(&self, path: &str) -> Answer {
        Client::connect_unix(&self.socket())
            .unwrap()
            .get(path)
            .await
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn last_request(app: &App) -> String {
    app.requests().last().unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn clients_of_a_unix_socket_are_served_by_every_worker_and_have_no_address() {
    let (run, app) = (Run::new(), endpoint("blue").start().await);
    let proxy = proxy()
        .workers(3)
        .pool("blue", 100, &[&app])
        .more(&run.listener(""))
        .start();
    assert_eq!(mode(&run.socket()), 0o660);
    let mut open = Vec::new();
    for _ in 0..32 {
        let mut client = Client::connect_unix(&run.socket()).unwrap();
        assert_eq!(client.get("/a").await.status, 200);
        open.push(client);
    }
    let told = last_request(&app);
    assert!(told.contains("x-forwarded-for: unknown\r\n"), "{told}");
    assert!(
        told.contains("forwarded: for=unknown;host=\"test\";proto=http"),
        "{told}"
    );
    open[0].send("GET /old HTTP/1.0\r\n\r\n").await;
    assert_eq!(open[0].answer().await.status, 200);
    assert!(last_request(&app).contains("host: localhost\r\n"));
    assert_eq!(proxy.get("/a").await.status, 200);
    assert!(last_request(&app).contains("x-forwarded-for: 127.0.0.1\r\n"));
}

#[tokio::test]
async fn a_proxy_behind_a_unix_socket_is_believed_where_it_is_trusted_by_name() {
    let lie = "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.7\r\n\r\n";
    for (trusted, told) in [
        (
            "[\"127.0.0.0/8\", \"::/0\"]",
            "x-forwarded-for: unknown\r\n",
        ),
        ("[\"unix\"]", "x-forwarded-for: 192.0.2.7, unknown\r\n"),
    ] {
        let (run, app) = (Run::new(), endpoint("blue").start().await);
        let _proxy = run.start(&app, &format!("trusted_proxies = {trusted}"));
        let mut client = Client::connect_unix(&run.socket()).unwrap();
        client.send(lie).await;
        assert_eq!(client.answer().await.status, 200);
        assert!(last_request(&app).contains(told), "{trusted}");
    }
}

#[tokio::test]
async fn a_balancer_behind_a_unix_socket_says_who_its_client_is() {
    let (run, app) = (Run::new(), endpoint("blue").start().await);
    let _proxy = run.start(
        &app,
        "trusted_proxies = [\"unix\"]\nproxy_protocol = true\nlimits.connections_per_client = 1",
    );
    let ends = Ends {
        client: "192.0.2.1:56324".parse().unwrap(),
        server: "192.0.2.2:443".parse().unwrap(),
    };
    let mut open = Vec::new();
    for (ends, told) in [(Some(ends), "192.0.2.1"), (None, "unknown")] {
        let mut client = Client::connect_unix(&run.socket()).unwrap();
        client
            .send(Preamble { ends }.write(PreambleVersion::V2))
            .await;
        assert_eq!(client.get("/").await.status, 200);
        let told = format!("x-forwarded-for: {told}\r\n");
        assert!(last_request(&app).contains(&told), "{told}");
        open.push(client);
    }
}

#[tokio::test]
async fn who_may_come_in_is_said_of_unix_sockets_by_name_and_all_are_one_client() {
    for (lines, served) in [
        ("allow = [\"0.0.0.0/0\", \"::/0\"]", false),
        ("deny = [\"unix\"]", false),
        ("allow = [\"unix\"]", true),
        ("deny = [\"0.0.0.0/0\", \"::/0\"]", true),
    ] {
        let (run, app) = (Run::new(), endpoint("blue").start().await);
        let _proxy = run.start(&app, lines);
        let mut client = Client::connect_unix(&run.socket()).unwrap();
        let answer = within("an answer", client.try_get("/")).await;
        assert_eq!(answer.is_ok(), served, "{lines}");
    }
    let (run, app) = (Run::new(), endpoint("blue").start().await);
    let proxy = run.start(&app, "limits.connections_per_client = 1");
    let mut first = Client::connect_unix(&run.socket()).unwrap();
    assert_eq!(first.get("/").await.status, 200);
    let mut second = Client::connect_unix(&run.socket()).unwrap();
    assert_eq!(second.answer().await.status, 503);
    assert_eq!(proxy.rejections(), [("client_connections", 1)]);
}

#[tokio::test]
async fn a_route_for_networks_is_not_for_clients_without_an_address() {
    let (run, app) = (Run::new(), endpoint("blue").start().await);
    let routes = "[[routes]]\npath = \"/net\"\nallow = [\"0.0.0.0/0\"]\nservice = \"app\"\n\
                  [[routes]]\npath = \"/unix\"\nallow = [\"unix\"]\nrate_limit = { requests = 1, per = \"1h\" }\nservice = \"app\"\n";
    let _proxy = run.start(&app, &format!("\n{routes}"));
    for (path, status) in [("/net", 403), ("/unix", 200), ("/unix", 429)] {
        assert_eq!(run.get(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_unix_socket_comes_and_goes_with_the_file_and_cuts_nobody() {
    let (run, app) = (Run::new(), endpoint("blue").start().await);
    let proxy = proxy().workers(2).pool("blue", 100, &[&app]).start();
    let listen = |listeners: &str| proxy.listen(&Run::file(&proxy, listeners));
    listen(&run.listener("")).unwrap();
    let mut open = Client::connect_unix(&run.socket()).unwrap();
    assert_eq!(open.get("/").await.status, 200);
    listen(&run.listener("mode = \"0600\"")).unwrap();
    assert_eq!(mode(&run.socket()), 0o600);
    assert_eq!(open.get("/").await.status, 200, "the same socket");
    listen("").unwrap();
    assert!(Client::connect_unix(&run.socket()).is_err());
    assert!(!run.socket().exists());
    let last = open.get("/").await;
    assert_eq!(
        (last.status, last.header("connection")),
        (200, Some("close"))
    );
    listen(&run.listener("")).unwrap();
    assert_eq!(run.get("/").await.status, 200);
}

#[tokio::test]
async fn who_has_come_when_a_unix_socket_goes_is_served() {
    let (run, app) = (Run::new(), endpoint("blue").start().await);
    for _ in 0..8 {
        let proxy = run.start(&app, "");
        let mut queued: Vec<_> = (0..16)
            .map(|_| Client::connect_unix(&run.socket()).unwrap())
            .collect();
        proxy.listen(&Run::file(&proxy, "")).unwrap();
        for client in &mut queued {
            assert_eq!(client.get("/").await.status, 200);
        }
    }
}

#[tokio::test]
async fn who_has_come_to_a_unix_socket_that_goes_before_anybody_waits_on_it_is_served() {
    let (run, app) = (Run::new(), endpoint("blue").start().await);
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let (with, without) = (Run::file(&proxy, &run.listener("")), Run::file(&proxy, ""));
    // Whatever the worker is doing by then.
    for micros in 0..150 {
        let [here, gone] = [&with, &without].map(|text| proxy.prepare(text).unwrap());
        let mut client = Client::connect_unix(&run.socket()).unwrap();
        proxy.server().serve(here);
        let then = Instant::now() + Duration::from_micros(micros);
        while Instant::now() < then {
            std::hint::spin_loop();
        }
        proxy.server().serve(gone);
        let answer = within("an answer", client.try_get("/")).await;
        assert_eq!(
            answer.map(|answer| answer.status).ok(),
            Some(200),
            "after {micros} us"
        );
    }
}

#[tokio::test]
async fn who_has_come_when_the_process_goes_before_its_workers_have_begun_is_served() {
    let (run, app) = (Run::new(), endpoint("blue").start().await);
    for _ in 0..10 {
        let mut proxy = run.start(&app, "");
        let mut client = Client::connect_unix(&run.socket()).unwrap();
        let answer = async move { client.try_get("/").await.map(|answer| answer.status).ok() };
        let (drained, status) = tokio::join!(proxy.drain(Duration::from_mins(1)), answer);
        assert_eq!(
            (status, drained.timed_out, drained.cut),
            (Some(200), false, 0)
        );
    }
}

#[tokio::test]
async fn a_unix_socket_that_cannot_be_bound_changes_nothing() {
    let (run, app) = (Run::new(), endpoint("blue").start().await);
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let listen = |lines: &str| {
        let refused = proxy.listen(&Run::file(&proxy, &run.listener(lines)));
        refused.unwrap_err().to_string()
    };
    fs::write(run.socket(), "precious").unwrap();
    assert!(listen("").contains("not a socket"));
    assert_eq!(fs::read_to_string(run.socket()).unwrap(), "precious");
    fs::remove_file(run.socket()).unwrap();
    assert!(listen("group = \"no-such-group\"").contains("no-such-group"));
    let other = UnixListener::bind(run.socket()).unwrap();
    assert!(listen("").contains("somebody answers"));
    assert!(Client::connect_unix(&run.socket()).is_ok(), "not stolen");
    drop(other);
    proxy.listen(&Run::file(&proxy, &run.listener(""))).unwrap();
    assert_eq!(run.get("/").await.status, 200, "left behind by a crash");
}

#[tokio::test]
async fn the_file_of_a_unix_socket_is_gone_when_the_process_stops() {
    let (run, app) = (Run::new(), endpoint("blue").start().await);
    let mut proxy = run.start(&app, "");
    assert_eq!(run.get("/").await.status, 200);
    proxy.drain(Duration::from_secs(5)).await;
    assert!(fs::read_dir(run.0.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn tls_and_http_2_are_spoken_on_a_unix_socket() {
    let (run, app, root) = (
        Run::new(),
        endpoint("blue").start().await,
        authority("root"),
    );
    let plain = run.start(&app, "");
    let (stream, _) = Client::connect_unix(&run.socket()).unwrap().into_parts();
    let mut caller = Caller::over(stream, &h2::client::Builder::new()).await;
    assert_eq!(caller.ask(get("/")).await.told().0, 200);
    drop((caller, plain));
    let pair = root.server(&["shop.test"]);
    let path = |name: &str| run.0.path().join(name);
    fs::write(path("cert"), &pair.cert).unwrap();
    fs::write(path("key"), &pair.key).unwrap();
    let tls = format!(
        "tls.certificates = [{{ cert = {:?}, key = {:?} }}]",
        path("cert"),
        path("key")
    );
    let _secure = run.start(&app, &tls);
    let trust = Trust::Authorities(Authorities::new(root.pem.as_bytes()).unwrap());
    let settings = ClientSettings::new(trust, None, None, (false, true)).unwrap();
    let (stream, _) = Client::connect_unix(&run.socket()).unwrap().into_parts();
    let connected = within("a handshake", settings.connect(stream, "shop.test")).await;
    let stream = connected.unwrap().stream;
    let mut caller = Caller::over(stream, &h2::client::Builder::new()).await;
    let mut request = get("/");
    *request.uri_mut() = "https://shop.test/".parse().unwrap();
    assert_eq!(caller.ask(request).await.told().0, 200);
}
