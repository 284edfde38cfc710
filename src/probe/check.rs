//! One probe of one endpoint, on a connection of its own.

use std::{future::Future, io, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::{
    expect,
    failure::{Failure, Reason},
    grpc,
    place::place,
    question::question,
    talk::{Rest, Sender, broken, plain, read, talk},
};
use crate::{
    config::plan::{Probe, ProbeKind, Transport},
    units::{Address, Preamble, Protocol},
    upstream::dial::{DialError, Stream, dial_with},
};

/// After the verdict, how long the rest of an answer is still read, so that the endpoint is not cut off in the middle
/// of a sentence (its log would be full of broken connections).
const COURTESY: Duration = Duration::from_millis(20);

/// How a probe ended.
#[derive(Debug)]
pub struct Checked {
    /// The answer's, where there was one.
    pub status: Option<u16>,
    /// Up to the moment the verdict was certain.
    pub latency: Duration,
    pub result: Result<(), Failure>,
}

/// Asks once. Ends within the probe's timeout, which covers everything: looking up, connecting, asking, reading.
pub async fn check(address: &Address, probe: &Probe) -> Checked {
    let address = place(address, probe);
    let begun = Instant::now();
    let limit = Limit {
        begun,
        timeout: probe.timeout,
    };
    let mut status = None;
    let (latency, result) = match limit.dial(&address, &probe.transport).await {
        Err(failure) => (begun.elapsed(), Err(failure)),
        Ok(opened) => match &probe.kind {
            ProbeKind::Tcp => (begun.elapsed(), Ok(())),
            ProbeKind::Http(_) | ProbeKind::Grpc(_) => {
                ask(opened, &address, probe, &limit, &mut status).await
            }
        },
    };
    Checked {
        status,
        latency,
        result,
    }
}

/// The one deadline of a probe; what was going on when it passed is part of the failure.
struct Limit {
    begun: Instant,
    timeout: Duration,
}

/// A connection, and whether HTTP/2 is spoken on it.
type Opened = (Stream, bool);

impl Limit {
    /// The first thing that is done, so it has all of the time.
    async fn dial(&self, address: &Address, transport: &Transport) -> Result<Opened, Failure> {
        let tls = transport.tls.as_ref().map(|tls| &tls.usual);
        let preamble = transport
            .preamble
            .map(|version| Preamble::OURS.write(version));
        let preamble = preamble.unwrap_or_default();
        let opened = dial_with(address, &preamble, tls, self.timeout).await;
        let (stream, agreed) = opened.map_err(|error| match error.cause() {
            DialError::Connect(error) => not_connected(error),
            // There is no port left towards this address, or no way to it at all: it can't be reached.
            DialError::Shortage(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                not_connected(error)
            }
            DialError::Shortage(error) => Failure::new(Reason::Shortage, plain(error)),
            DialError::Tls(error) => Failure::new(Reason::Tls, plain(error)),
            DialError::Timeout => self.passed("connecting"),
            other => Failure::new(Reason::Connect, plain(other)),
        })?;
        match transport.protocol {
            Protocol::H1 => Ok((stream, false)),
            Protocol::H2 if tls.is_some() && !agreed => Err(Failure::new(
                Reason::Tls,
                "TLS: the endpoint did not choose HTTP/2 (ALPN)",
            )),
            Protocol::H2 => Ok((stream, true)),
            Protocol::Auto => Ok((stream, agreed)),
        }
    }

    async fn within<T>(&self, doing: &str, work: impl Future<Output = T>) -> Result<T, Failure> {
        let done = timeout_at(self.begun + self.timeout, work).await;
        done.map_err(|_| self.passed(doing))
    }

    fn passed(&self, doing: &str) -> Failure {
        let detail = format!("timeout after {:?} while {doing}", self.timeout);
        Failure::new(Reason::Timeout, detail)
    }
}

async fn ask(
    (stream, h2): Opened,
    address: &Address,
    probe: &Probe,
    limit: &Limit,
    status: &mut Option<u16>,
) -> (Duration, Result<(), Failure>) {
    let begun = limit.begun;
    let request = match question(address, probe, h2, stream.is_secure()) {
        Ok(request) => request,
        Err(failure) => return (begun.elapsed(), Err(failure)),
    };
    let conversation = async |sender: Sender| {
        let (verdict, rest) = converse(sender, request, &probe.kind, limit, status).await;
        let latency = begun.elapsed();
        if let Some(rest) = rest {
            let courtesy = Instant::now() + COURTESY;
            let _ = timeout_at(courtesy, read(rest, expect::BODY_LIMIT)).await;
        }
        (latency, verdict)
    };
    match talk(stream, h2, COURTESY, conversation).await {
        Ok(told) => told,
        Err(failure) => (begun.elapsed(), Err(failure)),
    }
}

/// The verdict, and what has not been read of the body.
async fn converse(
    mut sender: Sender,
    request: Request<Full<Bytes>>,
    kind: &ProbeKind,
    limit: &Limit,
    status: &mut Option<u16>,
) -> (Result<(), Failure>, Option<Incoming>) {
    let answered = limit
        .within("waiting for the answer", sender.send(request))
        .await;
    let answer = match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return (Err(broken(&error)), None),
        Err(failure) => return (Err(failure), None),
    };
    let (head, body) = answer.into_parts();
    *status = Some(head.status.as_u16());
    let most = match kind {
        ProbeKind::Http(probe) => {
            if let Err(failure) = expect::status(probe, &head) {
                return (Err(failure), Some(body));
            }
            if !expect::wants_body(probe) {
                return (Ok(()), Some(body));
            }
            expect::BODY_LIMIT
        }
        ProbeKind::Grpc(_) | ProbeKind::Tcp => grpc::LIMIT,
    };
    let read = limit.within("reading the body", read(body, most)).await;
    let verdict = read
        .and_then(|read| read.map_err(|error| broken(&error)))
        .and_then(|rest: Rest| match kind {
            ProbeKind::Http(probe) => expect::body(probe, &rest.bytes, rest.whole),
            ProbeKind::Grpc(_) | ProbeKind::Tcp => {
                grpc::verdict(head.status, &head.headers, &rest.bytes, &rest.trailers)
            }
        });
    (verdict, None)
}

fn not_connected(error: &io::Error) -> Failure {
    let detail = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NotFound => "no such socket or name".to_owned(),
        _ => format!("no connection: {}", plain(error)),
    };
    Failure::new(Reason::Connect, detail)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use http::HeaderValue;

    use super::{super::place::url, *};
    use crate::config::plan::HttpProbe;

    fn http(edit: impl FnOnce(&mut HttpProbe)) -> Probe {
        let mut http = HttpProbe {
            method: http::Method::GET,
            path: "/readyz?full=1".into(),
            host: None,
            headers: Vec::new(),
            status: vec![(200, 299)],
            body: None,
            json: Vec::new(),
        };
        edit(&mut http);
        probe(ProbeKind::Http(http))
    }

    fn probe(kind: ProbeKind) -> Probe {
        Probe {
            kind,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            rise: 2,
            fall: 3,
            port: None,
            transport: Transport::default(),
        }
    }

    /// An app that serves one connection: it reads a request's head, then does as told. Gives back what it read.
    async fn app<F: Future<Output = ()> + Send>(
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> (Address, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Ip(listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            serve(stream).await;
            String::from_utf8(head).unwrap()
        });
        (address, asked)
    }

    /// An app that says `answer`, then closes.
    async fn saying(answer: impl Into<Vec<u8>>) -> Address {
        let answer = answer.into();
        let serve = move |mut stream: TcpStream| async move {
            // The probe may have heard enough before the end.
            let _ = stream.write_all(&answer).await;
        };
        app(serve).await.0
    }

    async fn failure(address: &Address, probe: &Probe) -> (Reason, String) {
        let failure = check(address, probe).await.result.unwrap_err();
        (failure.reason, failure.detail)
    }

    #[tokio::test]
    async fn an_expected_answer_passes_and_the_question_is_complete() {
        let (address, asked) = app(async |mut stream: TcpStream| {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let probe = http(|http| {
            http.host = Some("shop.example".into());
            http.headers = vec![(
                http::HeaderName::from_static("x-probe"),
                HeaderValue::from_static("1"),
            )];
        });
        let checked = check(&address, &probe).await;
        assert_eq!((checked.status, checked.result), (Some(200), Ok(())));
        let asked = asked.await.unwrap();
        assert!(
            asked.starts_with("GET /readyz?full=1 HTTP/1.1\r\n"),
            "{asked}"
        );
        for line in ["host: shop.example", "x-probe: 1", "connection: close"] {
            assert!(asked.contains(&format!("\r\n{line}\r\n")), "{asked}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_a_failure_that_shows_its_location() {
        let answer = "HTTP/1.1 301 Moved\r\nlocation: /login\x1b\r\ncontent-length: 0\r\n\r\n";
        let address = saying(answer.replace('\x1b', "")).await;
        let checked = check(&address, &http(|_| {})).await;
        assert_eq!(checked.status, Some(301));
        let failure = checked.result.unwrap_err();
        assert_eq!(failure.reason, Reason::Status);
        assert!(
            failure.detail.starts_with("status 301 (Location: /login)"),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn refused_silence_and_resets_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Ip(listener.local_addr().unwrap());
        let mut impatient = http(|_| {});
        impatient.timeout = Duration::from_millis(40);
        // Accepted by the kernel, answered by nobody.
        assert_eq!(
            failure(&address, &impatient).await,
            (
                Reason::Timeout,
                "timeout after 40ms while waiting for the answer".into()
            )
        );
        drop(listener);
        assert_eq!(
            failure(&address, &http(|_| {})).await,
            (Reason::Connect, "connection refused".into())
        );
        let (reason, _) = failure(&saying("").await, &http(|_| {})).await;
        assert_eq!(reason, Reason::Reset);
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort";
        let (reason, _) = failure(
            &saying(cut).await,
            &http(|http| http.body = Some("x".into())),
        )
        .await;
        assert_eq!(reason, Reason::Reset);
        let (reason, _) = failure(&saying("SSH-2.0-OpenSSH\r\n\r\n").await, &http(|_| {})).await;
        assert_eq!(reason, Reason::Malformed);
    }

    #[tokio::test]
    async fn a_slow_body_is_cut_off_by_the_timeout() {
        let (address, _) = app(async |mut stream: TcpStream| {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
            let _ = stream.write_all(head).await;
            std::future::pending::<()>().await;
        })
        .await;
        let mut probe = http(|http| http.body = Some("ok".into()));
        probe.timeout = Duration::from_millis(60);
        assert_eq!(
            failure(&address, &probe).await,
            (
                Reason::Timeout,
                "timeout after 60ms while reading the body".into()
            )
        );
    }

    #[tokio::test]
    async fn a_body_of_ten_megabytes_is_read_no_further_than_needed() {
        let (address, served) = app(async |mut stream: TcpStream| {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let sent = stream.write_all(&vec![b'x'; 10_000_000]).await;
            assert!(sent.is_err(), "the probe closed before it was all sent");
        })
        .await;
        assert_eq!(
            failure(&address, &http(|http| http.body = Some("ok".into()))).await,
            (
                Reason::Body,
                "\"ok\" is not in the first 64 KiB of the body".into()
            )
        );
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_body_that_never_ends_does_not_hold_up_a_verdict_on_the_status() {
        let (address, _) = app(async |mut stream: TcpStream| {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
            let _ = stream.write_all(head).await;
            std::future::pending::<()>().await;
        })
        .await;
        let checked = check(&address, &http(|_| {})).await;
        assert_eq!(checked.result, Ok(()));
    }

    #[tokio::test]
    async fn a_tcp_probe_passes_when_the_connection_opens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut probe = probe(ProbeKind::Tcp);
        assert_eq!(check(&Address::Ip(address), &probe).await.result, Ok(()));
        let named = Address::Named("localhost".into(), address.port());
        assert_eq!(check(&named, &probe).await.result, Ok(()));
        // Another port of the same host.
        probe.port = Some(address.port());
        let elsewhere = Address::Ip("127.0.0.1:1".parse().unwrap());
        assert_eq!(check(&elsewhere, &probe).await.result, Ok(()));
        assert_eq!(url(&elsewhere, &probe), format!("tcp://{address}"));
        drop(listener);
        assert_eq!(
            failure(&elsewhere, &probe).await,
            (Reason::Connect, "connection refused".into())
        );
    }

    #[tokio::test]
    async fn a_unix_socket_is_probed_over_http() {
        let folder = std::env::temp_dir().join(format!("cutover-probe-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("app.sock");
        let _ = std::fs::remove_file(&path);
        let address: Address = format!("unix:{}", path.display()).parse().unwrap();
        let probe = http(|_| {});
        assert_eq!(
            failure(&address, &probe).await,
            (Reason::Connect, "no such socket or name".into())
        );
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        });
        let checked = check(&address, &probe).await;
        assert_eq!((checked.status, checked.result), (Some(204), Ok(())));
        assert_eq!(
            url(&address, &probe),
            format!("http://{address}:/readyz?full=1")
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
