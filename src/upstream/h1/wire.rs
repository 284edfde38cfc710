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
    /// How many requests it has carried to the end.
    turn: u64,
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
            turn: 0,
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

    /// Sends a request, and reads the head of its answer, which tells in which turn its body is asked for. The request stays where
    /// it is until something of it is written: where it fails before that, it is there still.
    pub async fn send(
        self: &Rc<Self>,
        request: &mut Option<Request<B>>,
    ) -> Result<Response<u64>, AnswerError> {
        let answer = poll_fn(|context| self.0.borrow_mut().poll_answer(request, context)).await?;
        let mut state = self.0.borrow_mut();
        if !state.outgoing.is_done() {
            // Not by whoever reads the answer: the client may read it only after it has been read itself.
            let uploading = tokio::task::spawn_local(self.clone().upload());
            state.uploading = Some(uploading.abort_handle());
        }
        Ok(answer.map(|()| state.turn))
    }

    async fn upload(self: Rc<Self>) {
        poll_fn(|context| self.0.borrow_mut().poll_upload(context)).await;
    }

    /// The next of the body of the answer in this turn. An answer whose turn is over has ended.
    pub fn poll_frame(
        &self,
        turn: u64,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let mut state = self.0.borrow_mut();
        if state.turn == turn {
            state.poll_frame(context)
        } else {
            Poll::Ready(None)
        }
    }

    /// Whether the answer in this turn has ended.
    pub fn is_answered(&self, turn: u64) -> bool {
        let state = self.0.borrow();
        state.turn != turn || state.is_answered()
    }

    /// What is left of the answer in this turn.
    pub fn size_hint(&self, turn: u64) -> SizeHint {
        let state = self.0.borrow();
        match state.stage {
            _ if state.turn != turn => SizeHint::with_exact(0),
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
        let lasts = state.is_answered()
            && state.lasts
            && state.own.is_some()
            && state.outgoing.is_done()
            // Nobody has asked for that.
            && state.input.received.is_empty();
        if lasts {
            state.stage = Stage::Idle;
            state.turn += 1;
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

    /// The stream, once the endpoint speaks another protocol on it, with what it has sent in that one already; `None` where it
    /// has agreed to what it has not read.
    pub fn switched(&self) -> Option<(Own, Bytes)> {
        let mut state = self.0.borrow_mut();
        if !state.outgoing.is_done() {
            return None;
        }
        let early = state.input.received.split().freeze();
        Some((state.own.take()?, early))
    }
}

impl<B: Payload> State<B> {
    fn is_answered(&self) -> bool {
        matches!(self.stage, Stage::Answered(framing) if framing.is_over())
    }

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
            self.begin(request, context)?;
        }
        self.write(context)?;
        let answer = ready!(self.poll_head(context));
        // An endpoint may answer a request that it does not read to its end.
        let refused = self.refused.take();
        Poll::Ready(answer.map_err(|error| refused.unwrap_or(error)))
    }

    fn begin(
        &mut self,
        request: &mut Option<Request<B>>,
        context: &mut Context<'_>,
    ) -> Result<(), AnswerError> {
        let own = self.own.as_mut().ok_or(AnswerError::Closed)?;
        let asked = request.as_mut().ok_or(AnswerError::Closed)?;
        self.outgoing.begin(asked);
        if asked.body().is_end_stream()
            && let Poll::Ready(Err(error)) = self.outgoing.poll_write(&mut own.stream, context)
        {
            if !self.outgoing.has_begun {
                return Err(error);
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
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::Full;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::*;
    use crate::{
        pool::{Endpoint, PoolStats, Seat},
        units::{Address, EndpointKey, Name, PoolKey},
        upstream::{dial, room::Counted},
    };

    /// A wire, its keeper, and the endpoint at its other end.
    async fn wire() -> (Rc<Wire<Full<Bytes>>>, Arc<Notify>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Ip(listener.local_addr().unwrap());
        let stream = dial(&address, Duration::from_secs(5)).await.unwrap();
        let (service, pool): (Name, Name) = ("shop".parse().unwrap(), "blue".parse().unwrap());
        let key = EndpointKey {
            service: service.clone(),
            pool: pool.clone(),
            address,
        };
        let stats = PoolStats::new(PoolKey { service, pool }, 0, 1);
        let seat = Seat::new(Arc::new(Endpoint::new(key, 0, 1)), Arc::new(stats), 0);
        let counted = Counted::take(&Rc::new(seat), None).unwrap();
        let keeper = Arc::default();
        let wire = Wire::new(Own::new(stream, counted), &keeper);
        (wire, keeper, listener.accept().await.unwrap().0)
    }

    /// Sends a request that gets this answer, and tells its turn.
    async fn asked(wire: &Rc<Wire<Full<Bytes>>>, endpoint: &mut TcpStream, answer: &str) -> u64 {
        endpoint.write_all(answer.as_bytes()).await.unwrap();
        let request = &mut Some(Request::new(Full::default()));
        let turn = wire.send(request).await.unwrap().into_body();
        assert!(endpoint.read(&mut [0; 1000]).await.unwrap() > 0);
        turn
    }

    async fn next(wire: &Wire<Full<Bytes>>, turn: u64) -> Option<Bytes> {
        let frame = poll_fn(|context| wire.poll_frame(turn, context));
        let frame = timeout(Duration::from_secs(5), frame).await.unwrap();
        frame.map(|frame| frame.unwrap().into_data().unwrap())
    }

    #[tokio::test]
    async fn who_has_had_an_answer_gets_nothing_of_the_next_one() {
        let (wire, _, mut endpoint) = wire().await;
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";
        let first = asked(&wire, &mut endpoint, &format!("{answer}a")).await;
        assert!(!wire.is_answered(first));
        assert_eq!(next(&wire, first).await.unwrap(), "a");
        assert!(wire.is_answered(first) && wire.rest());
        let second = asked(&wire, &mut endpoint, &format!("{answer}b")).await;
        assert!(wire.is_answered(first) && !wire.is_answered(second));
        assert_eq!(wire.size_hint(first).exact(), Some(0));
        assert_eq!(next(&wire, first).await, None);
        assert_eq!(next(&wire, second).await.unwrap(), "b");
        assert_eq!(next(&wire, second).await, None);
    }

    #[tokio::test]
    async fn a_request_of_which_nothing_was_written_stays() {
        let (wire, _, _endpoint) = wire().await;
        wire.cut();
        let mut request = Some(Request::new(Full::default()));
        assert!(wire.send(&mut request).await.is_err());
        assert!(request.is_some());
        wire.close();
        assert!(wire.send(&mut request).await.is_err());
        assert!(request.is_some());
    }

    #[tokio::test]
    async fn a_parked_wire_rings_when_its_endpoint_closes_it() {
        let (wire, keeper, mut endpoint) = wire().await;
        asked(&wire, &mut endpoint, "HTTP/1.1 204 None\r\n\r\n").await;
        assert!(wire.rest());
        assert!(wire.is_quiet(false) && wire.is_quiet(true));
        drop(endpoint);
        assert!(!wire.is_quiet(true), "the kernel knows at once");
        timeout(Duration::from_secs(5), keeper.notified())
            .await
            .unwrap();
        assert!(!wire.is_quiet(false));
    }

    #[tokio::test]
    async fn a_wire_on_which_something_is_left_carries_nothing_more() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nH",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ] {
            let (wire, _, mut endpoint) = wire().await;
            asked(&wire, &mut endpoint, answer).await;
            assert!(!wire.rest(), "{answer}");
        }
    }
}
