use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll};

use http::{Request, Response, StatusCode, Version, header};
use tokio::time::Instant;

use super::{
    Body, Kind, Upload,
    again::Again,
    attempts::Attempts,
    body::SIP,
    decide::Decision,
    error::{ProxyError, Resend},
    exchange::Exchange,
    head::{self, Fields},
    headers,
    note::Note,
    progress::{Progress, UploadState},
    timing::Timing,
};
use crate::{
    routing::may_set_cookie,
    telemetry::Failure,
    units::Timeouts,
    upstream::{AnswerError, Connection, Content, DialError, Errand, Refusal},
};

/// An answer, as far as its head.
pub(super) struct Answered {
    pub answer: Response<Content<Upload>>,
    /// The request, where it may be sent once more.
    pub again: Option<Again>,
    pub fields: Fields,
    pub connection: Connection<Upload>,
}

/// How often a request is sent to the same endpoint that has refused it together with the connection: the next connection
/// may be about to end, too.
const REFUSALS: u32 = 3;

/// Sends the request to the endpoint that was decided on, on a parked connection or on a new one. A parked connection that
/// the endpoint has closed before anything was written to it is nobody's error: the next one is tried. `ours` keeps the
/// request where it may be sent once more.
pub(super) async fn send(
    decision: &Decision,
    ours: &mut Option<Request<Upload>>,
    attempts: &mut Attempts,
    progress: &Progress,
) -> Result<Answered, ProxyError> {
    attempts.begin();
    let ready = attempts.asking.ready.get();
    prepare(decision, ours, attempts, progress)?;
    let timeouts = &attempts.bound(decision.timeouts);
    let mut refusals = 0;
    loop {
        let connection = connect(decision, attempts, progress).await?;
        attempts.reused = connection.reused;
        let now = if connection.reused {
            ready
        } else {
            Instant::now()
        };
        let timing = goes(decision, progress, now, timeouts);
        let keeps = connection.is_shared() || attempts.is_kept();
        let again = ours.as_mut().filter(|_| keeps);
        let again = again.map(|request| Again::keep(request, &connection, attempts.max_body()));
        let address = &decision.line.seat().endpoint.key.address;
        match in_time(connection.send(ours, address), progress).await {
            Some(Ok(mut answer)) => {
                Timing::answered(timing);
                return match accepted(decision, &mut answer) {
                    Ok(fields) => Ok(Answered {
                        answer,
                        again,
                        fields,
                        connection,
                    }),
                    Err(kind) => {
                        let error = repeatable(kind.into(), attempts, (again, &connection), ours);
                        Err(failed(decision, error))
                    }
                };
            }
            Some(Err(error)) => {
                let mut again = again;
                let refusal = take_back(&mut again, &error, &connection, ours);
                let next = match refusal {
                    None => ours.is_some() && connection.reused,
                    Some(Refusal::Connection) => ours.is_some() && refusals < REFUSALS,
                    Some(Refusal::Stream) => false,
                };
                if !next {
                    let error = send_error(error, refusal, progress, ours.is_some());
                    return Err(failed(
                        decision,
                        repeatable(error, attempts, (again, &connection), ours),
                    ));
                }
                refusals += u32::from(refusal.is_some());
            }
            None => {
                let error = repeatable(late(progress).into(), attempts, (again, &connection), ours);
                return Err(failed(decision, error));
            }
        }
    }
}

/// What comes before it is too late; `None` where nothing does.
pub(super) async fn in_time<T>(answer: impl Future<Output = T>, progress: &Progress) -> Option<T> {
    let mut answer = pin!(answer);
    poll_fn(|context| match answer.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => progress.poll_late(context).map(|()| None),
    })
    .await
}

/// The request goes on its way.
fn goes<'a>(
    decision: &'a Decision,
    progress: &'a Progress,
    now: Instant,
    timeouts: &Timeouts,
) -> Option<Timing<'a>> {
    progress.waiting(now, timeouts);
    progress.notebook.add(|note| note.sent(now));
    Timing::begin(decision, progress)
}

/// What an answer's fields say of its connection; or that it is none that can be passed on.
fn accepted(decision: &Decision, answer: &mut Response<Content<Upload>>) -> Result<Fields, Kind> {
    let is_asked_for = || {
        let terms = decision.terms.as_ref();
        terms.is_some_and(|terms| terms.are_met(answer))
    };
    // What follows such an answer would be read as nobody means it.
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS && !is_asked_for() {
        return Err(Kind::EndpointMalformed);
    }
    head::check_answer(answer)
}

/// The request as it was, where the endpoint has not looked at it; and whether it said so.
fn take_back(
    again: &mut Option<Again>,
    error: &AnswerError,
    connection: &Connection<Upload>,
    ours: &mut Option<Request<Upload>>,
) -> Option<Refusal> {
    let refusal = error.refusal();
    if ours.is_some() || refusal == Some(Refusal::Connection) {
        connection.retire();
    }
    if (ours.is_some() || refusal.is_some())
        && let Some(again) = again.take()
    {
        *ours = again.back(connection, ours.take());
    }
    refusal
}

/// The error of an attempt after which the request, if it may be run twice and was kept, is sent once more.
fn repeatable(
    error: ProxyError,
    attempts: &Attempts,
    (again, connection): (Option<Again>, &Connection<Upload>),
    ours: &mut Option<Request<Upload>>,
) -> ProxyError {
    let Some(again) = again.filter(|_| ours.is_none() && attempts.may_follow(error.kind)) else {
        return error;
    };
    *ours = again.back(connection, None);
    if ours.is_some() {
        error.resend(Resend::Repeatable)
    } else {
        error
    }
}

/// A connection that the request can go over, with what it asks for.
async fn connect(
    decision: &Decision,
    attempts: &Attempts,
    progress: &Progress,
) -> Result<Connection<Upload>, ProxyError> {
    let connection = open(decision, attempts, progress).await?;
    if decision.terms.is_some() && !connection.may_switch() {
        return Err(ProxyError::from(Kind::NoTunnel).resend(Resend::Safe));
    }
    Ok(connection)
}

/// A parked connection or a new one; always a new one where it may come to carry another protocol alone.
async fn open(
    decision: &Decision,
    attempts: &Attempts,
    progress: &Progress,
) -> Result<Connection<Upload>, ProxyError> {
    let now = attempts.asking.ready.get();
    let (line, timeouts) = (&decision.line, &decision.timeouts);
    let surely = !attempts.is_kept();
    let caller = line.announces().then(|| progress.client.caller());
    let terms = decision.terms.as_ref();
    let opened = if terms.is_some_and(|terms| terms.need_a_connection()) {
        line.dial_to_switch(caller.as_ref(), timeouts).await
    } else if let Some(caller) = caller {
        match line.take_for(&caller, now, timeouts.keep_alive, surely) {
            Some(parked) => Ok(parked),
            None => line.dial_for(&caller, Errand::Request, timeouts).await,
        }
    } else if attempts.afresh {
        line.dial(Errand::Request, timeouts).await
    } else {
        match line.take(now, timeouts.keep_alive, surely) {
            Some(parked) => Ok(parked),
            None => line.dial(Errand::Request, timeouts).await,
        }
    };
    let connection = opened.map_err(|error| failed(decision, dial_error(error)))?;
    // More at a time when more is asked for.
    connection.read_at_most(if progress.shares { SIP } else { usize::MAX });
    Ok(connection)
}

/// What of a request depends on who gets it. Its copy, where there is to be one, is of the request as that gets it.
fn prepare(
    decision: &Decision,
    ours: &mut Option<Request<Upload>>,
    attempts: &mut Attempts,
    progress: &Progress,
) -> Result<(), Kind> {
    let request = ours.as_mut().ok_or(Kind::EndpointBroke)?;
    let seat = decision.lease.seat();
    let notebook = &progress.notebook;
    notebook.add(|note| note.tries(seat, request.headers_mut()));
    if request.body_mut().limit(decision.max_body).is_err() {
        return Err(Kind::BodyTooLarge);
    }
    if let Some(preview) = &decision.preview {
        preview.hide(request.headers_mut());
    }
    if let Some(terms) = &decision.terms {
        terms.ask(request.headers_mut());
    }
    if let Some(rules) = &decision.rules {
        rules.to_request(request)?;
    }
    if let Some(mirroring) = decision.mirroring.take() {
        attempts.witness = mirroring.begin(request, &progress.client);
    }
    Ok(())
}

/// Hands the answer to the client as it comes.
pub(super) fn pass_on(
    answered: Answered,
    decision: Box<Decision>,
    attempts: &mut Attempts,
    progress: &Rc<Progress>,
    began: Instant,
) -> Response<Body> {
    let Answered {
        mut answer,
        again: _,
        fields,
        connection,
    } = answered;
    let (mut witness, subject) = (attempts.witness.take(), attempts.subject.take());
    if let Some(witness) = &mut witness {
        witness.answered(answer.status(), answer.headers());
    }
    let version = std::mem::replace(answer.version_mut(), Version::HTTP_11);
    match &decision.terms {
        None => headers::remove_hop_by_hop(answer.headers_mut(), fields),
        Some(terms) => terms.pass_refusal(&mut answer, fields),
    }
    if let Some(rules) = &decision.rules {
        rules.to_answer(answer.headers_mut());
    }
    headers::sign(answer.headers_mut(), version, &decision, &progress.client);
    if let Some(cookie) = decision.set_cookie
        && may_set_cookie(answer.headers())
    {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    progress.answering(decision.timeouts.idle);
    progress.notebook.add(Note::answered);
    let exchange = Box::new(Exchange {
        progress: progress.clone(),
        line: decision.line,
        connection,
        lease: decision.lease,
        status: answer.status(),
        began,
        bytes: 0,
        witness,
        subject: subject.and_then(|subject| subject.answered(answer.status())),
    });
    answer.map(|content| Body::relayed(content, exchange))
}

/// The error, counted for the endpoint if it is its own.
fn failed(decision: &Decision, error: ProxyError) -> ProxyError {
    count_failure(decision, error.kind);
    error
}

pub(super) fn dial_error(error: DialError) -> ProxyError {
    let kind = match error.cause() {
        DialError::Timeout => Kind::ConnectTimeout,
        DialError::Tls(_) => Kind::TlsFailed,
        DialError::Protocol(_) => Kind::EndpointMalformed,
        DialError::Shortage(_) => Kind::Shortage,
        DialError::Full => Kind::ConnectionsFull,
        DialError::Connect(_) | DialError::Shared(_) => Kind::ConnectFailed,
    };
    ProxyError::with(kind, error).resend(Resend::Safe)
}

/// Who is late: the client with its body, the endpoint with its answer, or the two of them with the whole.
fn late(progress: &Progress) -> Kind {
    match progress.upload() {
        UploadState::AwaitsClient => Kind::ClientSlow,
        _ if progress.is_past_limit() => Kind::RequestTimeout,
        _ => Kind::EndpointSlow,
    }
}

fn send_error(
    error: AnswerError,
    refusal: Option<Refusal>,
    progress: &Progress,
    safe: bool,
) -> ProxyError {
    let kind = match progress.upload() {
        UploadState::TooLarge => Kind::BodyTooLarge,
        UploadState::Broken => Kind::ClientGone,
        UploadState::Malformed => Kind::Malformed,
        _ if refusal.is_some() => Kind::EndpointRefused,
        _ if error.is_breach() => Kind::EndpointMalformed,
        _ if matches!(error, AnswerError::Upload(_)) => Kind::ClientGone,
        _ => Kind::EndpointBroke,
    };
    let resend = if safe { Resend::Safe } else { Resend::Unsafe };
    ProxyError::with(kind, error).resend(resend)
}

/// Counts what an endpoint did wrong; what a client did is not its error.
fn count_failure(decision: &Decision, kind: Kind) {
    let failure = match kind {
        Kind::ConnectFailed => Failure::Connect,
        Kind::ConnectTimeout => Failure::ConnectTimeout,
        Kind::TlsFailed => Failure::Tls,
        Kind::EndpointRefused => Failure::Refused,
        Kind::EndpointBroke => Failure::Reset,
        Kind::EndpointMalformed => Failure::Malformed,
        Kind::EndpointSlow | Kind::RequestTimeout => Failure::Timeout,
        _ => return,
    };
    let seat = decision.lease.seat();
    seat.shard().unanswered();
    seat.failed(failure);
    if decision.timed {
        seat.endpoint.penalize(Instant::now().into_std());
    }
}
