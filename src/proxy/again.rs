//! What it takes to send a request once more after its head, and perhaps some of its body, went out: because its endpoint says that it
//! has not looked at it, as HTTP/2 can, or because the request may be run twice. Other requests don't pay for the copy.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body::{Frame, SizeHint};

use super::{
    Upload,
    upload::{FromClient, Source, UploadError},
};
use crate::upstream::Connection;

/// What of a request its connection does not keep.
pub(super) struct Again {
    /// A connection that others share keeps nothing of it.
    head: Option<Box<Head>>,
    /// Taken, not copied: none of them is sent.
    extensions: Extensions,
    body: Option<Rc<Kept>>,
    /// What is to hold the body.
    upload: Upload,
}

/// A request's head as it was before it was sent.
struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    fields: Copied,
}

impl Again {
    /// Keeps what it takes, of a request that is about to be sent over a connection, where its body is not larger than `most` bytes.
    pub fn keep(request: &mut Request<Upload>, connection: &Connection<Upload>, most: u64) -> Self {
        let body = request.body_mut().keep(most);
        Self {
            upload: request.body().twin(),
            head: connection.is_shared().then(|| Head::of(request)),
            extensions: std::mem::take(request.extensions_mut()),
            body,
        }
    }

    /// The request, to be sent once more; `None` where too much of its body has gone. Takes the body away from where it was
    /// sent to. `unsent` is what is left of the request where nothing of it was written.
    pub fn back(
        self,
        connection: &Connection<Upload>,
        unsent: Option<Request<Upload>>,
    ) -> Option<Request<Upload>> {
        let head = match (self.head, unsent) {
            (Some(head), _) => head.back()?,
            (None, Some(unsent)) => unsent.map(drop),
            (None, None) => connection.sent_head()?,
        };
        let mut upload = self.upload;
        upload.source = match self.body {
            None => Source::Empty,
            Some(kept) => {
                let turn = kept.rewind()?;
                Source::Kept(kept, turn)
            }
        };
        upload.begin_again();
        let mut request = head.map(|()| upload);
        *request.extensions_mut() = self.extensions;
        Some(request)
    }
}

impl Head {
    fn of(request: &Request<Upload>) -> Box<Self> {
        Box::new(Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            fields: Copied::of(request.headers()),
        })
    }

    fn back(self) -> Option<Request<()>> {
        let mut request = Request::new(());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.fields.back()?;
        Some(request)
    }
}

/// A head's fields, in one text: for each the lengths of its name and its value, and these. A clone of the map would take a reference
/// to what each value was read into and give it back later, which costs more than to copy them.
struct Copied(Vec<u8>);

/// Of the two lengths.
const LENGTHS: usize = size_of::<u64>();

/// Most heads are not longer.
const USUAL_HEAD: usize = 1000;

/// Beside the lengths: the value is not for the tables of HPACK.
const SENSITIVE: u64 = 1 << 63;

impl Copied {
    fn of(headers: &HeaderMap) -> Self {
        let mut text = Vec::with_capacity(USUAL_HEAD);
        for (name, value) in headers {
            let name = name.as_str().as_bytes();
            let mark = if value.is_sensitive() { SENSITIVE } else { 0 };
            // A name has less than 64 KiB, and a head has less than 4 GiB.
            let lengths = (name.len() as u64) << 32 | value.len() as u64 | mark;
            text.extend_from_slice(&lengths.to_ne_bytes());
            text.extend_from_slice(name);
            text.extend_from_slice(value.as_bytes());
        }
        Self(text)
    }

    fn back(self) -> Option<HeaderMap> {
        let mut text = Bytes::from(self.0);
        let mut headers = HeaderMap::new();
        while !text.is_empty() {
            let lengths = take(&mut text, LENGTHS as u64)?;
            let lengths = u64::from_ne_bytes(lengths.as_ref().try_into().ok()?);
            let name = take(&mut text, (lengths & !SENSITIVE) >> 32)?;
            let value = take(&mut text, lengths & u64::from(u32::MAX))?;
            let mut value = HeaderValue::from_maybe_shared(value).ok()?;
            value.set_sensitive(lengths & SENSITIVE != 0);
            headers.append(HeaderName::from_bytes(&name).ok()?, value);
        }
        Some(headers)
    }
}

fn take(text: &mut Bytes, length: u64) -> Option<Bytes> {
    let length = usize::try_from(length).ok()?;
    (length <= text.len()).then(|| text.split_to(length))
}

/// A body of which a copy is kept while it is short.
pub(super) struct Kept(RefCell<State>);

struct State {
    body: FromClient,
    /// How much of it is kept.
    most: usize,
    /// What has been read of it; `None` once it was too much. A copy, since a part of the buffer it was read into would keep
    /// all of that.
    copy: Option<Vec<u8>>,
    /// How much of the copy has been given out this time.
    given: usize,
    /// Grows each time that it is sent. Who still holds it from an earlier time gets nothing any more.
    turn: u32,
}

impl Kept {
    pub fn new(body: FromClient, most: u64) -> Rc<Self> {
        Rc::new(Self(RefCell::new(State {
            body,
            most: usize::try_from(most).unwrap_or(usize::MAX),
            copy: Some(Vec::new()),
            given: 0,
            turn: 0,
        })))
    }

    fn rewind(&self) -> Option<u32> {
        let mut state = self.0.borrow_mut();
        state.copy.as_ref()?;
        state.given = 0;
        state.turn += 1;
        Some(state.turn)
    }

    /// Whether it is asked for by the one to whom it was given last.
    pub fn is_for(&self, turn: u32) -> bool {
        self.0.borrow().turn == turn
    }

    pub fn poll_frame(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let state = &mut *self.0.borrow_mut();
        if let Some(copy) = &state.copy
            && state.given < copy.len()
        {
            let again = Bytes::copy_from_slice(&copy[state.given..]);
            state.given = copy.len();
            return Poll::Ready(Some(Ok(Frame::data(again))));
        }
        let frame = state.body.poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            match (frame.data_ref(), &mut state.copy) {
                (Some(data), Some(copy)) if copy.len() + data.len() <= state.most => {
                    copy.extend_from_slice(data);
                    state.given = copy.len();
                }
                _ => state.copy = None,
            }
        }
        frame.map_err(UploadError::from)
    }

    pub fn is_end_stream(&self) -> bool {
        self.left() == 0 && self.0.borrow().body.is_end_stream()
    }

    pub fn size_hint(&self) -> SizeHint {
        let left = self.left();
        let rest = self.0.borrow().body.size_hint();
        if let Some(exact) = rest.exact() {
            return SizeHint::with_exact(left + exact);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(left + rest.lower());
        hint
    }

    /// Bytes of the copy that are yet to be given out.
    fn left(&self) -> u64 {
        let state = self.0.borrow();
        let copied = state.copy.as_ref().map_or(0, Vec::len);
        copied.saturating_sub(state.given) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_fields_of_a_request_that_is_sent_once_more_are_what_they_were(
            fields in prop::collection::vec(("host|cookie|x-[a-z]{1,9}", "[ -~]{0,40}", any::<bool>()), 0..80),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value, is_sensitive) in &fields {
                let mut value = HeaderValue::try_from(value).unwrap();
                value.set_sensitive(*is_sensitive);
                headers.append(HeaderName::try_from(name).unwrap(), value);
            }
            let back = Copied::of(&headers).back().unwrap();
            let all = |headers: &HeaderMap| {
                let fields = headers.iter().map(|(name, value)| (name.clone(), value.clone(), value.is_sensitive()));
                fields.collect::<Vec<_>>()
            };
            prop_assert_eq!(all(&back), all(&headers));
        }
    }
}
