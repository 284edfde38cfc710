//! Taking what a proxy before us says of its client off a connection's beginning.

use std::{io, time::Duration};

use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::units::{Ends, Preamble, PreambleRead};

/// Mostly all of it is there at the first look, and then one read takes it. More than a segment is looked at in parts.
const LOOK: usize = 1460;

/// Takes the preamble, and not a byte after it. The ends of the client's connection, where it says them; an error where it is none, is not
/// finished in time, or the connection ends.
pub(super) async fn take(stream: &mut TcpStream, within: Duration) -> io::Result<Option<Ends>> {
    let preamble = timeout(within, read(stream)).await??;
    Ok(preamble.ends)
}

async fn read(stream: &mut TcpStream) -> io::Result<Preamble> {
    let mut taken = Vec::new();
    let mut next = [0; LOOK];
    loop {
        let seen = stream.peek(&mut next).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = taken.len();
        taken.extend_from_slice(&next[..seen]);
        let (done, all) = match Preamble::read(&taken) {
            PreambleRead::Malformed => return Err(io::ErrorKind::InvalidData.into()),
            PreambleRead::More => (None, taken.len()),
            PreambleRead::Done(preamble, length) => (Some(preamble), length),
        };
        // All that was looked at belongs to it, or the part up to its end.
        stream.read_exact(&mut next[..all - before]).await?;
        if let Some(preamble) = done {
            return Ok(preamble);
        }
    }
}
