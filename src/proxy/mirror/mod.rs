//! Copies: what is sent to a second pool beside the request itself, to see what that would answer.
//!
//! Owns who gets a copy ([`Proxy::mirror`]), how it is sent, and how its answer is compared with the request's own. A copy is a task
//! of its own with a time of its own: the request neither waits for it nor knows how it ends. Services that mirror nothing pay one
//! look.

mod copy;
mod witness;

use http::HeaderMap;

use super::{
    Client,
    head::{Field, Fields},
};

pub(super) use copy::Mirroring;
pub(super) use witness::Witness;

/// Lets nobody say of a request that it is a copy but a proxy that is trusted: an app may treat it otherwise.
pub(super) fn believe(headers: &mut HeaderMap, found: Fields, client: &Client) {
    if found.has(Field::Mirror) && !client.trusted {
        headers.remove(copy::MARK);
    }
}
