use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{Request, header};
use http_body::Frame;
use hyper::rt::Write;

use super::{framing, head};
use crate::upstream::{AnswerError, Payload, Stream};

/// A request on its way.
pub struct Outgoing<B> {
    /// Kept until the next request's, in case this one is to be sent once more.
    head: Vec<u8>,
    /// So much of the head is written.
    at: usize,
    /// What comes before the next part of the body.
    lead: Lead,
    /// That part.
    data: Bytes,
    /// What is to follow it.
    tail: &'static [u8],
    /// The rest; `None` where no more comes.
    body: Option<B>,
    coding: Coding,
    /// Something of it is written.
    pub has_begun: bool,
    /// What is written has left for the endpoint: TLS keeps some of it back.
    is_flushed: bool,
}

#[derive(Default)]
struct Lead {
    text: Vec<u8>,
    /// So much of it is written.
    at: usize,
}

impl Lead {
    fn left(&self) -> &[u8] {
        &self.text[self.at..]
    }

    /// To be written to, once all of it has gone.
    fn text(&mut self) -> &mut Vec<u8> {
        self.text.clear();
        self.at = 0;
        &mut self.text
    }
}

#[derive(Debug, Clone, Copy)]
enum Coding {
    /// So many bytes are left.
    Sized(u64),
    Chunked,
}

const AFTER_CHUNK: &[u8] = b"\r\n";
const AFTER_LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What a connection keeps of room for heads.
const USUAL_HEAD: usize = 8 << 10;

impl<B: Payload> Outgoing<B> {
    pub fn new() -> Self {
        Self {
            head: Vec::new(),
            at: 0,
            lead: Lead::default(),
            data: Bytes::new(),
            tail: &[],
            body: None,
            coding: Coding::Sized(0),
            has_begun: false,
            is_flushed: true,
        }
    }

    /// Prepares a request's head, and its framing.
    pub fn begin(&mut self, request: &mut Request<B>) {
        self.has_begun = false;
        self.is_flushed = false;
        self.head.clear();
        self.at = 0;
        let coding = coding(request);
        self.coding = coding;
        head::write(request, &mut self.head);
        let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        let framed = framed.map(|name| request.headers().contains_key(name));
        match coding {
            _ if framed != [false; 2] => {}
            Coding::Sized(0) => {}
            Coding::Sized(length) => {
                let length = length.to_string();
                head::write_field("content-length", length.as_bytes(), &mut self.head);
            }
            Coding::Chunked => {
                head::write_field("transfer-encoding", b"chunked", &mut self.head);
            }
        }
        self.head.extend_from_slice(b"\r\n");
    }

    /// The body follows.
    pub fn go_on(&mut self, body: B) {
        self.body = Some(body);
    }

    /// Whether all of it is written.
    pub fn is_done(&self) -> bool {
        self.body.is_none() && self.left() == 0 && self.is_flushed
    }

    fn left(&self) -> usize {
        self.head.len() - self.at + self.lead.left().len() + self.data.len() + self.tail.len()
    }

    /// Nobody takes the rest.
    pub fn abandon(&mut self) {
        self.body = None;
        self.is_flushed = true;
        self.at = self.head.len();
        self.lead = Lead::default();
        self.data = Bytes::new();
        self.tail = &[];
    }

    /// The head of the request under way, as it was sent.
    pub fn sent_head(&self) -> Option<Request<()>> {
        head::read_request(&self.head)
    }

    /// The request is over. Gives up what is too much to be kept for the next.
    pub fn rest(&mut self) {
        self.head.clear();
        if self.head.capacity() > USUAL_HEAD {
            self.head = Vec::new();
        }
    }

    /// Writes what there is of it, and reads the body as the endpoint takes it.
    pub fn poll_write(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), AnswerError>> {
        loop {
            let mut waits = false;
            // Before it is written: a head and a short body go in one piece.
            if self.data.is_empty()
                && self.tail.is_empty()
                && let Some(body) = &mut self.body
            {
                match Pin::new(&mut *body).poll_frame(context) {
                    Poll::Pending => waits = true,
                    Poll::Ready(Some(Ok(frame))) => {
                        let is_last = body.is_end_stream();
                        let encoded = self.encode(frame, is_last);
                        encoded.inspect_err(|_| self.abandon())?;
                    }
                    Poll::Ready(Some(Err(error))) => {
                        self.abandon();
                        return Poll::Ready(Err(AnswerError::Upload(error.into())));
                    }
                    Poll::Ready(None) => self.end().inspect_err(|_| self.abandon())?,
                }
            }
            while self.left() > 0 {
                ready!(self.poll_write_once(stream, context))?;
            }
            if waits || self.body.is_none() {
                ready!(Pin::new(&mut *stream).poll_flush(context))?;
                self.is_flushed = true;
                return if waits {
                    Poll::Pending
                } else {
                    Poll::Ready(Ok(()))
                };
            }
        }
    }

    fn poll_write_once(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let (head, stream) = (&self.head[self.at..], Pin::new(stream));
        let mut written = if self.left() == head.len() {
            ready!(stream.poll_write(context, head))?
        } else {
            let pieces = [head, self.lead.left(), &self.data, self.tail].map(IoSlice::new);
            ready!(stream.poll_write_vectored(context, &pieces))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.has_begun = true;
        self.is_flushed = false;
        let mut of = |piece: usize| {
            let done = written.min(piece);
            written -= done;
            done
        };
        self.at += of(self.head.len() - self.at);
        self.lead.at += of(self.lead.left().len());
        self.data.advance(of(self.data.len()));
        self.tail = &self.tail[of(self.tail.len())..];
        Poll::Ready(Ok(()))
    }

    /// A part of the body is next.
    fn encode(&mut self, frame: Frame<Bytes>, is_last: bool) -> Result<(), AnswerError> {
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                match &mut self.coding {
                    Coding::Chunked => {
                        let size = data.len();
                        write!(self.lead.text(), "{size:x}\r\n").map_err(AnswerError::Io)?;
                        self.tail = AFTER_CHUNK;
                    }
                    Coding::Sized(left) => {
                        let rest = left.checked_sub(data.len() as u64);
                        *left = rest.ok_or_else(|| unlike("longer"))?;
                    }
                }
                self.data = data;
            }
            Err(frame) => {
                self.body = None;
                return match (frame.into_trailers(), self.coding) {
                    (Ok(trailers), Coding::Chunked) => {
                        let text = self.lead.text();
                        text.extend_from_slice(b"0\r\n");
                        head::write_fields(&trailers, text);
                        text.extend_from_slice(b"\r\n");
                        Ok(())
                    }
                    // There is no place for them.
                    _ => self.end(),
                };
            }
        }
        if is_last { self.end() } else { Ok(()) }
    }

    /// No more comes.
    fn end(&mut self) -> Result<(), AnswerError> {
        self.body = None;
        match self.coding {
            Coding::Sized(0) => Ok(()),
            Coding::Sized(_) => Err(unlike("shorter")),
            Coding::Chunked if self.data.is_empty() => {
                self.tail = LAST_CHUNK;
                Ok(())
            }
            Coding::Chunked => {
                self.tail = AFTER_LAST_CHUNK;
                Ok(())
            }
        }
    }
}

fn unlike(longer: &str) -> AnswerError {
    AnswerError::Upload(format!("it is {longer} than its length says").into())
}

/// How a request's body is framed.
fn coding<B: Payload>(request: &mut Request<B>) -> Coding {
    if request.body().is_end_stream() {
        request.headers_mut().remove(header::TRANSFER_ENCODING);
        return Coding::Sized(0);
    }
    let headers = request.headers();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Coding::Chunked;
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(framing::parse);
    let length = length.or_else(|| request.body().size_hint().exact());
    length.map_or(Coding::Chunked, Coding::Sized)
}
