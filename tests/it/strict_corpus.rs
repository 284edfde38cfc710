//! Requests that must be refused, each under its row of `docs/catalogue.md`.

/// A row, and a request that belongs to it.
pub type Case = (&'static str, Vec<u8>);

pub const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\n";

/// A request with each of these in the middle of it.
fn each(before: &str, rows: &[(&'static str, &[u8])], after: &str) -> Vec<Case> {
    let request = |(row, bytes): &(&'static str, &[u8])| {
        let bytes = [before.as_bytes(), bytes, after.as_bytes()].concat();
        (*row, bytes)
    };
    rows.iter().map(request).collect()
}

/// All of them, and with what they are answered.
pub fn all() -> Vec<(Case, &'static [u16])> {
    let groups: [(Vec<Case>, &[u16]); 13] = [
        (lengths(), &[400]),
        (codings(), &[400]),
        (unsupported_codings(), &[501]),
        (fields(), &[400]),
        (of_http_1_0(), &[400]),
        (hosts(), &[400]),
        (absolute_targets(), &[400]),
        (targets_of_another_kind(), &[400]),
        (targets(), &[400]),
        (paths(), &[400]),
        (methods(), &[400, 414]),
        (versions(), &[400]),
        (garbage(), &[400]),
    ];
    let groups = groups.into_iter();
    groups
        .flat_map(|(cases, statuses)| cases.into_iter().map(move |case| (case, statuses)))
        .collect()
}

pub fn lengths() -> Vec<Case> {
    each(
        POST,
        &[
            ("h1-02", b"content-length: 1\r\ncontent-length: 2"),
            ("h1-03", b"content-length: 2, 2"),
            ("h1-04", b"content-length: +5"),
            ("h1-04", b"content-length: -1"),
            ("h1-04", b"content-length: 0x5"),
            ("h1-04", b"content-length: 5 5"),
            ("h1-04", b"content-length: 5_0"),
            ("h1-04", b"content-length:  "),
            ("h1-04", b"content-length:"),
            ("h1-04", b"content-length: 1e1"),
            ("h1-04", b"content-length: 18446744073709551616"),
        ],
        "\r\n\r\nabcde",
    )
}

pub fn codings() -> Vec<Case> {
    each(
        &format!("{POST}transfer-encoding: "),
        &[
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
        ],
        "\r\n\r\n0\r\n\r\n",
    )
}

pub fn unsupported_codings() -> Vec<Case> {
    each(
        &format!("{POST}transfer-encoding: "),
        &[
            ("h1-07", b"gzip, chunked"),
            ("h1-07", b"gzip , deflate,Chunked"),
            ("h1-07", b"identity, chunked"),
        ],
        "\r\n\r\n0\r\n\r\n",
    )
}

pub fn fields() -> Vec<Case> {
    let mut cases = each(
        "GET / HTTP/1.1\r\nhost: a\r\n",
        &[
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
        ],
        "\r\n\r\n",
    );
    cases.push(("h1-11", b"GET / HTTP/1.1\r\n host: a\r\n\r\n".to_vec()));
    cases.push(("h1-14", b"GET / HTTP/1.1\rhost: a\r\r".to_vec()));
    cases.push(("h1-14", b"GET /\r HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()));
    cases
}

pub fn of_http_1_0() -> Vec<Case> {
    each(
        "",
        &[
            (
                "h1-17",
                b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            (
                "h1-17",
                b"POST / HTTP/1.0\r\ntransfer-encoding: identity\r\n\r\n",
            ),
        ],
        "",
    )
}

pub fn hosts() -> Vec<Case> {
    let mut cases = each(
        "GET / HTTP/1.1\r\n",
        &[
            ("h1-19", b""),
            ("h1-19", b"host: a\r\nhost: a\r\n"),
            ("h1-19", b"host: a\r\nhost: b\r\n"),
            ("h1-20", b"host:\r\n"),
            ("h1-20", b"host: a/b\r\n"),
            ("h1-20", b"host: u@a\r\n"),
            ("h1-20", b"host: u:p@a\r\n"),
            ("h1-20", b"host: a,b\r\n"),
            ("h1-20", b"host: a b\r\n"),
            ("h1-20", b"host: a:99999\r\n"),
            ("h1-20", b"host: a:x\r\n"),
            ("h1-20", b"host: [::1\r\n"),
            ("h1-20", b"host: a\\b\r\n"),
            ("h1-20", b"host: a%2fb\r\n"),
            ("h1-20", b"host: http://a\r\n"),
        ],
        "\r\n",
    );
    cases.push(("h1-20", b"GET / HTTP/1.1\r\nhost: \xff\r\n\r\n".to_vec()));
    cases.push(("h1-20", b"GET / HTTP/1.0\r\nhost:\r\n\r\n".to_vec()));
    cases
}

pub fn absolute_targets() -> Vec<Case> {
    each(
        "",
        &[
            ("h1-22", b"GET http://a/ HTTP/1.1\r\n\r\n"),
            (
                "h1-22",
                b"GET http://a/ HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
            ),
            ("h1-22", b"GET http://a/ HTTP/1.1\r\nhost: a/b\r\n\r\n"),
            ("h1-22", b"GET http://u@a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-22", b"GET http:///x HTTP/1.1\r\nhost: a\r\n\r\n"),
        ],
        "",
    )
}

pub fn targets_of_another_kind() -> Vec<Case> {
    let mut cases = each(
        "",
        &[
            ("h1-23", b"GET https://a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-23", b"GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
            (
                "h1-23",
                b"GET file:///etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n",
            ),
            ("h1-24", b"GET * HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-24", b"OPTIONS */x HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-24", b"GET a HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("h1-24", b"GET a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n"),
            ("h1-24", b"GET ?a HTTP/1.1\r\nhost: a\r\n\r\n"),
        ],
        "",
    );
    cases.push((
        "h1-25",
        b"CONNECT a:b:c HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
    ));
    cases
}

pub fn targets() -> Vec<Case> {
    each(
        "GET ",
        &[
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
        ],
        " HTTP/1.1\r\nhost: a\r\n\r\n",
    )
}

pub fn paths() -> Vec<Case> {
    each(
        "GET ",
        &[
            ("h1-28", b"/.."),
            ("h1-28", b"/../a"),
            ("h1-28", b"/a/../../b"),
            ("h1-28", b"/a/../%2e%2e/etc//x"),
            ("h1-28", b"/%2e%2e/%2e%2e/etc/passwd"),
            ("h1-28", b"/a/..%2fb"),
            ("h1-28", b"/a%2f..%2fb"),
            ("h1-28", b"/a/..%5cb"),
            ("h1-28", b"/a/..;/b"),
            ("h1-28", b"/a/..;x=1/b"),
        ],
        " HTTP/1.1\r\nhost: a\r\n\r\n",
    )
}

pub fn methods() -> Vec<Case> {
    let mut cases = each(
        "",
        &[
            ("h1-31", b"G=T / HTTP/1.1"),
            ("h1-31", b"G\xc3\xa4T / HTTP/1.1"),
            ("h1-31", b"G\0T / HTTP/1.1"),
            ("h1-31", b" / HTTP/1.1"),
            ("h1-31", b"GET  / HTTP/1.1"),
        ],
        "\r\nhost: a\r\n\r\n",
    );
    let long = format!("{} / HTTP/1.1\r\nhost: a\r\n\r\n", "X".repeat(1 << 20));
    cases.push(("h1-31", long.into_bytes()));
    cases
}

pub fn versions() -> Vec<Case> {
    let mut cases = each(
        "GET / ",
        &[
            ("h1-32", b"HTTP/1.2"),
            ("h1-32", b"HTTP/2.0"),
            ("h1-32", b"HTTP/1.1 "),
            ("h1-32", b"HTTP/1"),
            ("h1-32", b"HTTP/01.1"),
            ("h1-32", b"http/1.1"),
            ("h1-32", b"HTTP/1.11"),
            ("h1-32", b"HTTP/0.9"),
            ("h1-32", b"HTTPS/1.1"),
        ],
        "\r\nhost: a\r\n\r\n",
    );
    cases.push(("h1-32", b"GET /\r\n\r\n".to_vec()));
    cases.push((
        "h1-33",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
    ));
    cases.push((
        "h1-53",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
    ));
    cases.push((
        "h1-53",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02".to_vec(),
    ));
    cases
}

pub fn garbage() -> Vec<Case> {
    each(
        "",
        &[
            ("h1-35", b"\x80\x01\x02garbage\r\n\r\n"),
            ("h1-35", b"\0\0\0\0\0\0\0\0"),
            ("h1-35", b"{\"json\": true}\r\n\r\n"),
        ],
        "",
    )
}
