//! What a route changes of requests and answers, and what it answers by itself.

use crate::support::{Answer, App, Proxy, answer, endpoint, proxy};

/// Sends a request and returns the app's view of it, in lower case, and the answer.
async fn passed(proxy: &Proxy, app: &App, target: &str, fields: &str) -> (String, Answer) {
    let before = app.requests().len();
    let mut client = proxy.client().await;
    client
        .send(format!(
            "GET {target} HTTP/1.1\r\nHost: shop.test:81\r\n{fields}\r\n"
        ))
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    (app.requests()[before].to_ascii_lowercase(), answer)
}

fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines
        .filter(|(field, _)| *field == name)
        .map(|(_, value)| value)
        .collect()
}

fn route(lines: &str) -> String {
    format!("[[routes]]\n{lines}\nservice = \"app\"\n")
}

#[tokio::test]
async fn the_requests_headers_are_set_added_and_removed() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more(&route(
            "request_headers = { set = { x-set = \"1\", X-Forwarded-Proto = \"https\" }, add = { x-add = \"2\" }, \
             remove = [\"x-gone\", \"x-request-id\"] }",
        ))
        .start();
    let fields = "X-Set: a\r\nX-Set: b\r\nX-Add: c\r\nX-Gone: d\r\nX-Gone: e\r\nX-Kept: f\r\n";
    let (request, _) = passed(&proxy, &app, "/", fields).await;
    assert_eq!(values(&request, "x-set"), ["1"]);
    assert_eq!(values(&request, "x-add"), ["c", "2"]);
    assert_eq!(values(&request, "x-gone"), [""; 0]);
    assert_eq!(values(&request, "x-kept"), ["f"]);
    assert_eq!(values(&request, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&request, "x-request-id"), [""; 0]);
}

#[tokio::test]
async fn the_answers_headers_are_changed_whoever_answers() {
    let fields = [("x-powered-by", "php"), ("x-a", "1"), ("server", "mine")];
    let app = endpoint("blue")
        .bytes(answer(200, &fields, b"x"))
        .start()
        .await;
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more(&route(
            "response_headers = { set = { x-a = \"2\" }, add = { vary = \"x\" }, remove = [\"x-powered-by\"] }",
        ))
        .start();
    let answer = proxy.get("/").await;
    assert_eq!(answer.header("x-powered-by"), None);
    assert_eq!(
        (
            answer.header("x-a"),
            answer.header("vary"),
            answer.header("server")
        ),
        (Some("2"), Some("x"), Some("mine"))
    );
    app.stop().await;
    let answer = proxy.get("/").await;
    assert_eq!((answer.status, answer.header("x-a")), (502, Some("2")));
    proxy.decide(|decided| {
        for endpoint in decided.pools.values_mut().flatten() {
            endpoint.standing.state = cutover::pool::State::Drained;
        }
    });
    let answer = proxy.get("/").await;
    assert_eq!((answer.status, answer.header("x-a")), (503, Some("2")));
}

#[tokio::test]
async fn a_prefix_is_taken_off_or_replaced_and_the_query_stays() {
    let app = endpoint("blue").start().await;
    let routes = [
        "path = \"/api\"\nstrip_prefix = true",
        "path = \"/old\"\nreplace_prefix = \"/new/\"",
        "path_exact = \"/one\"\nreplace_prefix = \"/two/three\"",
        "path_regex = \"/v[0-9]/.*\"\nstrip_prefix = \"/v1\"",
        "host = [\"other.test\"]\nreplace_prefix = \"/other\"",
        "",
    ];
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more(&routes.map(route).concat())
        .start();
    for (target, seen) in [
        ("/api", "/"),
        ("/api?x=/api", "/?x=/api"),
        ("/api/", "/"),
        ("/api/a%2Fb//c?q", "/a%2Fb//c?q"),
        ("/apix/y", "/apix/y"),
        ("/old/x", "/new/x"),
        ("/old", "/new"),
        ("/one?a", "/two/three?a"),
        ("/v1/x", "/x"),
        ("/v2/x", "/v2/x"),
        ("http://other.test/x", "/other/x"),
        ("/x", "/x"),
    ] {
        let (request, _) = passed(&proxy, &app, target, "").await;
        let line = format!("get {} http/1.1\r\n", seen.to_ascii_lowercase());
        assert!(request.starts_with(&line), "{target}: {request}");
    }
}

#[tokio::test]
async fn the_app_is_sent_another_host_and_told_which_was_asked_for() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more(&route("rewrite_host = \"app.internal:8080\""))
        .start();
    let (request, _) = passed(&proxy, &app, "/", "").await;
    assert_eq!(values(&request, "host"), ["app.internal:8080"]);
    assert_eq!(values(&request, "x-forwarded-host"), ["shop.test:81"]);
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_rewritten_once_and_decided_on_as_it_came() {
    let app = endpoint("blue").start().await;
    let gone = endpoint("gone").start().await.stop().await.to_string();
    let proxy = proxy()
        .pool_at("blue", 100, &[&gone, &app.address.to_string()])
        .more(&route(
            "host = [\"shop.test\"]\npath = \"/a\"\nheaders = { x-once = \"1\" }\nstrip_prefix = true\nrewrite_host = \"inner\"\n\
             request_headers = { add = { x-add = \"2\" }, set = { x-once = \"0\" } }",
        ))
        .start();
    for _ in 0..10 {
        let fields = "X-Once: 1\r\nX-Once: 7\r\nX-Add: 1\r\n";
        let (request, _) = passed(&proxy, &app, "/a/a/b", fields).await;
        assert!(request.starts_with("get /a/b http/1.1\r\n"), "{request}");
        assert_eq!(values(&request, "x-add"), ["1", "2"]);
        assert_eq!(values(&request, "x-once"), ["0"]);
        assert_eq!(values(&request, "host"), ["inner"]);
    }
    assert!(matches!(proxy.failures("blue")[..], [("connect", 1..)]));
}

#[tokio::test]
async fn a_route_redirects_without_asking_an_app() {
    let app = endpoint("blue").start().await;
    let routes = "[[routes]]\npath = \"/to\"\nstrip_prefix = true\n\
         redirect = { to = \"https://new.test/x{path}{query}\", status = 308 }\nresponse_headers.set.x-a = \"1\"\n\
         [[routes]]\npath = \"/secure\"\nredirect = { scheme = \"https\" }\n\
         [[routes]]\npath_exact = \"/home\"\nredirect = { path = \"/\", status = 301 }\n";
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more(&(routes.to_owned() + &route("path = \"/app\"")))
        .start();
    let mut client = proxy.client().await;
    for (target, status, location) in [
        ("/to/a?b=c", 308, "https://new.test/x/a?b=c"),
        ("/to", 308, "https://new.test/x/"),
        ("/secure/a?b=c", 302, "https://shop.test/secure/a?b=c"),
        ("/home", 301, "http://shop.test:81/"),
    ] {
        client
            .send(format!(
                "GET {target} HTTP/1.1\r\nhost: shop.test:81\r\n\r\n"
            ))
            .await;
        let answer = client.answer().await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (status, Some(location))
        );
        let own = target.starts_with("/to");
        assert_eq!(answer.header("x-a").is_some(), own);
        assert_eq!(answer.body, "");
    }
    assert_eq!(app.connections(), 0);
    assert_eq!(proxy.rejections(), []);
}

#[tokio::test]
async fn a_route_answers_the_same_to_everybody() {
    let app = endpoint("blue").start().await;
    let routes = "[[routes]]\npath_exact = \"/robots.txt\"\nrespond = { status = 200, body = \"User-agent: *\\n\" }\n\
         [[routes]]\npath = \"/gone\"\nrespond = { status = 410 }\n\
         [[routes]]\npath = \"/down\"\n\
         respond = { status = 503, body = \"<p>Back at noon\", content_type = \"text/html\" }\n\
         response_headers = { set = { retry-after = \"600\", cache-control = \"max-age=1\" } }\n";
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more(&(routes.to_owned() + &route("path = \"/app\"")))
        .start();
    let mut client = proxy.client().await;
    let robots = client.get("/robots.txt").await;
    assert_eq!(
        (robots.status, &*robots.body, robots.header("content-type")),
        (200, "User-agent: *\n", Some("text/plain; charset=utf-8"))
    );
    let gone = client.get("/gone/x").await;
    assert_eq!(
        (gone.status, &*gone.body, gone.header("content-length")),
        (410, "", Some("0"))
    );
    let down = client.get("/down").await;
    assert_eq!((down.status, &*down.body), (503, "<p>Back at noon"));
    assert_eq!(down.header("retry-after"), Some("600"));
    assert_eq!(down.header("cache-control"), Some("max-age=1"));
    client
        .send("HEAD /robots.txt HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    let head = client.answer_to_head().await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("14"))
    );
    assert_eq!(client.get("/app").await.body, "blue");
}
