use std::{future::poll_fn, pin::Pin, rc::Rc, task::Poll, time::Duration};

use http::StatusCode;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{http2, socket::Socket, stream::Stream};
use crate::{
    proxy::{Phase, Progress, Proxy, farewell},
    telemetry::Rejection,
};

/// The most that is read from a client at a time. Measured: more costs memory and saves nothing.
const BUFFER: usize = 64 << 10;

/// How long a client's bytes are still taken after we have said the last word while none come.
const LINGER: Duration = Duration::from_secs(2);

/// What is still taken of a client after we have said the last word. To close with bytes unread makes the kernel reset the
/// connection, which destroys the answer on its way (RFC 9112 §9.6).
pub(super) struct Patience {
    longest: Duration,
    bytes: usize,
}

impl Patience {
    /// With who was given no answer, or what is no request; and over HTTP/2, where windows bound what is on its way.
    pub(super) const SHORT: Self = Self {
        longest: LINGER,
        bytes: 1 << 20,
    };
    /// With who was answered, and may have as much on its way as both kernels hold before it reads.
    const LONG: Self = Self {
        longest: Duration::from_secs(5),
        bytes: 64 << 20,
    };
}

/// More fields than hyper holds without an allocation per request have to be asked for.
const PLAIN_HEADERS: usize = 100;

/// Why a connection is over.
enum End {
    /// The exchange is complete, or the client is gone.
    Closed,
    /// What came is no valid request.
    Malformed,
    /// A request's head is larger than allowed.
    TooLarge,
    /// The client speaks HTTP/2 without having asked (RFC 9113 §3.3).
    Http2,
    /// The same, where it is not spoken.
    NoHttp2,
    /// Nothing was asked for too long.
    Idle,
    /// A request's head was begun and not finished in time.
    HeadLate,
    /// An answer stood still for too long, on either side, or its time was over.
    Stuck,
}

/// Serves the requests of one connection to its end.
pub(super) async fn serve(
    stream: Stream,
    progress: Rc<Progress>,
    proxy: Rc<Proxy>,
    header_bytes: usize,
) {
    let builder = builder(progress.client.door.max_headers, header_bytes);
    let service = service_fn({
        let (proxy, progress) = (proxy.clone(), progress.clone());
        move |request| proxy.clone().handle(request, progress.clone())
    });
    let socket = Socket::new(stream, progress.clone());
    let mut connection = builder.serve_connection(socket, service);
    let end = poll_fn(|context| {
        let before = progress.phase();
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
            return Poll::Ready(
                ended.map_or_else(|error| end_of(&error, &progress), |()| End::Closed),
            );
        }
        progress.polled(before);
        if progress.is_held_up() {
            progress.glance_later(context);
        }
        match (progress.poll_late(context), progress.phase()) {
            (Poll::Pending, _) | (Poll::Ready(()), Phase::Waiting) => Poll::Pending,
            (Poll::Ready(()), Phase::Idle) => Poll::Ready(End::Idle),
            (Poll::Ready(()), Phase::Head) => Poll::Ready(End::HeadLate),
            (Poll::Ready(()), Phase::Answering) => Poll::Ready(End::Stuck),
        }
    })
    .await;
    let parts = connection.into_parts();
    if let End::Http2 = end {
        let (stream, early) = (parts.io.into_stream(), parts.read_buf);
        let (client, clock) = (progress.client.clone(), progress.clock().clone());
        drop((parts.service, progress));
        // Apart, so that a connection of HTTP/1.1 does not grow by it.
        return Box::pin(http2::serve(
            stream,
            early,
            client,
            proxy,
            clock,
            header_bytes,
        ))
        .await;
    }
    if let (End::Closed, Some(tunnel)) = (&end, progress.take_tunnel()) {
        let stream = TokioIo::new(parts.io.into_stream());
        // What belongs to requests pins the buffer that their heads were read into.
        drop((parts.service, progress, proxy));
        return tunnel.run(stream, parts.read_buf).await;
    }
    let refusal = refusal(&end, &parts.read_buf, header_bytes);
    if let Some((status, rejection)) = refusal {
        proxy.unread(progress.client.ip(), status, rejection);
    }
    let ours_to_say = parts.io.kept_back || matches!(end, End::HeadLate | End::NoHttp2);
    let mut stream = parts.io.into_stream();
    if let (true, Some((status, _))) = (ours_to_say, refusal) {
        say(&mut stream, status).await;
    }
    match end {
        End::Stuck => {}
        End::Closed => part(stream, Patience::LONG).await,
        _ => part(stream, Patience::SHORT).await,
    }
}

fn builder(headers: usize, header_bytes: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(BUFFER.max(header_bytes))
        .max_header_size(header_bytes);
    if headers > PLAIN_HEADERS {
        builder.max_headers(headers);
    }
    builder
}

/// What a client is told, and counted for, whose request could not be read; `unread` is what there is of it.
fn refusal(end: &End, unread: &[u8], most: usize) -> Option<(StatusCode, Rejection)> {
    Some(match end {
        End::Closed | End::Http2 | End::Idle | End::Stuck => return None,
        End::Malformed => (StatusCode::BAD_REQUEST, Rejection::Malformed),
        End::NoHttp2 => (StatusCode::HTTP_VERSION_NOT_SUPPORTED, Rejection::Malformed),
        End::HeadLate => (StatusCode::REQUEST_TIMEOUT, Rejection::HeadTimeout),
        // Its first line alone is too long.
        End::TooLarge if !unread.iter().take(most).any(|byte| *byte == b'\n') => {
            (StatusCode::URI_TOO_LONG, Rejection::HeadTooLarge)
        }
        End::TooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Rejection::HeadTooLarge,
        ),
    })
}

/// Tells a client that there is no room for its connection.
pub(super) async fn turn_away(mut stream: TcpStream) {
    say(&mut stream, StatusCode::SERVICE_UNAVAILABLE).await;
    linger(stream, Patience::SHORT).await;
}

/// A few hundred bytes: the socket's buffer takes them, or the client is not reading and does not care.
async fn say(stream: &mut (impl AsyncWrite + Unpin), status: StatusCode) {
    let bytes = farewell(status);
    let said = async { stream.write_all(&bytes).await.and(stream.flush().await) };
    let _ = timeout(LINGER, said).await;
}

/// Says the last word that TLS has to say, and lingers.
pub(super) async fn part(mut stream: Stream, patience: Patience) {
    if stream.is_secure() {
        // Whoever does not read it does not care.
        let _ = timeout(LINGER, stream.shutdown()).await;
    }
    linger(stream.into_socket(), patience).await;
}

/// Says that nothing more will come, takes what the client still sends, and closes.
pub(super) async fn linger(mut stream: TcpStream, patience: Patience) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let end = Instant::now() + patience.longest;
    let mut until = Instant::now() + LINGER;
    let mut left = patience.bytes;
    let mut bin = vec![0; 4096];
    while let Ok(Ok(())) = tokio::time::timeout_at(until, stream.readable()).await {
        match stream.try_read(&mut bin) {
            Ok(1..) if left == 0 => return,
            Ok(0) => return,
            Ok(taken) => {
                left = left.saturating_sub(taken);
                until = end.min(Instant::now() + LINGER);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn end_of(error: &hyper::Error, progress: &Progress) -> End {
    tracing::debug!(%error, "connection ended");
    if error.is_parse_version_h2() {
        if progress.client.door.h2 {
            End::Http2
        } else {
            End::NoHttp2
        }
    } else if error.is_parse_too_large() {
        End::TooLarge
    } else if error.is_parse() {
        End::Malformed
    } else {
        End::Closed
    }
}
