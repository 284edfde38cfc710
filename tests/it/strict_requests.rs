//! What could be understood in two ways is refused or made to be understood in one. The ids are those of
//! `docs/catalogue.md`.

use std::collections::BTreeSet;

use crate::{
    strict_corpus::{self, Case, POST},
    support::{App, Client, Proxy, endpoint, proxy, within},
};

/// An app that counts, behind a proxy.
pub async fn served() -> (App, Proxy) {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    (app, proxy)
}

/// What a client is told that sends these bytes, and whether the connection ends then.
pub async fn told(proxy: &Proxy, bytes: &[u8]) -> (u16, bool) {
    let mut client = proxy.client().await;
    let _ = client.try_send(bytes).await;
    let status = within("an answer", client.try_answer(false))
        .await
        .map_or(0, |answer| answer.status);
    let _ = client
        .try_send(b"GET /next HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    let next = within("the end", client.try_answer(false)).await;
    (status, next.is_err())
}

/// Each request is refused with one of the statuses, its connection ends, and the app hears of none.
async fn refuses(cases: &[Case], statuses: &[u16]) {
    let (app, proxy) = served().await;
    for (row, bytes) in cases {
        let (status, ended) = told(&proxy, bytes).await;
        let shown = bytes.escape_ascii();
        assert!(
            statuses.contains(&status) && ended,
            "{row}: {status}, ended: {ended}: {shown}"
        );
    }
    assert_eq!(app.requests(), [""; 0]);
    let counted: u64 = proxy.rejections().iter().map(|(_, count)| count).sum();
    assert_eq!(counted, cases.len() as u64, "{:?}", proxy.rejections());
}

/// More cases than the corpus of the research has that must be refused.
#[tokio::test]
async fn h1_01_to_h1_53_no_request_that_must_be_refused_brings_another_to_the_app() {
    let (app, proxy) = served().await;
    let cases = strict_corpus::all();
    for ((row, bytes), statuses) in &cases {
        let mut client = proxy.client().await;
        // At once, so that who sees the first one's end elsewhere than we do would see a second.
        let both = [bytes, &b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"[..]].concat();
        let _ = client.try_send(&both).await;
        let told = within("an answer", client.try_answer(false)).await;
        let shown = bytes.escape_ascii();
        let refused = told
            .as_ref()
            .is_ok_and(|told| statuses.contains(&told.status));
        assert!(refused, "{row}: {told:?}: {shown}");
        let more = within("the end", client.try_answer(false)).await;
        assert!(more.is_err(), "{row}: {more:?}: {shown}");
    }
    assert_eq!(app.requests(), [""; 0], "the app heard of one");
    let distinct: BTreeSet<_> = cases.iter().map(|((_, bytes), _)| bytes).collect();
    assert!(distinct.len() >= 69, "{} of 69", distinct.len());
    assert_eq!(distinct.len(), cases.len());
}

/// The head that the app gets where a client sends this one, in lower case but for its first line.
async fn passed(head: &str) -> (String, String) {
    let (app, proxy) = served().await;
    let mut client = proxy.client().await;
    client.send(head).await;
    assert_eq!(client.answer().await.status, 200, "{head}");
    let request = app.request();
    let (line, fields) = request.split_once("\r\n").unwrap_or_default();
    (line.to_owned(), format!("\r\n{}", fields.to_lowercase()))
}

#[tokio::test]
async fn h1_02_to_h1_04_a_length_that_is_not_one_number_is_refused() {
    refuses(&strict_corpus::lengths(), &[400]).await;
}

#[tokio::test]
async fn h1_03_the_same_length_twice_is_passed_on_once() {
    let (_, fields) = passed(&format!(
        "{POST}content-length: 2\r\ncontent-length: 2\r\n\r\nhi"
    ))
    .await;
    assert_eq!(
        fields.matches("content-length: 2\r\n").count(),
        1,
        "{fields}"
    );
}

#[tokio::test]
async fn h1_05_a_length_is_passed_on_as_every_reader_writes_it() {
    let (_, fields) = passed(&format!("{POST}content-length: 0002\r\n\r\nhi")).await;
    assert!(fields.contains("\r\ncontent-length: 2\r\n"), "{fields}");
}

#[tokio::test]
async fn h1_06_to_h1_09_a_coding_that_is_not_chunked_alone_is_refused() {
    refuses(&strict_corpus::codings(), &[400]).await;
    refuses(&strict_corpus::unsupported_codings(), &[501]).await;
}

#[tokio::test]
async fn h1_09_space_around_a_coding_is_no_part_of_it() {
    let chunked = "transfer-encoding: \tChunked \t\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let (_, fields) = passed(&format!("{POST}{chunked}")).await;
    assert!(
        fields.contains("\r\ntransfer-encoding: chunked\r\n"),
        "{fields}"
    );
}

#[tokio::test]
async fn h1_10_names_with_an_underscore_frame_nothing_and_go_no_further() {
    let fields = "Transfer_Encoding: chunked\r\nContent_Length: 5\r\nX_Forwarded_For: 1.2.3.4\r\nx-kept: 1\r\n";
    let (_, fields) = passed(&format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")).await;
    assert!(
        !fields.contains('_') && fields.contains("\r\nx-kept: 1\r\n"),
        "{fields}"
    );
}

#[tokio::test]
async fn h1_11_to_h1_16_a_field_that_is_none_is_refused() {
    refuses(&strict_corpus::fields(), &[400]).await;
}

#[tokio::test]
async fn h1_13_bare_line_feeds_are_understood_and_not_passed_on() {
    let (line, fields) = passed("GET /x HTTP/1.1\nhost: a\nx-y: 1\n\n").await;
    assert_eq!(line, "GET /x HTTP/1.1");
    assert!(fields.contains("\r\nx-y: 1\r\n"), "{fields}");
    assert_eq!(fields.matches('\n').count(), fields.matches("\r\n").count());
}

#[tokio::test]
async fn h1_17_http_1_0_has_no_chunks() {
    refuses(&strict_corpus::of_http_1_0(), &[400]).await;
}

#[tokio::test]
async fn h1_18_an_http_1_0_request_without_a_length_has_no_body() {
    let (app, proxy) = served().await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.0\r\nhost: a\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.until_closed().await, "");
    assert!(!app.request().contains("smuggled"));
}

#[tokio::test]
async fn h1_19_and_h1_20_a_request_names_one_host() {
    refuses(&strict_corpus::hosts(), &[400]).await;
}

#[tokio::test]
async fn h1_21_case_port_and_closing_dot_of_a_host_are_for_the_app_alone() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more("[[routes]]\nhost = [\"shop.test\"]\nservice = \"app\"\n")
        .start();
    for host in [
        "shop.test",
        "Shop.TEST",
        "shop.test.",
        "shop.test:80",
        "SHOP.test.:81",
    ] {
        let mut client = proxy.client().await;
        client
            .send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"))
            .await;
        assert_eq!(client.answer().await.status, 200, "{host}");
        let last = app.requests().pop().unwrap_or_default();
        assert!(last.contains(&format!("host: {host}\r\n")), "{last}");
    }
}

#[tokio::test]
async fn h1_22_an_absolute_target_still_needs_one_host() {
    refuses(&strict_corpus::absolute_targets(), &[400]).await;
}

#[tokio::test]
async fn h1_23_and_h1_24_a_target_of_another_kind_is_refused() {
    refuses(&strict_corpus::targets_of_another_kind(), &[400]).await;
}

#[tokio::test]
async fn h1_24_options_may_ask_for_the_server_as_a_whole() {
    let (line, _) = passed("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(line, "OPTIONS * HTTP/1.1");
}

#[tokio::test]
async fn h1_25_and_h1_26_nobody_gets_a_tunnel_or_an_echo() {
    let (app, proxy) = served().await;
    for (id, request) in [
        ("h1-25", "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n"),
        ("h1-25", "CONNECT / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("h1-26", "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n"),
        (
            "h1-26",
            "TRACE / HTTP/1.1\r\nhost: a\r\nmax-forwards: 0\r\n\r\n",
        ),
        (
            "h1-26",
            "TRACE / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx",
        ),
    ] {
        let mut client = proxy.client().await;
        client.send(request).await;
        let refused = client.answer().await;
        assert_eq!(refused.status, 405, "{id}: {request}");
        assert!(refused.header("allow").is_some(), "{id}");
    }
    assert_eq!(app.requests(), [""; 0]);
    assert_eq!(proxy.rejections(), [("method_not_allowed", 5)]);
}

#[tokio::test]
async fn h1_27_bytes_that_have_no_place_in_a_target_are_refused() {
    refuses(&strict_corpus::targets(), &[400]).await;
}

#[tokio::test]
async fn h1_27_an_escape_stays_an_escape_and_a_fragment_goes_no_further() {
    for (target, forwarded) in [
        ("/%00%0D%0A%20%22", "/%00%0D%0A%20%22"),
        ("/%0d%0ax:%201", "/%0D%0Ax:%201"),
        ("/%c0%af%C0%AE", "/%C0%AF%C0%AE"),
        ("/%252e%252e/", "/%252e%252e/"),
        ("/a#b", "/a"),
        ("/a?b#c", "/a?b"),
    ] {
        let (line, fields) = passed(&format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(line, format!("GET {forwarded} HTTP/1.1"));
        assert!(!fields.contains("\r\nx: 1"), "{fields}");
    }
}

#[tokio::test]
async fn h1_28_a_path_is_matched_and_passed_on_in_one_normal_form() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more("[[routes]]\npath = \"/public\"\nservice = \"app\"\n")
        .start();
    let mut client = proxy.client().await;
    for (path, forwarded) in [
        ("/public/a?/../%7e", "/public/a?/../%7e"),
        ("/x/../public/./b", "/public/b"),
        ("/%70ublic/%7eb/c%2e", "/public/~b/c."),
        ("/x/%2e%2E/public/", "/public/"),
        ("/public/a/..", "/public/"),
        ("/public//x;p=1/", "/public//x;p=1/"),
        ("/public/a%2fb", "/public/a%2Fb"),
        ("http://a/public/./x", "/public/x"),
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        let last = app.requests().pop().unwrap_or_default();
        let line = last.lines().next();
        assert_eq!(
            line,
            Some(format!("GET {forwarded} HTTP/1.1").as_str()),
            "{path}"
        );
    }
    for path in [
        "/public/../private",
        "/public/%2e%2e/private",
        "//public",
        "/public%2Fa",
        "/Public",
    ] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn h1_28_a_path_that_leads_astray_is_refused() {
    refuses(&strict_corpus::paths(), &[400]).await;
}

#[tokio::test]
async fn h1_29_a_target_of_8000_bytes_is_none_too_long() {
    let (line, _) = passed(&format!(
        "GET /{} HTTP/1.1\r\nhost: a\r\n\r\n",
        "x".repeat(7999)
    ))
    .await;
    assert_eq!(line.len(), "GET  HTTP/1.1".len() + 8000);
}

#[tokio::test]
async fn h1_30_ten_thousand_fields_are_too_many() {
    let (app, proxy) = served().await;
    for count in [101, 10_000] {
        let fields = "x: 1\r\n".repeat(count);
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
        assert_eq!(
            told(&proxy, request.as_bytes()).await,
            (431, true),
            "{count}"
        );
    }
    assert_eq!(app.requests(), [""; 0]);
}

#[tokio::test]
async fn h1_31_a_method_is_a_token_and_keeps_its_case() {
    for method in ["FOO", "get", "M-SEARCH", "X!#$%&'*+.^`|~"] {
        let (line, _) = passed(&format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(line, format!("{method} / HTTP/1.1"));
    }
    refuses(&strict_corpus::methods(), &[400, 414]).await;
}

#[tokio::test]
async fn h1_32_and_h1_33_another_version_or_protocol_is_refused() {
    refuses(&strict_corpus::versions(), &[400]).await;
}

#[tokio::test]
async fn h1_33_who_begins_in_http_2_is_answered_in_it() {
    let (_app, proxy) = served().await;
    let mut client = proxy.client().await;
    client
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    let settings = client.bytes(9).await;
    assert_eq!((settings[3], &settings[5..]), (4, &[0; 4][..]));
    assert_eq!(proxy.rejections(), [("", 0); 0]);
}

#[tokio::test]
async fn h1_34_a_few_empty_lines_before_a_request_are_no_harm() {
    let (line, _) = passed("\r\n\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(line, "GET /x HTTP/1.1");
}

#[tokio::test]
async fn h1_34_endless_empty_lines_come_to_an_end() {
    let (app, proxy) = served().await;
    let mut client = proxy.client().await;
    let lines = "\r\n".repeat(1 << 16);
    let ended = within("the end", async {
        while client.try_send(lines.as_bytes()).await.is_ok() {}
    });
    ended.await;
    assert_eq!(app.requests(), [""; 0]);
}

#[tokio::test]
async fn h1_35_garbage_is_refused_and_silence_is_nobodys_error() {
    refuses(&strict_corpus::garbage(), &[400]).await;
    let (_app, proxy) = served().await;
    drop(proxy.client().await);
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!(proxy.rejections(), []);
}

#[tokio::test]
async fn p_02_and_p_03_a_client_can_neither_write_nor_remove_what_we_say() {
    let listed = "connection: x-forwarded-for, host, content-length, authorization, cookie\r\n\
                  x-forwarded-for: 1.2.3.4\r\nx_forwarded_for: 1.2.3.4\r\nauthorization: b\r\ncookie: c\r\ncontent-length: 2\r\n";
    let (_, fields) = passed(&format!("{POST}{listed}\r\nhi")).await;
    for kept in [
        "host: a",
        "content-length: 2",
        "authorization: b",
        "x-forwarded-for: 127.0.0.1",
    ] {
        assert!(
            fields.contains(&format!("\r\n{kept}\r\n")),
            "{kept}: {fields}"
        );
    }
    assert!(
        !fields.contains("1.2.3.4") && !fields.contains("\r\ncookie"),
        "{fields}"
    );
}

#[tokio::test]
async fn p_06_a_field_that_is_there_twice_is_passed_on_twice() {
    let twice = "content-type: a\r\ncontent-type: b\r\nif-match: \"1\"\r\nif-match: \"2\"\r\n";
    let (_, fields) = passed(&format!("{POST}{twice}\r\n")).await;
    for kept in [
        "content-type: a",
        "content-type: b",
        "if-match: \"1\"",
        "if-match: \"2\"",
    ] {
        assert!(
            fields.contains(&format!("\r\n{kept}\r\n")),
            "{kept}: {fields}"
        );
    }
}

#[tokio::test]
async fn p_08_a_target_in_normal_form_is_passed_on_byte_by_byte() {
    for target in [
        "/",
        "/?",
        "/a?",
        "/a??b?",
        "/a%2Fb?c=%2f%zz&d=/../",
        "/a;b=c,d:@!$&'()*+=?{x:[1]}|\\^`",
    ] {
        let (line, _) = passed(&format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(line, format!("GET {target} HTTP/1.1"));
    }
}

#[tokio::test]
async fn p_09_our_own_answers_echo_nothing() {
    let (_app, proxy) = served().await;
    let mut client: Client = proxy.client().await;
    client
        .send("GET /../<script>%0d%0ax:1 HTTP/1.1\r\nhost: a\r\nx-evil: echo\r\n\r\n")
        .await;
    let refused = client.answer().await;
    assert!(
        refused.status == 400 && !refused.body.contains("script") && !refused.head.contains("evil")
    );
}
