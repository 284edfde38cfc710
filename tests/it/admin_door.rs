//! Who may ask the admin API, and what becomes of what makes no sense.

#![allow(
    clippy::unwrap_used,
    clippy::format_push_string,
    reason = "a test that can't get its value has failed"
)]

use std::io::{Read, Write};

use crate::console::{Answer, Console, TWO_SERVICES};

const HERE: (&str, &str) = ("Host", "127.0.0.1:9900");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const SHIFT: &str = r#"{"weights":{"blue":9,"green":1}}"#;
const WEIGHTS: &str = "/v1/services/shop/weights";

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.code())
}

#[test]
fn over_tcp_everybody_here_reads_and_who_has_a_token_writes() {
    let console = Console::start(TWO_SERVICES);
    assert_eq!(
        console.over_tcp("GET", "/v1/status", &[HERE], "").status,
        200
    );
    let put = |token: &str, path: &str| {
        let answer = console.over_tcp("PUT", path, &[HERE, JSON, ("Authorization", token)], SHIFT);
        (answer.status, answer.code().to_owned())
    };
    let none = console.over_tcp("PUT", WEIGHTS, &[HERE, JSON], SHIFT);
    assert_eq!(code(&none), (401, "unauthenticated"));
    assert!(
        none.header("www-authenticate")
            .unwrap()
            .starts_with("Bearer")
    );
    assert_eq!(put("Bearer secret-of-nobody", WEIGHTS).0, 401);
    assert_eq!(put("Basic secret-of-ci", WEIGHTS).0, 401);
    assert_eq!(
        put("Bearer secret-of-watcher", WEIGHTS),
        (403, "forbidden".to_owned())
    );
    assert_eq!(
        put("Bearer secret-of-ci", "/v1/services/search/weights").0,
        403
    );
    assert_eq!(console.get("/v1/services/shop").json["weights"]["green"], 0);
    assert_eq!(put("Bearer secret-of-ci", WEIGHTS).0, 200);
    let by = &console.get("/v1/services/shop").json["drift"][0]["by"].clone();
    assert_eq!(
        (by["name"].as_str(), by["via"].as_str()),
        (Some("ci"), Some("token"))
    );
    let call = |method: &str, path: &str, token: &str| {
        console
            .over_tcp(method, path, &[HERE, JSON, ("Authorization", token)], "{}")
            .status
    };
    assert_eq!(
        call("POST", "/v1/config/reload", "Bearer secret-of-ci"),
        403
    );
    assert_eq!(
        call("POST", "/v1/config/reload", "Bearer secret-of-root"),
        200
    );
    assert_eq!(
        call(
            "DELETE",
            "/v1/services/shop/overrides/weights",
            "Bearer secret-of-ci"
        ),
        403
    );
    let both =
        r#"{"changes":[{"do":"rollback","service":"shop"},{"do":"rollback","service":"search"}]}"#;
    let mixed = console.over_tcp(
        "POST",
        "/v1/changes",
        &[HERE, JSON, ("Authorization", "Bearer secret-of-ci")],
        both,
    );
    assert_eq!(mixed.status, 403);
}

#[test]
fn no_web_page_drives_it() {
    let console = Console::start(TWO_SERVICES);
    let get = |headers: &[(&str, &str)]| {
        let answer = console.over_tcp("GET", "/v1/status", headers, "");
        assert!(answer.header("access-control-allow-origin").is_none());
        answer.status
    };
    assert_eq!(get(&[("Host", "evil.example")]), 421);
    assert_eq!(get(&[HERE, ("Origin", "https://evil.example")]), 403);
    assert_eq!(get(&[HERE, ("Origin", "null")]), 403);
    assert_eq!(get(&[HERE, ("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(get(&[HERE, ("Origin", "http://127.0.0.1:9900")]), 200);
    let preflight = console.over_tcp(
        "OPTIONS",
        WEIGHTS,
        &[HERE, ("Origin", "https://evil.example")],
        "",
    );
    assert_eq!(preflight.status, 403);
    let token = ("Authorization", "Bearer secret-of-root");
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
    ] {
        let answer = console.over_tcp(
            "PUT",
            WEIGHTS,
            &[HERE, token, ("Content-Type", kind)],
            SHIFT,
        );
        assert_eq!(code(&answer), (415, "unsupported-media-type"), "{kind}");
    }
    assert_eq!(console.get("/v1/services/shop").json["weights"]["green"], 0);
}

#[test]
fn calls_that_do_not_exist_say_so() {
    let console = Console::start(TWO_SERVICES);
    for path in [
        "/v1/services/shop/",
        "/v1//services",
        "/V1/status",
        "/v1/status/",
        "/v1/services/shop/%2e%2e/search",
        "/v1/services/shop/../search",
        "/",
        "/v2/status",
        "/v1/services/%ff",
        "/v1/services/..%2F..%2Fetc%2Fpasswd",
        "/v1/services/Shop",
    ] {
        let answer = console.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
    }
    for (method, path, allow) in [
        ("POST", WEIGHTS, "PUT"),
        ("GET", "/v1/services/shop/switch", "POST"),
        ("DELETE", "/v1/status", "GET"),
        ("OPTIONS", "/v1/status", "GET"),
        ("BREW", "/v1/status", "GET"),
        (
            "POST",
            "/v1/services/shop/pools/blue/endpoints/10.0.0.1:1",
            "PUT",
        ),
    ] {
        let answer = console.call(method, path, "");
        assert_eq!(
            code(&answer),
            (405, "method-not-allowed"),
            "{method} {path}"
        );
        assert!(
            answer
                .header("allow")
                .is_some_and(|methods| methods.contains(allow)),
            "{method} {path}: {}",
            answer.head
        );
    }
    let head = console.call("HEAD", "/v1/status", "");
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[test]
fn odd_bodies_are_refused_and_change_nothing() {
    let console = Console::start(TWO_SERVICES);
    let long = format!(
        r#"{{"weights":{{"blue":1}},"reason":"{}"}}"#,
        "x".repeat(2 << 20)
    );
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let nested = format!(
        r#"{{"weights":{}1{}}}"#,
        "{\"a\":".repeat(500),
        "}".repeat(500)
    );
    let verbose = format!(
        r#"{{"weights":{{"blue":1,"green":1}},"reason":"{}"}}"#,
        "x".repeat(2000)
    );
    for (body, status) in [
        ("{", 400),
        ("nonsense", 400),
        (r#"{"weights":{"blue":NaN}}"#, 400),
        (r#"{"weights":{"blue":1}}{}"#, 400),
        ("\u{feff}{}", 400),
        ("[]", 422),
        ("null", 422),
        (r#"{"weights":{"blue":1.5}}"#, 422),
        (r#"{"weights":{"blue":-1}}"#, 422),
        (r#"{"weights":{"blue":99999999999999999999999}}"#, 422),
        (r#"{"weights":{"blue":1e999}}"#, 422),
        (r#"{"weights":{"blue":1,"blue":2}}"#, 422),
        (r#"{"weights":{"blue":1},"weights":{"green":2}}"#, 422),
        (r#"{"weights":{"bl\u0075e\u0000":1}}"#, 422),
        (
            r#"{"weights":{"blue":1,"green":1},"deadline":"99999999h"}"#,
            422,
        ),
        (&verbose, 422),
        (&long, 413),
        (&deep, 422),
        (&nested, 422),
    ] {
        let answer = console.call("PUT", WEIGHTS, body);
        assert_eq!(answer.status, status, "{:.60} → {}", body, answer.text);
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    let zipped = console.call_with("PUT", WEIGHTS, &[("Content-Encoding", "gzip")], SHIFT);
    assert_eq!(zipped.status, 415);
    let mut invalid = b"PUT /v1/services/shop/weights HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n".to_vec();
    invalid.extend_from_slice(b"\"\xff\xfe\"");
    assert_eq!(console.raw(&invalid).status, 400);
    let chunked = b"PUT /v1/services/shop/weights HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    assert!((400..500).contains(&console.raw(chunked).status));
    assert_eq!(console.get("/v1/services/shop").json["weights"]["green"], 0);
}

#[test]
fn a_client_that_goes_away_does_not_undo_its_change() {
    let console = Console::start(TWO_SERVICES);
    let body = r#"{"weights":{"blue":1,"green":1},"wait":"drained","deadline":"30s"}"#;
    let mut stream = std::os::unix::net::UnixStream::connect(console.socket()).unwrap();
    write!(
        stream,
        "PUT {WEIGHTS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    drop(stream);
    // Either it was read before the client left, and then it holds, or it was not.
    let _ = console.get("/v1/status");
    let weights = console.get("/v1/services/shop").json["weights"]["green"].clone();
    assert!(weights == 0 || weights == 1, "{weights}");
    assert_eq!(
        console
            .call("PUT", WEIGHTS, r#"{"weights":{"blue":3,"green":1}}"#)
            .status,
        200
    );
}

#[test]
fn clients_that_say_nothing_do_not_keep_others_out() {
    let console = Console::start(TWO_SERVICES);
    let mut silent: Vec<_> = (0..1000)
        .map_while(|_| std::net::TcpStream::connect(console.tcp).ok())
        .collect();
    for stream in silent.iter_mut().step_by(3) {
        let _ = stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: 127.");
    }
    let start = std::time::Instant::now();
    assert_eq!(
        console.over_tcp("GET", "/v1/status", &[HERE], "").status,
        200
    );
    assert_eq!(console.get("/v1/status").status, 200);
    assert!(
        start.elapsed() < std::time::Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    // The first ones had to go.
    silent[0]
        .set_read_timeout(Some(std::time::Duration::from_secs(5)))
        .unwrap();
    let mut rest = Vec::new();
    assert!(silent[0].read_to_end(&mut rest).is_ok() || !rest.is_empty());
}
