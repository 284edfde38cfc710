use std::{
    error::Error,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    again::Kept,
    forwarded,
    progress::{Progress, UploadState},
};
use crate::upstream::{Cancelled, cancelled};

/// A request's body on its way to the endpoint. Nothing is buffered: the client is read when the endpoint takes.
pub struct Upload {
    pub(super) source: Source,
    /// Bytes that may still come.
    left: u64,
    /// Told how the upload stands; `None` where there is nothing to upload.
    progress: Option<Rc<Progress>>,
}

/// Where a body comes from.
pub(super) enum Source {
    Direct(FromClient),
    /// May be sent once more; in which turn it is sent here.
    Kept(Rc<Kept>, u32),
    Empty,
}

/// A body as its client sends it.
pub(super) struct FromClient {
    /// Read to see whether there is one.
    first: Bytes,
    rest: Incoming,
}

impl FromClient {
    fn new(rest: Incoming) -> Self {
        let first = Bytes::new();
        Self { first, rest }
    }

    /// Waits for its first bytes; tells whether there are some.
    fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, hyper::Error>> {
        while self.first.is_empty() {
            let frame = ready!(Pin::new(&mut self.rest).poll_frame(context)).transpose()?;
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => self.first = data,
                // Trailers of nothing are nothing.
                Some(Err(_)) | None => return Poll::Ready(Ok(false)),
            }
        }
        Poll::Ready(Ok(true))
    }

    pub fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.rest).poll_frame(context);
        }
        let first = std::mem::take(&mut self.first);
        Poll::Ready(Some(Ok(Frame::data(first))))
    }

    pub fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }

    pub fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        if self.first.is_empty() {
            return rest;
        }
        let first = self.first.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(first + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(first + upper);
        }
        hint
    }
}

/// Why an upload ended early.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the request's body is larger than allowed")]
    TooLarge,
    #[error("the client: {0}")]
    Client(hyper::Error, #[source] Cancelled),
    #[error("the request goes elsewhere")]
    Elsewhere(#[source] Cancelled),
}

impl From<hyper::Error> for UploadError {
    fn from(error: hyper::Error) -> Self {
        Self::Client(error, cancelled())
    }
}

impl Upload {
    pub(super) fn new(body: Incoming, progress: &Rc<Progress>) -> Self {
        let progress = (!body.is_end_stream()).then(|| progress.clone());
        if let Some(progress) = &progress {
            progress.set_upload(UploadState::AwaitsEndpoint);
        }
        Self {
            source: Source::Direct(FromClient::new(body)),
            left: u64::MAX,
            progress,
        }
    }

    /// That of a request without a body.
    pub(super) fn none() -> Self {
        Self {
            source: Source::Empty,
            left: 0,
            progress: None,
        }
    }

    /// Waits until it is known whether there is one.
    pub(super) async fn settle(&mut self) -> Result<(), UploadError> {
        let settled = poll_fn(|context| match &mut self.source {
            Source::Direct(body) => body.poll_first(context),
            Source::Kept(..) | Source::Empty => Poll::Ready(Ok(true)),
        });
        match settled.await {
            Ok(true) => {}
            Ok(false) => {
                self.source = Source::Empty;
                self.say(UploadState::Done);
            }
            Err(error) => {
                self.say(state_after(&error));
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Sets how large it may be at most, and says whether it is known to be larger.
    pub(super) fn limit(&mut self, most: Option<u64>) -> Result<(), UploadError> {
        self.left = most.unwrap_or(u64::MAX);
        if self.size_hint().lower() > self.left {
            return Err(UploadError::TooLarge);
        }
        Ok(())
    }

    /// Keeps a copy of what is taken from now on, where there is something to take, up to so many bytes.
    pub(super) fn keep(&mut self, most: u64) -> Option<Rc<Kept>> {
        match std::mem::replace(&mut self.source, Source::Empty) {
            Source::Direct(body) if body.is_end_stream() => {
                self.source = Source::Direct(body);
                None
            }
            Source::Direct(body) => {
                let kept = Kept::new(body, most);
                self.source = Source::Kept(kept.clone(), 0);
                Some(kept)
            }
            Source::Kept(kept, turn) => {
                self.source = Source::Kept(kept.clone(), turn);
                Some(kept)
            }
            Source::Empty => None,
        }
    }

    /// The same upload to another place, with its body yet to be given.
    pub(super) fn twin(&self) -> Self {
        Self {
            source: Source::Empty,
            left: self.left,
            progress: self.progress.clone(),
        }
    }

    /// Begins once more.
    pub(super) fn begin_again(&self) {
        if let Some(progress) = &self.progress {
            progress.upload_again();
        }
    }

    fn say(&self, state: UploadState) {
        if let Some(progress) = &self.progress {
            progress.set_upload(state);
        }
    }

    fn count(&mut self, bytes: u64) -> Result<(), UploadError> {
        self.left = self.left.checked_sub(bytes).ok_or(UploadError::TooLarge)?;
        Ok(())
    }

    fn uploaded(&self, bytes: u64, state: UploadState) {
        if let Some(progress) = &self.progress {
            progress.uploaded(bytes, state);
        }
    }
}

/// Whether the client broke off, or sent chunks that are none.
fn state_after(error: &hyper::Error) -> UploadState {
    let source = error.source().and_then(<dyn Error>::downcast_ref);
    match source.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => UploadState::Malformed,
        _ => UploadState::Broken,
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Source::Kept(kept, turn) = &self.source
            && !kept.is_for(*turn)
        {
            return Poll::Ready(Some(Err(UploadError::Elsewhere(cancelled()))));
        }
        self.say(UploadState::AwaitsClient);
        let frame = ready!(match &mut self.source {
            Source::Direct(body) => body.poll_frame(context).map_err(UploadError::from),
            Source::Kept(kept, _) => kept.poll_frame(context),
            Source::Empty => Poll::Ready(None),
        });
        Poll::Ready(match frame {
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    forwarded::clean_trailers(trailers);
                }
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                let counted = self.count(bytes);
                let state = match counted {
                    Err(_) => UploadState::TooLarge,
                    // Nothing is asked for after trailers.
                    Ok(()) if frame.is_trailers() || self.is_end_stream() => UploadState::Done,
                    Ok(()) => UploadState::AwaitsEndpoint,
                };
                self.uploaded(bytes, state);
                Some(counted.map(|()| frame))
            }
            Some(Err(error)) => {
                self.say(match &error {
                    UploadError::Client(error, _) => state_after(error),
                    _ => UploadState::Broken,
                });
                Some(Err(error))
            }
            None => {
                self.uploaded(0, UploadState::Done);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Direct(body) => body.is_end_stream(),
            Source::Kept(kept, _) => kept.is_end_stream(),
            Source::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Direct(body) => body.size_hint(),
            Source::Kept(kept, _) => kept.size_hint(),
            Source::Empty => SizeHint::with_exact(0),
        }
    }
}
