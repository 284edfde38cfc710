use std::{
    error::Error,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    forwarded,
    progress::{Progress, UploadState},
};

/// A request's body on its way to the endpoint. Nothing is buffered: the client is read when the endpoint takes.
pub struct Upload {
    body: Incoming,
    /// Bytes that may still come.
    left: u64,
    /// Told how the upload stands; `None` where there is nothing to upload.
    progress: Option<Rc<Progress>>,
}

/// Why an upload ended early.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the request's body is larger than allowed")]
    TooLarge,
    #[error(transparent)]
    Client(#[from] hyper::Error),
}

impl Upload {
    pub(super) fn new(body: Incoming, progress: &Rc<Progress>) -> Self {
        let progress = (!body.is_end_stream()).then(|| progress.clone());
        if let Some(progress) = &progress {
            progress.set_upload(UploadState::AwaitsEndpoint);
        }
        Self {
            body,
            left: u64::MAX,
            progress,
        }
    }

    /// Sets how large it may be at most, and says whether it is known to be larger.
    pub(super) fn limit(&mut self, most: Option<u64>) -> Result<(), UploadError> {
        self.left = most.unwrap_or(u64::MAX);
        if self.body.size_hint().lower() > self.left {
            return Err(UploadError::TooLarge);
        }
        Ok(())
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
        self.say(UploadState::AwaitsClient);
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
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
                    Ok(()) if frame.is_trailers() || self.body.is_end_stream() => UploadState::Done,
                    Ok(()) => UploadState::AwaitsEndpoint,
                };
                self.uploaded(bytes, state);
                Some(counted.map(|()| frame))
            }
            Some(Err(error)) => {
                self.say(state_after(&error));
                Some(Err(error.into()))
            }
            None => {
                self.uploaded(0, UploadState::Done);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
