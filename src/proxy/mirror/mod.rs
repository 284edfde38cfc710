//! Copies: what is sent to a second pool beside the request itself, to see what that would answer.
//!
//! Owns who gets a copy ([`Proxy::mirror`]), how it is sent, how its answer is compared with the request's own, and what
//! it says in a trial of its pool. A copy is a task
//! of its own with a time of its own: the request neither waits for it nor knows how it ends. Services that mirror nothing pay one
//! look.

mod copy;
mod sample;
mod witness;

use http::HeaderMap;

use super::{
    Client,
    head::{Field, Fields},
};

pub(super) use copy::{MARK, Mirroring};
use sample::Sample;
pub(super) use witness::Witness;

/// Lets nobody say of a request that it is a copy but a proxy that is trusted: an app may treat it otherwise.
pub(super) fn believe(headers: &mut HeaderMap, found: Fields, client: &Client) {
    if found.has(Field::Mirror) && !client.trusted {
        headers.remove(MARK);
    }
}
