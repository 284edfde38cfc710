use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// What a process is asked from outside the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Gently; asked again: at once.
    Stop,
    /// Read the file now.
    Reload,
    /// The log's file was moved away.
    ReopenLog,
}

/// Turns signals into asks until the process ends.
pub fn listen(asks: &mpsc::Sender<Ask>) -> io::Result<()> {
    for (kind, ask) in [
        (SignalKind::terminate(), Ask::Stop),
        (SignalKind::interrupt(), Ask::Stop),
        (SignalKind::hangup(), Ask::Reload),
        (SignalKind::user_defined1(), Ask::ReopenLog),
    ] {
        let mut signals = signal(kind)?;
        let asks = asks.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() && asks.send(ask).await.is_ok() {}
        });
    }
    Ok(())
}
