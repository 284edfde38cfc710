//! Ctrl-C: ends the waiting, and undoes nothing.

use tokio::signal::ctrl_c;

use super::exit::{Exit, Failure};

/// What the work comes to, unless Ctrl-C comes first: then it is left, and `left` says what goes on without it. Within another the inner one says it.
pub async fn unless_left<T>(
    work: impl Future<Output = Result<T, Failure>>,
    left: impl FnOnce() -> Failure,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        done = work => done,
        // Without signals there is nothing to wait for but the work.
        Ok(()) = ctrl_c() => Err(left()),
    }
}

/// `what` is as it was left; `again` says how to come back to it.
pub fn left(what: impl Into<String>, again: impl Into<String>) -> Failure {
    Failure::new(Exit::Left, what).hint(again)
}
