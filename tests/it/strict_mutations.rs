//! However a request is bent, an app sees no request that the client gets no answer for, and none that is not ours.

use std::time::Duration;

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};

use crate::support::{Client, endpoint, proxy, within};

/// Of every run, so that a failure is seen again. `PROPTEST_CASES` makes a run longer.
const SEED: [u8; 32] = *b"where does the one request end ?";

/// What a client asks for behind the bent request, in wait of being let through.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
const LAST: &str = "GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

fn framing() -> impl Strategy<Value = String> {
    let name = select(vec![
        "Content-Length",
        "Content-Length",
        "Transfer-Encoding",
        "Transfer-Encoding",
        "Transfer_Encoding",
        " Transfer-Encoding",
        "Transfer-Encoding\t",
        "Content-Length ",
        "X: y\rTransfer-Encoding",
        "Connection: close\nTransfer-Encoding",
        "Trailer",
        "Connection",
        "Expect",
        "Upgrade",
    ]);
    let colon = select(vec![":", ": ", ": ", ":\t", " : ", ":\x0b", ":\r\n "]);
    let value = select(vec![
        "0",
        "5",
        "6",
        "35",
        "35",
        "40",
        "+5",
        "05",
        "5, 5",
        "0x5",
        "5 ",
        "-0",
        "chunked",
        "chunked",
        "Chunked",
        "xchunked",
        "gzip, chunked",
        "chunked, identity",
        "chunked, chunked",
        "\x0bchunked",
        "\"chunked\"",
        "chunked;q=1",
        ",chunked",
        "chun\r\n ked",
        "\tchunked ",
        "identity",
        "content-length",
        "transfer-encoding, close",
        "100-continue",
        "h2c",
        "",
    ]);
    let bent =
        (name, colon, value).prop_map(|(name, colon, value)| format!("{name}{colon}{value}"));
    let plain = select(vec![
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: Chunked",
        "Content-Length: 5",
        "Content-Length: 35",
        "Content-Length: 0",
        "Content-Length: 05",
        "X: y",
    ]);
    prop_oneof![3 => plain.prop_map(str::to_owned), 2 => bent]
}

fn body() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "0\r\n\r\n",
        "0\r\n\r\n",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "0\n\n",
        "5;a\nhello\r\n",
        "5;a=\"\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5\r\nhelloX",
        "5\r\nhello0\r\n\r\n",
        "0\r\nx: y\r\n\r\n",
        "0\r\ncontent-length: 5\r\n\r\n",
        "10000000000000000\r\n",
        "hello",
        "\r\n",
        "00000\r\n\r\n",
        "",
    ]);
    vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}

/// A bent request, one to be smuggled, and a last one.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let method = select(vec!["POST", "POST", "GET", "OPTIONS", "PUT"]);
    let target = select(vec![
        "/",
        "/",
        "http://a/",
        "/a%0d%0a",
        "/x\r\nhost: b\r\n\r\n",
        "*",
    ]);
    let version = select(vec![
        "HTTP/1.1",
        "HTTP/1.1",
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/1.1\r",
    ]);
    let bent = select(vec!["\n", "\r", "\r\r\n", "\r\n ", "\r\n\r\n"]);
    let end = prop_oneof![5 => Just("\r\n"), 1 => bent];
    let flips = vec(
        (
            any::<prop::sample::Index>(),
            select(b"\r\n\0 :,;0\t\x0b\xa0".to_vec()),
            0..3_u8,
        ),
        0..2,
    );
    (
        method,
        target,
        version,
        vec((framing(), end.clone()), 0..3),
        end,
        body(),
        flips,
    )
        .prop_map(|(method, target, version, fields, end, body, flips)| {
            let fields: Vec<String> = fields
                .iter()
                .map(|(field, end)| format!("{field}{end}"))
                .collect();
            let fields = fields.concat();
            let mut bent = format!("{method} {target} {version}\r\nHost: a\r\n{fields}{end}{body}")
                .into_bytes();
            for (index, byte, how) in flips {
                let at = index.index(bent.len());
                match how {
                    0 => bent[at] = byte,
                    1 => bent.insert(at, byte),
                    _ => drop(bent.remove(at)),
                }
            }
            [&bent, SMUGGLED.as_bytes(), LAST.as_bytes()].concat()
        })
}

/// The statuses of the final answers among what a client has read.
fn finals(read: &str) -> Vec<&str> {
    let starts = read.match_indices("HTTP/1.").map(|(at, _)| &read[at..]);
    let statuses = starts.filter_map(|answer| answer.get(9..12));
    statuses.filter(|status| !status.starts_with('1')).collect()
}

/// Whether the proxy has written what an app got, and framed it once.
fn is_ours(request: &str) -> Result<(), TestCaseError> {
    let head = request.split("\r\n\r\n").next().unwrap_or_default();
    let head = head.to_lowercase();
    let count = |field: &str| head.matches(&format!("\r\n{field}:")).count();
    let ours = head.matches("\r\nx-forwarded-for: 127.0.0.1").count();
    prop_assert_eq!(ours, 1, "not written by the proxy: {}", request);
    prop_assert_eq!(count("host"), 1);
    prop_assert!(count("content-length") + count("transfer-encoding") <= 1);
    Ok(())
}

#[test]
fn an_app_sees_no_request_that_the_client_got_no_answer_for() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (app, proxy) = runtime.block_on(async {
        let app = endpoint("blue").start().await;
        let proxy = proxy()
            .listener("timeouts = { header = \"50ms\", idle = \"50ms\" }")
            .service("timeouts = { idle = \"50ms\" }")
            .pool("blue", 100, &[&app])
            .start();
        (app, proxy)
    });
    let cases = Config::default().cases * 8;
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 500,
        cases,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
    let ran = TestRunner::new_with_rng(config, rng).run(&bytes(), |bytes| {
        let before = app.requests().len();
        let read = runtime.block_on(async {
            let mut client: Client = proxy.client().await;
            let _ = client.try_send(&bytes).await;
            let read = within("the connection's end", client.until_closed()).await;
            proxy
                .until("nothing to be on its way", |proxy| {
                    proxy.in_flight("blue") == 0
                })
                .await;
            read
        });
        let seen = app.requests().split_off(before);
        let answered = finals(&read);
        let by_the_app = answered.iter().filter(|status| **status == "200").count();
        prop_assert!(
            seen.len() <= by_the_app,
            "{} seen, answered {:?}",
            seen.len(),
            answered
        );
        seen.iter().try_for_each(|request| is_ours(request))?;
        Ok(())
    });
    match ran {
        Ok(()) => {}
        Err(TestError::Fail(why, bytes)) => {
            panic!("{why}\nseed {SEED:?}\nbytes {}", bytes.escape_ascii())
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    // Or else nothing is shown.
    let seen = app.requests().len();
    assert!(
        seen * 5 > cases as usize,
        "most requests were refused: {seen} seen"
    );
    drop(proxy);
    runtime.shutdown_timeout(Duration::from_secs(1));
}
