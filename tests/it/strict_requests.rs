//! What could be understood in two ways is refused or made to be understood in one. The ids are those of
//! `docs/catalogue.md`.

use crate::support::{App, Client, Proxy, endpoint, proxy, within};

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
async fn refuses(cases: &[(&str, &str)], statuses: &[u16]) {
    let bytes: Vec<_> = cases
        .iter()
        .map(|(id, text)| (*id, text.as_bytes()))
        .collect();
    refuses_bytes(&bytes, statuses).await;
}

async fn refuses_bytes(cases: &[(&str, &[u8])], statuses: &[u16]) {
    let (app, proxy) = served().await;
    for (id, bytes) in cases {
        let (status, ended) = told(&proxy, bytes).await;
        let shown = bytes.escape_ascii();
        assert!(
            statuses.contains(&status) && ended,
            "{id}: {status}, ended: {ended}: {shown}"
        );
    }
    assert_eq!(app.requests(), [""; 0]);
    let counted: u64 = proxy.rejections().iter().map(|(_, count)| count).sum();
    assert_eq!(counted, cases.len() as u64, "{:?}", proxy.rejections());
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

pub const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\n";

#[tokio::test]
async fn h1_02_to_h1_04_a_length_that_is_not_one_number_is_refused() {
    let lengths = [
        ("h1-02", "content-length: 1\r\ncontent-length: 2"),
        ("h1-03", "content-length: 2, 2"),
        ("h1-04", "content-length: +5"),
        ("h1-04", "content-length: -1"),
        ("h1-04", "content-length: 0x5"),
        ("h1-04", "content-length: 5 5"),
        ("h1-04", "content-length: 5_0"),
        ("h1-04", "content-length:  "),
        ("h1-04", "content-length:"),
        ("h1-04", "content-length: 1e1"),
        ("h1-04", "content-length: 18446744073709551616"),
    ];
    let cases = lengths.map(|(id, length)| (id, format!("{POST}{length}\r\n\r\nabcde")));
    let cases: Vec<_> = cases
        .iter()
        .map(|(id, text)| (*id, text.as_str()))
        .collect();
    refuses(&cases, &[400]).await;
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
    let coded = |(id, coding): (&'static str, &[u8])| {
        let bytes = [
            POST.as_bytes(),
            b"transfer-encoding: ",
            coding,
            b"\r\n\r\n0\r\n\r\n",
        ];
        (id, bytes.concat())
    };
    let malformed: [(&str, &[u8]); 18] = [
        ("h1-06", b"xchunked"),
        ("h1-06", b"identity"),
        ("h1-06", b""),
        ("h1-06", b"chunked;a=b"),
        ("h1-06", b"gzip"),
        ("h1-08", b"chunked, chunked"),
        ("h1-08", b"chunked\r\ntransfer-encoding: chunked"),
        ("h1-08", b"gzip\r\ntransfer-encoding: chunked"),
        ("h1-08", b",chunked"),
        ("h1-08", b"chunked,"),
        ("h1-09", b"\x0bchunked"),
        ("h1-09", b"chunked\x0c"),
        ("h1-09", b"chunked\0"),
        ("h1-09", b"\x85chunked"),
        ("h1-09", b"\xa0chunked"),
        ("h1-09", b"\r\n chunked"),
        ("h1-09", b"\"chunked\""),
        ("h1-09", b"gzip\xa0, chunked"),
    ];
    let cases = malformed.map(coded);
    let cases: Vec<_> = cases
        .iter()
        .map(|(id, bytes)| (*id, bytes.as_slice()))
        .collect();
    refuses_bytes(&cases, &[400]).await;
    let unsupported: [(&str, &[u8]); 3] = [
        ("h1-07", b"gzip, chunked"),
        ("h1-07", b"gzip , deflate,Chunked"),
        ("h1-07", b"identity, chunked"),
    ];
    let cases = unsupported.map(coded);
    let cases: Vec<_> = cases
        .iter()
        .map(|(id, bytes)| (*id, bytes.as_slice()))
        .collect();
    refuses_bytes(&cases, &[501]).await;
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
    let bad: [(&str, &[u8]); 22] = [
        ("h1-11", b"transfer-encoding : chunked"),
        ("h1-11", b"x\t: 1"),
        ("h1-11", b" x: 1"),
        ("h1-12", b"x: 1\r\n 2"),
        ("h1-12", b"x: 1\r\n\t2"),
        ("h1-14", b"x: 1\r2"),
        ("h1-14", b"x: 1\ry: 2"),
        ("h1-14", b"x\ry: 1"),
        ("h1-15", b"x: \0"),
        ("h1-15", b"x: \x01"),
        ("h1-15", b"x: a\x08b"),
        ("h1-15", b"x: \x1b[31m"),
        ("h1-15", b"x: \x1f"),
        ("h1-15", b"x: \x7f"),
        ("h1-16", b"x y: 1"),
        ("h1-16", b"x@y: 1"),
        ("h1-16", b"(x): 1"),
        ("h1-16", b": 1"),
        ("h1-16", b"nocolon"),
        ("h1-16", b"\xc3\xa4: 1"),
        ("h1-16", b"x\0: 1"),
        ("h1-16", b"\"x\": 1"),
    ];
    let cases = bad.map(|(id, field)| {
        let bytes = [&b"GET / HTTP/1.1\r\nhost: a\r\n"[..], field, b"\r\n\r\n"];
        (id, bytes.concat())
    });
    let mut cases: Vec<_> = cases
        .iter()
        .map(|(id, bytes)| (*id, bytes.as_slice()))
        .collect();
    cases.push(("h1-11", b"GET / HTTP/1.1\r\n host: a\r\n\r\n"));
    cases.push(("h1-14", b"GET / HTTP/1.1\rhost: a\r\r"));
    cases.push(("h1-14", b"GET /\r HTTP/1.1\r\nhost: a\r\n\r\n"));
    refuses_bytes(&cases, &[400]).await;
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
    refuses(
        &[
            (
                "h1-17",
                "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            (
                "h1-17",
                "POST / HTTP/1.0\r\ntransfer-encoding: identity\r\n\r\n",
            ),
        ],
        &[400],
    )
    .await;
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
    let hosts = [
        ("h1-19", ""),
        ("h1-19", "host: a\r\nhost: a\r\n"),
        ("h1-19", "host: a\r\nhost: b\r\n"),
        ("h1-20", "host:\r\n"),
        ("h1-20", "host: a/b\r\n"),
        ("h1-20", "host: u@a\r\n"),
        ("h1-20", "host: u:p@a\r\n"),
        ("h1-20", "host: a,b\r\n"),
        ("h1-20", "host: a b\r\n"),
        ("h1-20", "host: a:99999\r\n"),
        ("h1-20", "host: a:x\r\n"),
        ("h1-20", "host: [::1\r\n"),
        ("h1-20", "host: a\\b\r\n"),
        ("h1-20", "host: a%2fb\r\n"),
        ("h1-20", "host: http://a\r\n"),
    ];
    let cases = hosts.map(|(id, hosts)| (id, format!("GET / HTTP/1.1\r\n{hosts}\r\n")));
    let mut cases: Vec<_> = cases
        .iter()
        .map(|(id, text)| (*id, text.as_bytes()))
        .collect();
    cases.push(("h1-20", b"GET / HTTP/1.1\r\nhost: \xff\r\n\r\n"));
    cases.push(("h1-20", b"GET / HTTP/1.0\r\nhost:\r\n\r\n"));
    refuses_bytes(&cases, &[400]).await;
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
    refuses(
        &[
            ("h1-22", "GET http://a/ HTTP/1.1\r\n\r\n"),
            (
                "h1-22",
                "GET http://a/ HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
            ),
            ("h1-22", "GET http://a/ HTTP/1.1\r\nhost: a/b\r\n\r\n"),
            ("h1-22", "GET http://u@a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-22", "GET http:///x HTTP/1.1\r\nhost: a\r\n\r\n"),
        ],
        &[400],
    )
    .await;
}

#[tokio::test]
async fn h1_23_and_h1_24_a_target_of_another_kind_is_refused() {
    refuses(
        &[
            ("h1-23", "GET https://a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-23", "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
            (
                "h1-23",
                "GET file:///etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n",
            ),
            ("h1-24", "GET * HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-24", "OPTIONS */x HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-24", "GET a HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-24", "GET a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n"),
            ("h1-24", "GET ?a HTTP/1.1\r\nhost: a\r\n\r\n"),
        ],
        &[400],
    )
    .await;
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
    refuses(
        &[("h1-25", "CONNECT a:b:c HTTP/1.1\r\nhost: a\r\n\r\n")],
        &[400],
    )
    .await;
}

#[tokio::test]
async fn h1_27_bytes_that_have_no_place_in_a_target_are_refused() {
    let targets: [(&str, &[u8]); 16] = [
        ("h1-27", b"/a\\b"),
        ("h1-27", b"/a b"),
        ("h1-27", b"/a\tb"),
        ("h1-27", b"/\xc3\xa4"),
        ("h1-27", b"/\xff"),
        ("h1-27", b"/?\xc3\xa4"),
        ("h1-27", b"/\0"),
        ("h1-27", b"/\x7f"),
        ("h1-27", b"/a<b"),
        ("h1-27", b"/%"),
        ("h1-27", b"/%2"),
        ("h1-27", b"/%zz"),
        ("h1-27", b"/\x01"),
        ("h1-27", b"\\a"),
        ("h1-27", b"http://a\\b/"),
        ("h1-27", b""),
    ];
    let cases = targets.map(|(id, target)| {
        let bytes = [b"GET ", target, b" HTTP/1.1\r\nhost: a\r\n\r\n"];
        (id, bytes.concat())
    });
    let cases: Vec<_> = cases
        .iter()
        .map(|(id, bytes)| (*id, bytes.as_slice()))
        .collect();
    refuses_bytes(&cases, &[400]).await;
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
    let paths = [
        "/..",
        "/../a",
        "/a/../../b",
        "/a/../%2e%2e/etc//x",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/a/..%2fb",
        "/a%2f..%2fb",
        "/a/..%5cb",
        "/a/..;/b",
        "/a/..;x=1/b",
    ];
    let cases = paths.map(|path| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
    let cases: Vec<_> = cases.iter().map(|text| ("h1-28", text.as_str())).collect();
    refuses(&cases, &[400]).await;
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
    let long = format!("{} / HTTP/1.1\r\nhost: a\r\n\r\n", "X".repeat(1 << 20));
    refuses(
        &[
            ("h1-31", "G=T / HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-31", "G\u{e4}T / HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-31", "G\0T / HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-31", " / HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-31", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-31", &long),
        ],
        &[400, 414],
    )
    .await;
}

#[tokio::test]
async fn h1_32_and_h1_33_another_version_or_protocol_is_refused() {
    let versions = [
        "HTTP/1.2",
        "HTTP/2.0",
        "HTTP/1.1 ",
        "HTTP/1",
        "HTTP/01.1",
        "http/1.1",
        "HTTP/1.11",
        "HTTP/0.9",
        "HTTPS/1.1",
    ];
    let cases = versions.map(|version| format!("GET / {version}\r\nhost: a\r\n\r\n"));
    let mut cases: Vec<_> = cases
        .iter()
        .map(|text| ("h1-32", text.as_bytes()))
        .collect();
    cases.push(("h1-32", b"GET /\r\n\r\n"));
    cases.push(("h1-33", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"));
    cases.push((
        "h1-53",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
    ));
    cases.push((
        "h1-53",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02",
    ));
    refuses_bytes(&cases, &[400]).await;
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
    refuses_bytes(
        &[
            ("h1-35", b"\x80\x01\x02garbage\r\n\r\n"),
            ("h1-35", b"\0\0\0\0\0\0\0\0"),
            ("h1-35", b"{\"json\": true}\r\n\r\n"),
        ],
        &[400],
    )
    .await;
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
