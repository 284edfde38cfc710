use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    bell::Bell,
    framing::{Framing, Taken},
    head::{self, Reading},
    input::{self, Input},
    outgoing::Outgoing,
};
use crate::upstream::{AnswerError, Own, Payload};

/// A connection of HTTP/1.1, with the request and the answer that are on it.
pub struct Wire<B: Payload>(RefCell<State<B>>);

struct State<B> {
    bell: Arc<Bell>,
    /// What the bell is rung by.
    listener: Waker,
    /// `None` once it is closed, or has become another protocol's.
    own: Option<Own>,
    input: Input,
    outgoing: Outgoing<B>,
    stage: Stage,
    reading: Reading,
    /// Whether it can carry another request.
    lasts: bool,
    /// Where the next head is read to: that of the request before, without its fields.
    fields: HeaderMap,
    /// Writes the rest of an upload while its answer is read.
    uploading: Option<AbortHandle>,
    /// Who reads meanwhile.
    reader: Option<Waker>,
    /// Why the endpoint takes no more of the request.
    refused: Option<AnswerError>,
    /// Why the request has come to nothing while its answer is read.
    failure: Option<AnswerError>,
    /// A part of the answer was given to whoever passes it on, who has not waited for more since.
    gave: bool,
    /// What comes to an end does so because it is ended.
    is_cut: bool,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Idle,
    /// The request is on its way.
    Asked {
        to_head: bool,
    },
    /// The answer's head has come.
    Answered(Framing),
}

impl<B: Payload> Wire<B> {
    /// `keeper` is told when something comes on it while it is parked.
    pub fn new(own: Own, keeper: &Arc<Notify>) -> Rc<Self> {
        let bell = Bell::new(keeper);
        Rc::new(Self(RefCell::new(State {
            listener: bell.clone().into(),
            bell,
            own: Some(own),
            input: Input::new(),
            outgoing: Outgoing::new(),
            stage: Stage::Idle,
            reading: Reading::default(),
            lasts: true,
            fields: HeaderMap::new(),
            uploading: None,
            reader: None,
            refused: None,
            failure: None,
            gave: false,
            is_cut: false,
        })))
    }

    /// Sends a request, and reads the head of its answer. The request stays where it is until something of it is written: where
    /// it fails before that, it is there still.
    pub async fn send(
        self: &Rc<Self>,
        request: &mut Option<Request<B>>,
    ) -> Result<Response<()>, AnswerError> {
        let answer = poll_fn(|context| self.0.borrow_mut().poll_answer(request, context)).await?;
        let mut state = self.0.borrow_mut();
        if !state.outgoing.is_done() {
            // Not by whoever reads the answer: the client may read it only after it has been read itself.
            let uploading = tokio::task::spawn_local(self.clone().upload());
            state.uploading = Some(uploading.abort_handle());
        }
        Ok(answer)
    }

    async fn upload(self: Rc<Self>) {
        poll_fn(|context| self.0.borrow_mut().poll_upload(context)).await;
    }

    /// The next of the answer's body.
    pub fn poll_frame(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        self.0.borrow_mut().poll_frame(context)
    }

    /// Whether the answer has ended.
    pub fn is_answered(&self) -> bool {
        matches!(self.0.borrow().stage, Stage::Answered(framing) if framing.is_over())
    }

    /// What is left of the answer.
    pub fn size_hint(&self) -> SizeHint {
        match self.0.borrow().stage {
            Stage::Answered(Framing::Sized(left)) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }

    /// The head of the request under way, as it was sent.
    pub fn sent_head(&self) -> Option<Request<()>> {
        self.0.borrow().outgoing.sent_head()
    }

    /// Reads at most so many bytes at a time.
    pub fn read_at_most(&self, bytes: usize) {
        self.0.borrow_mut().input.most = bytes;
    }

    /// Makes it ready to be parked; tells whether it can carry another request.
    pub fn rest(&self) -> bool {
        let state = &mut *self.0.borrow_mut();
        let is_over = matches!(state.stage, Stage::Answered(framing) if framing.is_over());
        let lasts = is_over
            && state.lasts
            && state.own.is_some()
            && state.outgoing.is_done()
            // Nobody has asked for that.
            && state.input.received.is_empty();
        if lasts {
            state.stage = Stage::Idle;
            state.input.rest();
            state.outgoing.rest();
        }
        lasts && state.listen()
    }

    /// Whether nothing has come since it was parked, not even its end; `surely`: the kernel is asked.
    pub fn is_quiet(&self, surely: bool) -> bool {
        let mut state = self.0.borrow_mut();
        // TLS has things to say for itself.
        let quiet = !state.bell.has_rung() || state.listen();
        quiet && !(surely && state.has_news())
    }

    /// Closed at once: to let it end in order would wait for an endpoint that takes nothing.
    pub fn close(&self) {
        let mut state = self.0.borrow_mut();
        state.own = None;
        if let Some(uploading) = state.uploading.take() {
            uploading.abort();
        }
    }

    /// Ends it whatever it carries: who reads or writes sees that it is over.
    pub fn cut(&self) {
        let mut state = self.0.borrow_mut();
        state.is_cut = true;
        if let Some(own) = &state.own {
            own.stream.shut();
        }
    }

    /// The stream, once the endpoint speaks another protocol on it, with what it has sent in that one already.
    pub fn switched(&self) -> Option<(Own, Bytes)> {
        let mut state = self.0.borrow_mut();
        let early = state.input.received.split().freeze();
        Some((state.own.take()?, early))
    }
}

impl<B: Payload> State<B> {
    /// Whether nothing has come; the bell rings when something does.
    fn listen(&mut self) -> bool {
        self.bell.silence();
        let context = &mut Context::from_waker(&self.listener);
        let own = self.own.as_mut();
        own.is_some_and(|own| own.stream.is_quiet(context))
    }

    fn has_news(&self) -> bool {
        let own = self.own.as_ref();
        own.is_none_or(|own| own.stream.has_news())
    }

    fn poll_answer(
        &mut self,
        request: &mut Option<Request<B>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, AnswerError>> {
        if matches!(self.stage, Stage::Idle) {
            ready!(self.poll_begin(request, context))?;
        }
        self.write(context)?;
        let answer = ready!(self.poll_head(context));
        // An endpoint may answer a request that it does not read to its end.
        let refused = self.refused.take();
        Poll::Ready(answer.map_err(|error| refused.unwrap_or(error)))
    }

    fn poll_begin(
        &mut self,
        request: &mut Option<Request<B>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), AnswerError>> {
        let own = self.own.as_mut().ok_or(AnswerError::Closed)?;
        let asked = request.as_mut().ok_or(AnswerError::Closed)?;
        ready!(self.outgoing.poll_begin(asked, context))?;
        if asked.body().is_end_stream()
            && let Poll::Ready(Err(error)) = self.outgoing.poll_write(&mut own.stream, context)
        {
            if !self.outgoing.has_begun {
                return Poll::Ready(Err(error));
            }
            self.is_refused(error);
        }
        let to_head = *asked.method() == Method::HEAD;
        self.fields = std::mem::take(asked.headers_mut());
        self.fields.clear();
        if asked.body().is_end_stream() {
            *request = None;
        } else if let Some(asked) = request.take() {
            self.outgoing.go_on(asked.into_body());
        }
        self.stage = Stage::Asked { to_head };
        Poll::Ready(Ok(()))
    }

    /// Writes what the endpoint takes; an error says that the request is none.
    fn write(&mut self, context: &mut Context<'_>) -> Result<(), AnswerError> {
        let own = self.own.as_mut().ok_or(AnswerError::Closed)?;
        match self.outgoing.poll_write(&mut own.stream, context) {
            Poll::Ready(Err(error @ AnswerError::Upload(_))) => Err(error),
            Poll::Ready(Err(error)) => {
                self.is_refused(error);
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// The endpoint takes no more; what it has sent is still read.
    fn is_refused(&mut self, error: AnswerError) {
        self.outgoing.abandon();
        self.lasts = false;
        self.refused = Some(error);
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Response<()>, AnswerError>> {
        loop {
            let received = &mut self.input.received;
            if let Some(mut answer) = self.reading.take(received, &mut self.fields)? {
                let (status, version) = (answer.status(), answer.version());
                let switches = status == StatusCode::SWITCHING_PROTOCOLS;
                if status.is_informational() && !switches {
                    self.fields.clear();
                    continue;
                }
                let to_head = matches!(self.stage, Stage::Asked { to_head: true });
                let framing = Framing::of(status, version, &self.fields, to_head)?;
                self.lasts &= !switches && framing.ends() && head::lasts(version, &self.fields);
                self.stage = Stage::Answered(framing);
                self.gave = true;
                *answer.headers_mut() = std::mem::take(&mut self.fields);
                return Poll::Ready(Ok(answer));
            }
            if received.len() >= input::MOST {
                return Poll::Ready(Err(AnswerError::Malformed("its head is too large")));
            }
            if ready!(self.poll_read(None, context))? == 0 {
                return Poll::Ready(Err(AnswerError::Closed));
            }
        }
    }

    fn poll_read(
        &mut self,
        expected: Option<u64>,
        context: &mut Context<'_>,
    ) -> Poll<Result<usize, AnswerError>> {
        let own = self.own.as_mut().ok_or(AnswerError::Closed)?;
        let read = self.input.poll_read(&mut own.stream, expected, context);
        read.map_err(AnswerError::from)
    }

    fn poll_upload(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = self.write(context) {
            self.lasts = false;
            self.failure = Some(error);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        if self.outgoing.is_done() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let frame = match self.failure.take() {
            Some(failure) => Poll::Ready(Err(failure)),
            None => self.poll_next(context),
        };
        if frame.is_pending() && !self.outgoing.is_done() {
            self.reader = Some(context.waker().clone());
        }
        match frame {
            // What came before it is for the client all the same, and would not be sent if it broke off now.
            Poll::Ready(Err(failure)) if self.gave => {
                self.gave = false;
                self.failure = Some(failure);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            frame => {
                self.gave = frame.is_ready();
                frame.map(Result::transpose)
            }
        }
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, AnswerError>> {
        loop {
            let Stage::Answered(framing) = &mut self.stage else {
                return Poll::Ready(Ok(None));
            };
            let expected = match framing.take(&mut self.input.received)? {
                Taken::Frame(frame) => return Poll::Ready(Ok(Some(frame))),
                Taken::End => return Poll::Ready(Ok(None)),
                Taken::Missing(expected) => expected,
            };
            let until_closed = !framing.ends();
            if ready!(self.poll_read(expected, context))? == 0 {
                if until_closed && !self.is_cut {
                    self.stage = Stage::Answered(Framing::Sized(0));
                    return Poll::Ready(Ok(None));
                }
                return Poll::Ready(Err(AnswerError::Closed));
            }
        }
    }
}
