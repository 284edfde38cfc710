use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll};

use http::{Request, Response, Version, header};
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::time::Instant;

use super::{
    Body, Kind, Proxy, Upload,
    client::{Client, UploadState},
    decide::Decision,
    error::{ProxyError, Resend},
    exchange::Exchange,
    handle::Refused,
    headers,
    note::Note,
};
use crate::{
    pool::Lease,
    routing::may_set_cookie,
    telemetry::Failure,
    upstream::{Connection, DialError},
};

/// An endpoint's answer and the connection it comes on; or why there is none, and the request where nothing of it was
/// written.
type Sent = Result<(Response<Incoming>, Connection<Upload>), (ProxyError, Option<Request<Upload>>)>;

impl Proxy {
    /// Sends a request to the endpoint that was decided on and passes on its answer.
    pub(super) async fn forward(
        &self,
        decision: Decision,
        mut request: Request<Upload>,
        client: &Rc<Client>,
        began: Instant,
    ) -> Result<Response<Body>, Refused> {
        let seat = decision.lease.seat().clone();
        let refused = |error, request: Option<Request<Upload>>| Refused {
            error,
            seat: Some(seat),
            service: None,
            request: request.map(Box::new),
        };
        if request.body_mut().limit(decision.max_body).is_err() {
            return Err(refused(Kind::BodyTooLarge.into(), None));
        }
        if let Some(preview) = &decision.strip {
            request.headers_mut().remove(preview);
        }
        match send(&decision, request, client, began).await {
            Ok((answer, connection)) => Ok(pass_on(answer, connection, decision, client, began)),
            Err((error, request)) => {
                count_failure(&decision.lease, error.kind);
                Err(refused(error, request))
            }
        }
    }
}

/// On a parked connection, or on a new one. A parked connection that the endpoint has closed before anything was
/// written to it is nobody's error: the next one is tried.
async fn send(
    decision: &Decision,
    mut request: Request<Upload>,
    client: &Client,
    began: Instant,
) -> Sent {
    let timeouts = &decision.timeouts;
    loop {
        let mut connection = match decision.line.take(began, timeouts.keep_alive) {
            Some(parked) => parked,
            None => match decision.line.dial(timeouts.connect).await {
                Ok(opened) => opened,
                Err(error) => return Err((dial_error(error), Some(request))),
            },
        };
        let now = if connection.reused {
            began
        } else {
            Instant::now()
        };
        client.waiting(now, timeouts);
        client.notebook.add(|note| note.sent(now));
        let mut answer = pin!(connection.send(request));
        let sent = poll_fn(|context| match answer.as_mut().poll(context) {
            Poll::Ready(sent) => Poll::Ready(Some(sent)),
            Poll::Pending => client.poll_late(context).map(|()| None),
        });
        match sent.await {
            Some(Ok(answer)) => return Ok((answer, connection)),
            Some(Err(mut error)) => match error.take_message() {
                Some(unsent) if connection.reused => request = unsent,
                unsent => return Err((send_error(error, client, unsent.is_some()), unsent)),
            },
            None => return Err((late(client).into(), None)),
        }
    }
}

/// Hands the answer to the client as it comes.
fn pass_on(
    answer: Response<Incoming>,
    connection: Connection<Upload>,
    decision: Decision,
    client: &Rc<Client>,
    began: Instant,
) -> Response<Body> {
    let (mut head, incoming) = answer.into_parts();
    head.version = Version::HTTP_11;
    headers::remove_hop_by_hop(&mut head.headers);
    if let Some(cookie) = decision.set_cookie
        && may_set_cookie(&head.headers)
    {
        head.headers.append(header::SET_COOKIE, cookie);
    }
    client.answering(decision.timeouts.idle);
    client.notebook.add(Note::answered);
    let exchange = Exchange {
        client: client.clone(),
        line: decision.line,
        connection,
        lease: decision.lease,
        status: head.status,
        began,
        bytes: 0,
    };
    Response::from_parts(head, Body::relayed(incoming, exchange))
}

fn dial_error(error: DialError) -> ProxyError {
    let kind = match error {
        DialError::Connect(_) => Kind::ConnectFailed,
        DialError::Timeout => Kind::ConnectTimeout,
    };
    ProxyError::with(kind, error).resend(Resend::Safe)
}

/// Who is late: the client with its body, the endpoint with its answer, or the two of them with the whole.
fn late(client: &Client) -> Kind {
    match client.upload() {
        UploadState::AwaitsClient => Kind::ClientSlow,
        _ if client.is_past_limit() => Kind::RequestTimeout,
        _ => Kind::EndpointSlow,
    }
}

fn send_error(error: TrySendError<Request<Upload>>, client: &Client, unsent: bool) -> ProxyError {
    let error = error.into_error();
    let kind = match client.upload() {
        UploadState::TooLarge => Kind::BodyTooLarge,
        UploadState::Broken => Kind::ClientGone,
        _ if error.is_parse() || error.is_parse_too_large() => Kind::EndpointMalformed,
        _ => Kind::EndpointBroke,
    };
    let resend = if unsent { Resend::Safe } else { Resend::Unsafe };
    ProxyError::with(kind, error).resend(resend)
}

/// Counts what an endpoint did wrong; what a client did is not its error.
fn count_failure(lease: &Lease, kind: Kind) {
    let failure = match kind {
        Kind::ConnectFailed => Failure::Connect,
        Kind::ConnectTimeout => Failure::ConnectTimeout,
        Kind::EndpointBroke => Failure::Reset,
        Kind::EndpointMalformed => Failure::Malformed,
        Kind::EndpointSlow | Kind::RequestTimeout => Failure::Timeout,
        _ => return,
    };
    lease.seat().shard().answered(None);
    lease.seat().pool_shard().failed(failure);
}
